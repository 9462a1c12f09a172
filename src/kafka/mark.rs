//! What stands beside an offset that a transaction has committed to a group: the epoch and job that it belongs to.

use cutwater_dataflows::Epoch;
use serde::{Deserialize, Serialize};

/// How the names of runs begin that keep no state: nothing will resume from what they have committed.
pub(crate) const UNKEPT: &str = "run-";

/// Stands beside each committed offset, as its metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The job. That of a run without state begins with [`UNKEPT`].
    pub(crate) job: String,
    /// The topics hold all of the job's epochs up to this one.
    pub(crate) epoch: Epoch,
    /// They hold the rows after the end, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ended: bool,
}

impl Mark {
    /// As it is committed.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON")
    }

    /// Reads a committed offset's metadata; `None` if it is something else.
    pub(crate) fn read(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata).ok()
    }

    /// True iff it is of a job that can resume from it.
    pub(crate) fn is_kept(&self) -> bool {
        !self.job.starts_with(UNKEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_compact_json() {
        let mark = Mark { job: "a\"b".into(), epoch: 7, ended: false };
        assert_eq!(mark.text(), r#"{"job":"a\"b","epoch":7}"#);
        assert_eq!(Mark::read(&mark.text()), Some(mark.clone()));
        let ended = Mark { ended: true, ..mark };
        assert_eq!(Mark::read(&ended.text()), Some(ended));
        for other in ["", "7", "{}", "of another tool"] {
            assert_eq!(Mark::read(other), None, "{other}");
        }
    }
}
