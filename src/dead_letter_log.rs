//! Dead letters, as the log tells of them: without what is in them, since what people send does not belong in a log that nobody
//! asked for.

use cutwater_dataflows::record::{Malformed, Record};

use crate::fold::Folded;
use crate::shown::shows_payloads;

/// Bytes of a dead letter that are shown at level debug, with `--log-payloads`.
const SHOWN: usize = 64;

/// Warns of the dead letters of a worker's sources.
#[derive(Debug)]
pub struct DeadLetterLog {
    folded: Folded,
    /// They go somewhere: how to keep them need not be said.
    kept: bool,
}

impl DeadLetterLog {
    /// Of a job that keeps its dead letters, or does not.
    pub fn new(kept: bool) -> Self {
        DeadLetterLog { folded: Folded::new("dead letters"), kept }
    }

    /// Warns of one, or counts it: see [`Folded::note`].
    pub fn warn(&self, record: &Record<'_>, reason: &Malformed) {
        let Record { topic, partition, offset, value, .. } = record;
        self.folded.warn(|| {
            let advice = if self.kept { "" } else { "; --dead-letter keeps them all" };
            format!("dead letter: {topic} partition {partition} offset {offset}: {}{advice}", reason.0)
        });
        if let Some(value) = value.filter(|_| shows_payloads()) {
            let shown = &value[..value.len().min(SHOWN)];
            let more = if shown.len() < value.len() { "…" } else { "" };
            tracing::debug!(
                "dead letter: {topic} partition {partition} offset {offset}: \"{}\"{more}",
                shown.escape_ascii()
            );
        }
    }

    /// Says how many were only counted, once it is time.
    pub fn tick(&self) {
        self.folded.tick();
    }
}
