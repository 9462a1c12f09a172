//! Verifying: reads all that there is, and repairs nothing.

use anyhow::Result;
use cutwater_dataflows::Epoch;

use super::reading::{Found, Problem, Reading};
use crate::state::storage::Storage;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments.
    pub segments: usize,
    /// Epochs.
    pub epochs: u64,
    /// The first and the last epoch.
    pub range: Option<(Epoch, Epoch)>,
    /// Problems.
    pub problems: usize,
    /// What is at the end that was never durable, or is about to be written. This is no damage: it is cut off when a
    /// run starts.
    pub torn: Option<Problem>,
}

/// Reads a whole ledger, for the job if it is known, and tells each problem.
///
/// # Errors
/// If it can't be read.
pub fn verify(storage: &dyn Storage, job: Option<&str>, each: &mut dyn FnMut(Problem)) -> Result<Verified> {
    let mut verified = Verified::default();
    for found in Reading::all(storage, job)? {
        match found? {
            Found::Segment(..) => verified.segments += 1,
            Found::Entry { entry, .. } => {
                verified.epochs += 1;
                let first = verified.range.map_or(entry.epoch, |(first, _)| first);
                verified.range = Some((first, entry.epoch));
            }
            Found::Damage(problem) => {
                verified.problems += 1;
                each(problem);
            }
            Found::Torn(problem) => verified.torn = Some(problem),
        }
    }
    Ok(verified)
}
