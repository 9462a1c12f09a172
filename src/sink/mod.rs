//! Sinks: what carries outputs out of the program.

pub mod file;
pub mod kafka;
mod lines;

use std::str::FromStr;

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;

use crate::kafka::client::Settings;
use crate::state::resume::Resume;

/// What a sink gets of an output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Every change of every epoch
    Changes,
    /// The new row of each key that changed in the epoch, or that the key is gone
    Upserts,
    /// The rows that are there after the end, once
    Final,
}

/// Where an output goes, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, made anew.
    File(std::path::PathBuf),
    /// A Kafka topic.
    Kafka(String),
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
            _ => Err(format!("{text:?} is no sink: expected stdout, file:PATH, kafka:TOPIC or none")),
        }
    }
}

impl Target {
    /// What this kind of sink gets where nothing else is said.
    pub fn default_emit(&self) -> Emit {
        match self {
            Target::Kafka(_) => Emit::Upserts,
            Target::Stdout | Target::File(_) | Target::None => Emit::Changes,
        }
    }
}

/// Carries changes out, epoch by epoch, in order.
pub trait Sink: Send {
    /// Takes the net changes of one output in one epoch, ordered by row.
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

    /// A job goes on from its state. Called once, before all else, in runs that keep state. Returns the epoch up to
    /// which the sink needs nothing more: the next one is the first that it will be given. A sink that can't know what
    /// it holds relies on what the ledger knows to be published, and may be given an epoch twice.
    ///
    /// # Errors
    /// If what the sink holds can't be of this job and ledger, or can't be found out.
    fn resume(&mut self, from: &Resume) -> Result<Epoch> {
        Ok(from.published)
    }
}

/// Opens a sink; `None` for [`Target::None`].
///
/// # Errors
/// If it can't be written to.
pub fn open(target: &Target, emit: Emit, settings: &Settings) -> Result<Option<Box<dyn Sink>>> {
    Ok(match target {
        Target::Stdout => Some(Box::new(file::Lines::stdout(emit))),
        Target::File(path) => Some(Box::new(file::Lines::create(path, emit)?)),
        Target::Kafka(topic) => Some(Box::new(kafka::Kafka::open(topic, emit, settings)?)),
        Target::None => None,
    })
}

/// The keys that changed, each with its new row, or without one where it is gone. `changes` are ordered by row,
/// and so by key. Where several rows of a key are there, the last one stands for it.
pub(crate) fn upserts(changes: &[Change]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    changes.chunk_by(|a, b| a.key == b.key).map(|changes| {
        let row = changes.iter().rev().find(|change| change.diff > 0).map(|change| change.row.as_slice());
        (changes[0].key.as_slice(), row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        assert_eq!("file:a:b".parse(), Ok(Target::File("a:b".into())));
        assert_eq!("kafka:t".parse(), Ok(Target::Kafka("t".into())));
        for wrong in ["", "file:", "kafka:", "stdout:", "webhook"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn upserts_are_the_new_row_of_each_key() {
        let change = |key: &str, row: &str, diff| Change { key: key.into(), row: row.into(), diff };
        let changes =
            [change("a", "a9", -1), change("a", "a12", 1), change("b", "b1", 1), change("c", "c1", -1)];
        let expected: [(&[u8], Option<&[u8]>); 3] = [(b"a", Some(b"a12")), (b"b", Some(b"b1")), (b"c", None)];
        assert_eq!(upserts(&changes).collect::<Vec<_>>(), expected);
    }
}
