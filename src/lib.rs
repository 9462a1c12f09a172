//! Cutwater's runtime: reads Kafka into a timely dataflow, epoch by epoch, and publishes what it makes of them.
//!
//! A crate of dataflows of your own needs this crate alone: [`prelude`], [`testing`] and [`main!`](crate::main!); `cutwater new`
//! writes one. [`dataflows`] is what dataflows are written against, in full.
//!
//! # Layout
//! In the order in which a record meets them:
//!
//! - [`cli`]: options and configuration, and the job they make; [`supervise`], [`cluster`]: the processes of it
//! - [`kafka`]: clients of a cluster, their settings and logs; [`feed`]: where records come from, [`feed::kafka`]
//!   above all
//! - [`source`], [`epoch`]: reading within bounds, and when epochs close; `event_time`: up to where the records have come;
//!   [`time`]: whose time that is
//! - [`job`]: what each worker builds and how it lives
//! - [`publish`], [`sink`]: one place through which all rows leave, and where they go
//! - [`state`]: what survives a run, ledger and checkpoints
//! - [`produce`]: the other way, records into topics; [`reinject`]: corrected dead letters back to where they came from
//! - [`measure`]: figures for those who watch a run
//! - [`status`], [`fault`], [`retry`], [`stopping`], [`signals`], [`exit`]: figures, the first error, what waits for
//!   better times, the wish to stop, and the end; [`crash`]: an end for tests
//! - [`log`], [`out`]: standard error and standard output, the one way to each; [`usage`]: what was typed and can't be;
//!   [`supervised`]: what a process tells who watches over it. These know nothing of the command line
//! - `serve`: answers about a run over HTTP, with the feature `http`
//! - `live`: the table that is drawn while a run runs, with the features `demo` and `live`
//! - [`address`]: `HOST:PORT`, as typed; [`fold`], [`shown`], [`secrets`]: warnings that repeat, foreign text in messages, and what
//!   is never shown
//! - [`demo`]: all of it at work, with an in-process broker and generated text; [`mod@bench`]: how fast it is, beside a bare
//!   consumer

pub mod address;
#[cfg(feature = "bench")]
pub mod bench;
pub mod cli;
pub mod cluster;
pub mod crash;
pub mod dead_letter_log;
#[cfg(feature = "demo")]
pub mod demo;
pub mod epoch;
mod event_time;
pub mod exit;
pub mod fault;
pub mod feed;
pub mod fold;
mod http;
pub mod job;
pub mod kafka;
#[cfg(any(feature = "demo", feature = "live"))]
mod live;
pub mod log;
pub mod measure;
pub mod out;
#[cfg(any(feature = "direct", feature = "http"))]
mod pem;
pub mod produce;
pub mod publish;
pub mod reinject;
pub mod retry;
mod schema_registry;
pub mod secrets;
#[cfg(feature = "http")]
pub mod serve;
pub mod shown;
pub mod signals;
pub mod sink;
pub mod source;
pub mod state;
pub mod status;
pub mod stopping;
pub mod supervise;
pub mod supervised;
pub mod time;
pub mod usage;

pub use anyhow;
pub use cli::{main, main_with};
pub use cutwater_dataflows as dataflows;
pub use cutwater_dataflows::{registry, rows, testing};
pub use mimalloc::MiMalloc as Allocator;

/// What a crate of dataflows is written with: `use cutwater::prelude::*`. `clap`, `timely` and `differential_dataflow` come
/// with it, in the versions in use.
///
/// ```
/// use cutwater::prelude::*;
///
/// /// Counts views by page
/// #[derive(clap::Args, Debug)]
/// struct Pages {}
///
/// #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// struct Page {
///     page: Text,
/// }
///
/// struct Path;
/// impl Decode for Path {
///     type Row = Page;
///     fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Page>) -> Result<(), Malformed> {
///         let page = record.value.and_then(|value| std::str::from_utf8(value).ok());
///         rows.push(PageRef { page: page.ok_or(Malformed::because("no text"))? });
///         Ok(())
///     }
/// }
///
/// impl Dataflow for Pages {
///     const NAME: &'static str = "pages";
///     fn build(&self, flow: &Flow<'_>) {
///         flow.input("views").decode(Path).persist("views").count().output("pages", &["page"], &["views"]);
///     }
/// }
/// # let outcome = cutwater::testing::Test::of(Pages {}).epoch([("views", "/a"), ("views", "/a")]).check();
/// # assert_eq!(outcome.rows("pages"), [r#"{"page":"/a","views":2}"#]);
/// ```
pub mod prelude {
    pub use cutwater_dataflows::prelude::*;
}

/// Makes the `main` of a program that runs the given dataflows, and sets its allocator. With `sinks = [...]`, it knows
/// these kinds of sinks beside its own: see [`SinkKind`](sink::SinkKind).
///
/// librdkafka makes each record in one thread and we free it in another: with the C library's allocator both wait for
/// the same lock, which is half of the time. [`Allocator`] is set for Rust and for the C code in the program.
///
/// ```no_run
/// use cutwater::dataflows::word_count::WordCount;
/// use cutwater::prelude::*;
///
/// cutwater::main!([entry::<WordCount>()]);
/// ```
#[macro_export]
macro_rules! main {
    ($registry:expr) => {
        $crate::main!($registry, sinks = []);
    };
    ($registry:expr, sinks = $sinks:expr) => {
        #[global_allocator]
        static CUTWATER_ALLOCATOR: $crate::Allocator = $crate::Allocator;

        fn main() -> ::std::process::ExitCode {
            $crate::main(&$registry, &$sinks)
        }
    };
}

/// Has the code of the guide compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/dataflows.md")]
pub struct Guide;
