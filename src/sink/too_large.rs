//! Rows that are larger than their sink takes.

use cutwater_dataflows::dead_letter::{DeadLetter, of_row};
use cutwater_dataflows::render::Change;

/// What to do about a row that is larger than its sink takes.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTooLarge {
    /// End with an error that names the output, the row's key and its size
    Fail,
    /// The row becomes a dead letter, and the run goes on
    DeadLetter,
}

/// A row that was not given to its sink.
pub struct TooLarge {
    /// The topic that would have taken it.
    pub topic: String,
    /// The row.
    pub change: Change,
    /// Why not, in words.
    pub reason: String,
}

impl TooLarge {
    /// Its dead letter: of no partition, and of no offset.
    pub fn letter(&self) -> DeadLetter {
        of_row(&self.topic, &self.change.key, &self.change.row, &self.reason)
    }
}
