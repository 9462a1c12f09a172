//! Sinks of crates outside: a program registers their kinds with [`main!`](crate::main!).

use anyhow::{Context as _, Result};

use super::{Emit, Sink};
use crate::fault::Fault;

/// A kind of sinks that a program adds: `NAME:PLACE` in `--to` and `--dead-letter`.
///
/// ```no_run
/// use cutwater::prelude::*;
/// use cutwater::sink::{Change, Report, Sink, SinkKind};
///
/// /// Tells on standard error how many rows of an epoch changed.
/// struct Tell {
///     place: String,
///     changes: usize,
/// }
///
/// impl Sink for Tell {
///     fn write(&mut self, _: Epoch, _output: &str, changes: &[Change]) -> cutwater::anyhow::Result<()> {
///         self.changes += changes.len();
///         Ok(())
///     }
///
///     fn commit(&mut self, epoch: Epoch, _: &[Report]) -> cutwater::anyhow::Result<()> {
///         eprintln!("{}: epoch {epoch}, {} changes", self.place, std::mem::take(&mut self.changes));
///         Ok(())
///     }
/// }
///
/// // `-o tell:HERE` is such a sink.
/// cutwater::main!(
///     cutwater::registry(),
///     sinks = [SinkKind::new("tell", |opening| Ok(Box::new(Tell { place: opening.place.to_owned(), changes: 0 })))]
/// );
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SinkKind {
    name: &'static str,
    open: Open,
}

/// Opens a sink.
type Open = fn(&Opening<'_>) -> Result<Box<dyn Sink>>;

/// What a sink is opened with.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Opening<'a> {
    /// What follows `NAME:`; it is not empty.
    pub place: &'a str,
    /// What it is to write of its output. With [`Emit::Upserts`], [`upserts`](super::upserts) makes that of the changes.
    pub emit: Emit,
    /// True iff the job keeps state: [`Sink::resume`] is called before all else.
    pub durable: bool,
    /// Whatever the sink waits for, it waits with [`Fault::pause`]: the first error of the run ends it then.
    pub fault: &'a Fault,
}

impl<'a> Opening<'a> {
    /// For a sink at `place`, as a run opens it; for tests.
    pub fn new(place: &'a str, emit: Emit, durable: bool, fault: &'a Fault) -> Self {
        Opening { place, emit, durable, fault }
    }
}

/// The names of the program's own kinds.
pub(super) const BUILT_IN: [&str; 5] = ["stdout", "file", "kafka", "webhook", "none"];

impl SinkKind {
    /// Sinks `NAME:PLACE`, which `open` opens before anything is read, in the process that publishes.
    ///
    /// # Panics
    /// If the name is empty, is that of another kind of the program, or is not of lower-case letters, digits and hyphens.
    pub fn new(name: &'static str, open: Open) -> Self {
        assert!(is_name(name), "a kind of sinks has a name of a-z, 0-9 and -, not {name:?}");
        assert!(!BUILT_IN.contains(&name), "there are sinks {name:?} already");
        SinkKind { name, open }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Opens a sink of this kind.
    ///
    /// # Errors
    /// If it can't be written to.
    pub fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Sink>> {
        (self.open)(opening).with_context(|| format!("opening sink {}:{}", self.name, opening.place))
    }
}

/// True iff a kind of sinks could have this name.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
