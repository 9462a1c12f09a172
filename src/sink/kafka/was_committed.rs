//! What the group's committed offsets say about a transaction that may have been committed.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::group::{Committed, Partition};
use crate::kafka::mark::Mark;

/// Does what is committed show that the transaction with these offsets and this mark was? `positions` are those of the
/// transactions before.
///
/// # Errors
/// If another run has committed something that this one has not.
pub(super) fn was_committed(
    group: &str,
    committed: &BTreeMap<Partition, Committed>,
    offsets: &BTreeMap<Partition, i64>,
    mark: &Mark,
    positions: &BTreeMap<Partition, i64>,
) -> Result<bool> {
    let mut found = false;
    for (partition, Committed { offset, mark: other }) in committed {
        let Some(other) = other else { continue };
        if other == mark && offsets.get(partition) == Some(offset) {
            found = true;
        } else if other.job != mark.job && (other.is_kept() || positions.contains_key(partition)) {
            bail!("another run has taken over: group {group:?} now holds offsets of {}", other.job);
        } else if other.job == mark.job && (other.epoch, other.ended) >= (mark.epoch, mark.ended) {
            bail!(
                "another run has taken over: group {group:?} holds epoch {} of this job, this run is at epoch {}",
                other.epoch,
                mark.epoch
            );
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::Epoch;

    use super::*;

    fn mark(job: &str, epoch: Epoch, ended: bool) -> Mark {
        Mark { job: job.into(), epoch, ended }
    }

    fn at(offset: i64) -> BTreeMap<Partition, i64> {
        BTreeMap::from([(("t".to_owned(), 0), offset)])
    }

    fn found(offset: i64, mark: Option<Mark>) -> BTreeMap<Partition, Committed> {
        BTreeMap::from([(("t".to_owned(), 0), Committed { offset, mark })])
    }

    #[test]
    fn what_is_committed_tells_whether_an_epoch_is_there() {
        let ours = mark("ours", 5, false);
        let before = at(40);
        let was_committed =
            |committed, offset, mark: &Mark| was_committed("g", &committed, &at(offset), mark, &before);
        assert!(was_committed(found(50, Some(ours.clone())), 50, &ours).unwrap());
        assert!(!was_committed(found(40, Some(mark("ours", 4, false))), 50, &ours).unwrap());
        assert!(!was_committed(BTreeMap::new(), 50, &ours).unwrap());
        assert!(!was_committed(found(40, None), 50, &ours).unwrap());
        // The rows after the end: the epoch is the same, and so are the offsets.
        let end = mark("ours", 5, true);
        assert!(!was_committed(found(50, Some(ours.clone())), 50, &end).unwrap());
        assert!(was_committed(found(50, Some(end.clone())), 50, &end).unwrap());
        for other in [
            found(60, Some(mark("ours", 6, false))),
            found(51, Some(ours.clone())),
            found(60, Some(mark("theirs", 1, false))),
            found(60, Some(mark("run-1", 1, false))),
        ] {
            let error = was_committed(other, 50, &ours).unwrap_err().to_string();
            assert!(error.contains("another run has taken over"), "{error}");
        }
    }

    #[test]
    fn a_run_without_state_before_this_one_is_no_other_run() {
        let theirs = found(60, Some(mark("run-1", 9, false)));
        assert!(!was_committed("g", &theirs, &at(50), &mark("ours", 1, false), &BTreeMap::new()).unwrap());
    }
}
