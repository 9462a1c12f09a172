//! Sinks: what carries outputs out of the program.

pub mod check;
pub(crate) mod cut_letter;
pub mod emit;
pub mod file;
pub mod kafka;
mod lines;
pub(crate) mod origin;
pub mod own;
pub mod stdout;
pub mod too_large;
pub mod webhook;

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use cutwater_dataflows::Epoch;

use crate::fault::Fault;
use crate::kafka::client::Settings;
use crate::kafka::mark::UNKEPT;
use crate::kafka::topics::Making;
use crate::measure::transactions::Transacted;
use crate::state::resume::Resume;
pub use cutwater_dataflows::render::Change;
pub use cutwater_dataflows::source::Report;
pub use emit::Emit;
pub use kafka::Delivery;
pub use origin::Origin;
pub use own::{Opening, SinkKind};
use too_large::{OnTooLarge, TooLarge};

/// Lines that are kept before they are written, in bytes.
const BUFFER: usize = 1 << 20;

/// Bytes of a webhook's POST at most, where nothing else is said: what most servers take.
pub const WEBHOOK_MAX_BYTES: usize = 1 << 20;

/// Where an output goes, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(std::path::PathBuf),
    /// A Kafka topic.
    Kafka(String),
    /// A server that gets each epoch as a POST.
    Webhook(webhook::Url),
    /// A sink of a kind that the program adds, by its name, and its place.
    Own(String, String),
    /// Nowhere.
    None,
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "stdout" => Ok(Target::Stdout),
            None if text == "none" => Ok(Target::None),
            Some(("file", path)) if !path.is_empty() => Ok(Target::File(path.into())),
            Some(("kafka", topic)) if !topic.is_empty() => Ok(Target::Kafka(topic.to_owned())),
            // What is wrong with it is told later, without its password.
            Some(("webhook", url)) if !url.is_empty() => Ok(Target::Webhook(webhook::Url::typed(url))),
            // Whether there is such a kind is known to those who know the program.
            Some((name, place))
                if !place.is_empty() && own::is_name(name) && !own::BUILT_IN.contains(&name) =>
            {
                Ok(Target::Own(name.to_owned(), place.to_owned()))
            }
            _ => Err(no_sink(text, &[])),
        }
    }
}

/// What is said of a text that names no sink.
fn no_sink(text: &str, kinds: &[SinkKind]) -> String {
    let own: String = kinds.iter().map(|kind| format!(", {}:PLACE", kind.name())).collect();
    format!("{text:?} is not a sink: expected stdout, file:PATH, kafka:TOPIC, webhook:URL{own} or none")
}

impl Target {
    /// Checks what can be without opening it, in a program that adds these kinds of sinks.
    ///
    /// # Errors
    /// If it can't be right: in words, without secrets.
    pub fn check(&self, kinds: &[SinkKind]) -> Result<(), String> {
        match self {
            Target::Webhook(url) => url.check(),
            Target::Own(name, place) if !kinds.iter().any(|kind| kind.name() == name) => {
                Err(no_sink(&format!("{name}:{place}"), kinds))
            }
            _ => Ok(()),
        }
    }

    /// The Kafka topic that it is.
    pub fn topic(&self) -> Option<&str> {
        if let Target::Kafka(topic) = self { Some(topic) } else { None }
    }

    /// What this kind of sink gets where nothing else is said.
    pub fn default_emit(&self) -> Emit {
        match self {
            Target::Kafka(_) => Emit::Upserts,
            Target::Stdout | Target::File(_) | Target::Webhook(_) | Target::Own(..) | Target::None => {
                Emit::Changes
            }
        }
    }
}

/// Carries changes out, epoch by epoch, in order.
pub trait Sink: Send {
    /// An epoch begins: what comes up to [`Sink::commit`] is of it. Called before anything else is of it, also where the
    /// sink is not given its rows, since it holds them.
    fn begin(&mut self, _epoch: Epoch, _origin: Origin<'_>) {}

    /// Takes the net changes of one output in one epoch, ordered by row. Of what precedes the first epoch, which is epoch
    /// 0, sinks that want it get the rows in any order, in several calls.
    ///
    /// # Errors
    /// What ends the run: it names the sink.
    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()>;

    /// All outputs of the epoch have been written, and these are its reports: returns when the epoch has left the
    /// program.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn commit(&mut self, epoch: Epoch, reports: &[Report]) -> Result<()>;

    /// The run has ended well: nothing more will come.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// Who measures its transactions, where it writes in such.
    fn transactions(&self) -> Option<Arc<Transacted>> {
        None
    }

    /// A job resumes from its state. Called once, before all else, in runs that keep state. Returns the epoch up to
    /// which the sink needs nothing more: the next one is the first that it will be given. A sink that can't know what
    /// it holds relies on what the ledger knows to be published, and may be given an epoch twice.
    ///
    /// # Errors
    /// If what the sink holds can't be of this job and ledger, or can't be found out.
    fn resume(&mut self, from: &Resume) -> Result<Epoch> {
        Ok(from.published)
    }

    /// Parts the changes of an epoch, where some have rows that are too large for the sink and are to become dead
    /// letters: what is to be written instead of all of them, and those rows. `None`: it takes them all. The same changes
    /// are always parted in the same way.
    fn refuse(&self, _output: &str, _changes: &[Change]) -> Option<(Vec<Change>, Vec<TooLarge>)> {
        None
    }
}

/// Opens the sinks of a run.
pub struct Opener<'a> {
    settings: &'a Settings,
    group: &'a str,
    /// The name of a run without state; `None` where a job keeps state, and its sinks learn its name when it goes on.
    run: Option<String>,
    webhook_max_bytes: usize,
    fault: &'a Fault,
    /// What all Kafka sinks share, once there is one.
    kafka: Option<kafka::Shared>,
    /// How missing topics are made; without it they are an error.
    making: Option<Making>,
    delivery: Delivery,
    on_too_large: OnTooLarge,
    kinds: &'a [SinkKind],
}

impl<'a> Opener<'a> {
    /// For a run whose offsets are committed to the consumer `group`. With `durable` the job keeps state: each sink is
    /// told what the job resumes from ([`Sink::resume`]) before all else. A POST of a webhook has at most
    /// `webhook_max_bytes`. Sinks that wait end when `fault` is raised.
    pub fn new(
        settings: &'a Settings,
        group: &'a str,
        durable: bool,
        webhook_max_bytes: usize,
        fault: &'a Fault,
    ) -> Self {
        let run = (!durable).then(|| format!("{}{:016x}", UNKEPT, rand::random::<u64>()));
        let on_too_large = OnTooLarge::Fail;
        Opener {
            settings,
            group,
            run,
            webhook_max_bytes,
            fault,
            kafka: None,
            making: None,
            delivery: Delivery::ExactlyOnce,
            on_too_large,
            kinds: &[],
        }
    }

    /// Opens sinks of these kinds as well.
    pub fn with_kinds(self, kinds: &'a [SinkKind]) -> Self {
        Opener { kinds, ..self }
    }

    /// Makes topics that are missing, where this says how.
    pub fn creating(self, making: Option<Making>) -> Self {
        Opener { making, ..self }
    }

    /// How Kafka sinks deliver, unless it is exactly once.
    pub fn delivering(self, delivery: Delivery) -> Self {
        Opener { delivery, ..self }
    }

    /// What sinks do about rows that are too large for them, unless it is to fail.
    pub fn on_too_large(self, on_too_large: OnTooLarge) -> Self {
        Opener { on_too_large, ..self }
    }

    /// Opens a sink; `None` for [`Target::None`].
    ///
    /// # Errors
    /// If it can't be written to.
    pub fn open(&mut self, target: &Target, emit: Emit) -> Result<Option<Box<dyn Sink>>> {
        let run = self.run.as_deref();
        Ok(match target {
            Target::Stdout => Some(Box::new(stdout::Stdout::new(emit))),
            Target::File(path) if run.is_some() => {
                Some(Box::new(file::File::create(path, emit, self.fault)?))
            }
            Target::File(path) => Some(Box::new(file::File::keep(path, emit, self.fault))),
            Target::Kafka(topic) => {
                let (making, on_too_large) = (self.making, self.on_too_large);
                Some(Box::new(kafka::Kafka::open(self.kafka()?, topic, making, emit, on_too_large)?))
            }
            Target::Webhook(url) => {
                Some(Box::new(webhook::Webhook::open(url, emit, run, self.webhook_max_bytes, self.fault)?))
            }
            Target::Own(name, place) => {
                let kind = self.kinds.iter().find(|kind| kind.name() == name);
                let kind = kind.ok_or_else(|| anyhow!(no_sink(&format!("{name}:{place}"), self.kinds)))?;
                Some(kind.open(&Opening::new(place, emit, run.is_none(), self.fault))?)
            }
            Target::None => None,
        })
    }

    /// As [`Opener::open`], for dead letters. They never change: sinks get them as they come.
    ///
    /// # Errors
    /// As [`Opener::open`].
    pub fn open_dead_letters(&mut self, target: &Target) -> Result<Option<Box<dyn Sink>>> {
        match target {
            Target::Kafka(topic) => {
                let making = self.making;
                Ok(Some(Box::new(kafka::Kafka::open_dead_letters(self.kafka()?, topic, making)?)))
            }
            Target::Webhook(url) => {
                let run = self.run.as_deref();
                let emit = target.default_emit();
                let webhook = webhook::Webhook::open(url, emit, run, self.webhook_max_bytes, self.fault)?;
                Ok(Some(Box::new(webhook.of_letters())))
            }
            target => self.open(target, target.default_emit()),
        }
    }

    /// All sinks are open. Without state they can write after this; else after [`Sink::resume`].
    ///
    /// # Errors
    /// If they can't start.
    pub fn start(&self) -> Result<()> {
        match (&self.kafka, &self.run) {
            (Some(shared), Some(run)) => shared.start(run),
            _ => Ok(()),
        }
    }

    fn kafka(&mut self) -> Result<&kafka::Shared> {
        let shared = match self.kafka.take() {
            Some(shared) => shared,
            None => kafka::Shared::prepare(self.settings, self.group, self.delivery, self.fault)?,
        };
        Ok(self.kafka.insert(shared))
    }
}

/// The keys that changed, each with its new row, or without one where it is gone. `changes` are ordered by row,
/// and so by key. There is one new row of a key at most: [`check`] sees to that.
pub fn upserts(changes: &[Change]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    changes.chunk_by(|a, b| a.key == b.key).map(|changes| {
        let row = changes.iter().rev().find(|change| change.diff > 0).map(|change| &change.row[..]);
        (&changes[0].key[..], row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        assert_eq!("file:a:b".parse(), Ok(Target::File("a:b".into())));
        assert_eq!("kafka:t".parse(), Ok(Target::Kafka("t".into())));
        assert!(matches!("webhook:http://h".parse(), Ok(Target::Webhook(_))));
        for wrong in [
            "", "file:", "kafka:", "stdout:", "stdout:x", "webhook", "webhook:", "own:", "own", "Own:x", ":x",
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sinks_of_kinds_that_the_program_adds_are_known_to_it_alone() {
        let own: Target = "own:a:b".parse().unwrap();
        assert_eq!(own, Target::Own("own".into(), "a:b".into()));
        let kinds = [SinkKind::new("own", |_| Err(anyhow!("not now")))];
        assert_eq!(own.check(&kinds), Ok(()));
        assert!(own.check(&[]).unwrap_err().ends_with("webhook:URL or none"));
        let other: Target = "owl:a".parse().unwrap();
        assert!(other.check(&kinds).unwrap_err().ends_with("webhook:URL, own:PLACE or none"));
        let opened = kinds[0].open(&Opening::new("a", Emit::Changes, false, &Fault::default()));
        assert_eq!(format!("{:#}", opened.err().unwrap()), "opening sink own:a: not now");
    }

    #[test]
    fn upserts_are_the_new_row_of_each_key() {
        let change = |key: &str, row: &str, diff| Change {
            key: key.to_owned().into(),
            row: row.to_owned().into(),
            diff,
        };
        let changes =
            [change("a", "a9", -1), change("a", "a12", 1), change("b", "b1", 1), change("c", "c1", -1)];
        let expected: [(&[u8], Option<&[u8]>); 3] = [(b"a", Some(b"a12")), (b"b", Some(b"b1")), (b"c", None)];
        assert_eq!(upserts(&changes).collect::<Vec<_>>(), expected);
    }
}
