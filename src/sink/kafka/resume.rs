//! What a group's committed offsets say about a job that goes on: which epochs its topics hold.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use cutwater_dataflows::Epoch;

use super::group::{Committed, Partition};
use crate::state::cut::Cut;
use crate::state::gone::is_silent;
use crate::state::resume::Resume;

/// The epoch up to which the topics hold everything, by what the group has `committed`.
///
/// An epoch's transaction commits all offsets that moved in it, so the highest epoch among the marks is the last one
/// that was committed. Where there are none although epochs were published, the offsets have expired or were deleted,
/// or the sink is new in this job. That tells nothing about epochs that may or may not have been published: with such
/// epochs it is an error, as either way could be wrong; without any, the topics need nothing more.
///
/// With a topic its marks are deleted. Those of others tell all the same which epochs with records of others are there:
/// such an epoch is committed with them. An epoch of which all is gone has no records to be written any more.
///
/// # Errors
/// If what is committed can't be of this job and ledger, or doesn't tell enough.
pub(super) fn held(group: &str, committed: &BTreeMap<Partition, Committed>, from: &Resume) -> Result<Epoch> {
    let published = cut_of(from.published, from);
    let mut held = None;
    for ((topic, partition), committed) in committed {
        let Some(mark) = &committed.mark else { continue };
        if mark.job == from.job {
            held = held.max(Some(mark.epoch));
        } else if mark.is_kept() || published.contains(&(topic.clone(), *partition)) {
            bail!(others(group, &mark.job, topic, *partition));
        }
    }
    if !from.gone.is_empty() {
        held = (held.is_some() || reach(from.published, from) == from.last())
            .then(|| reach(held.max(Some(from.published)).unwrap_or_default(), from));
    }
    match held {
        Some(epoch) if epoch > from.last() => bail!(
            "the topics hold epoch {epoch} of this job (so says group {group:?}), but its ledger ends at epoch {}: is \
             it an old copy of the state?",
            from.last()
        ),
        Some(epoch) if epoch >= from.published => Ok(epoch),
        // What was published moved no offset: nothing could be marked.
        None if published.is_empty() => Ok(from.published),
        _ if from.published == from.last() => Ok(from.published),
        held => bail!(
            "group {group:?} doesn't tell whether the topics hold epochs {} to {}: epochs up to {} were published, but \
             it has {}. Its offsets may have expired or been deleted, or the Kafka sink is new in this job. Add a \
             Kafka sink after a clean stop of the job with its other sinks",
            from.published + 1,
            from.last(),
            from.published,
            held.map_or_else(
                || "no offsets of this job".to_owned(),
                |held| format!("epoch {held} as the last")
            ),
        ),
    }
}

/// `epoch`, or the last of those that follow it without anything that can be written.
fn reach(epoch: Epoch, from: &Resume) -> Epoch {
    let after = from.replay.iter().skip_while(|entry| entry.epoch <= epoch);
    after.take_while(|entry| is_silent(entry, &from.gone)).last().map_or(epoch, |entry| entry.epoch)
}

/// What to say where a group is not this job's alone.
pub(super) fn others(group: &str, job: &str, topic: &str, partition: i32) -> String {
    format!(
        "another job uses the group {group:?}: the offset of {topic} partition {partition} is of {job}. Give this job \
         a group of its own with -X group.id=NAME"
    )
}

/// The partitions that have an offset at `epoch`.
fn cut_of(epoch: Epoch, from: &Resume) -> std::collections::BTreeSet<Partition> {
    let mut cut: Cut = from.cut.clone();
    from.replay.iter().filter(|entry| entry.epoch <= epoch).for_each(|entry| cut.advance(&entry.cut));
    cut.iter().map(|(_, topic, partition, _)| (topic.to_owned(), partition)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::mark::Mark;
    use crate::state::resume::Entry;

    /// A job whose ledger goes from epoch `checkpoint` to `last`; partition 0 moved in each epoch.
    fn job(checkpoint: Epoch, published: Epoch, last: Epoch) -> Resume {
        let cut = |epoch: Epoch| {
            let mut cut = Cut::default();
            cut.set("lines", "t", 0, epoch as i64 * 10);
            cut
        };
        Resume {
            job: "ours".into(),
            checkpoint,
            cut: if checkpoint == 0 { Cut::default() } else { cut(checkpoint) },
            replay: (checkpoint + 1..=last)
                .map(|epoch| Entry { epoch, cut: cut(epoch), ..Entry::default() })
                .collect(),
            published,
            ..Resume::default()
        }
    }

    fn committed(marks: &[(i32, Option<(&str, Epoch)>)]) -> BTreeMap<Partition, Committed> {
        let mark = |(job, epoch): (&str, Epoch)| Mark { job: job.into(), epoch, ended: false };
        let entry = |&(partition, of): &(i32, Option<(&str, Epoch)>)| {
            (("t".to_owned(), partition), Committed { offset: 1, mark: of.map(mark) })
        };
        marks.iter().map(entry).collect()
    }

    #[track_caller]
    fn fails(from: &Resume, marks: &[(i32, Option<(&str, Epoch)>)], text: &str) {
        let error = held("g", &committed(marks), from).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }

    #[test]
    fn the_highest_epoch_of_the_job_is_what_the_topics_hold() {
        let from = job(2, 3, 5);
        for epoch in 3..=5 {
            let marks = committed(&[(0, Some(("ours", epoch))), (1, Some(("ours", 1)))]);
            assert_eq!(held("g", &marks, &from).unwrap(), epoch);
        }
        fails(&from, &[(0, Some(("ours", 6)))], "ledger ends at epoch 5");
    }

    #[test]
    fn marks_that_went_with_their_topic_are_not_missed() {
        let mut from = job(2, 3, 5);
        // Epochs 2 and 4 moved the topic alone that is gone; 3 and 5 also, or only, another.
        for (epoch, alone) in [(3, false), (4, true), (5, false)] {
            let entry = &mut from.replay[epoch - 3];
            if !alone {
                entry.cut.set("lines", "u", 0, epoch as i64);
            }
        }
        from.gone = ["t".to_owned()].into();
        let held = |epoch: Option<Epoch>| {
            let mark = |epoch| Mark { job: "ours".into(), epoch, ended: false };
            let committed = |epoch| (("u".to_owned(), 0), Committed { offset: 1, mark: Some(mark(epoch)) });
            super::held("g", &epoch.map(committed).into_iter().collect(), &from)
        };
        // Whatever epoch 4 was, there is nothing of it to be written.
        assert_eq!(held(Some(1)).unwrap(), 4);
        assert_eq!(held(Some(3)).unwrap(), 4);
        assert_eq!(held(Some(5)).unwrap(), 5);
        assert!(held(Some(6)).is_err() && held(None).is_err());
        from.replay.pop();
        assert_eq!(super::held("g", &BTreeMap::new(), &from).unwrap(), 4);
    }

    #[test]
    fn another_jobs_group_is_refused() {
        fails(&job(2, 3, 5), &[(0, Some(("ours", 4))), (1, Some(("theirs", 9)))], "another job");
        fails(&job(0, 0, 0), &[(0, Some(("theirs", 9)))], "-X group.id=NAME");
        // Nobody resumes from what a run without state has left behind; but here it came in between.
        assert_eq!(held("g", &committed(&[(0, Some(("run-1", 9)))]), &job(0, 0, 1)).unwrap(), 0);
        fails(&job(2, 2, 3), &[(0, Some(("run-1", 9)))], "another job");
    }

    #[test]
    fn without_marks_only_what_is_certain_is_relied_on() {
        // Nothing was published yet, whether or not something else has committed offsets.
        assert_eq!(held("g", &committed(&[]), &job(0, 0, 2)).unwrap(), 0);
        assert_eq!(held("g", &committed(&[(0, None)]), &job(0, 0, 2)).unwrap(), 0);
        // All was published.
        assert_eq!(held("g", &committed(&[]), &job(4, 4, 4)).unwrap(), 4);
        assert_eq!(held("g", &committed(&[(0, None)]), &job(2, 4, 4)).unwrap(), 4);
        assert_eq!(held("g", &committed(&[(0, Some(("ours", 3)))]), &job(2, 4, 4)).unwrap(), 4);
        // Whether epoch 5 is there can't be known.
        fails(&job(2, 4, 5), &[], "epochs 5 to 5");
        fails(&job(2, 4, 5), &[(0, None)], "no offsets of this job");
        fails(&job(2, 4, 5), &[(0, Some(("ours", 3)))], "epoch 3 as the last");
    }
}
