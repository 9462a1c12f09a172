//! What a run has done, counted: a run that disturbed nothing proves nothing.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of what has happened, by name.
#[derive(Clone, Default)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// It has happened.
    pub fn note(&mut self, what: impl Into<String>) {
        self.add(what, 1);
    }

    /// It has happened so many times.
    pub fn add(&mut self, what: impl Into<String>, times: u64) {
        *self.0.entry(what.into()).or_default() += times;
    }

    /// How often it has happened.
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Tally) {
        other.0.iter().for_each(|(what, &times)| self.add(what, times));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.keys().map(|what| what.chars().count()).max().unwrap_or(0);
        self.0.iter().try_for_each(|(what, times)| writeln!(f, "  {what:width$} {times:>9}"))
    }
}
