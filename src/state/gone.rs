//! Topics that a job has read and that are not there any more, as when logs are rotated.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::cut::Cut;
use super::resume::{Entry, Resume};

/// A topic that is not there any more, and how many of its records would have to be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The topic.
    pub topic: String,
    /// Offsets between the checkpoint's cut and the ledger's end: 0 where the checkpoint holds all that was read of it.
    pub lost: i64,
}

/// The topics that `resume` names and that are not among those that are `there`.
pub fn gone(resume: &Resume, there: &[String]) -> Vec<Gone> {
    let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    let begin = resume.begin();
    let mut end: Cut = begin.clone();
    resume.replay.iter().for_each(|entry| end.advance(&entry.cut));
    let mut gone: BTreeMap<&str, i64> = BTreeMap::new();
    for (input, topic, partition, next) in end.iter().filter(|(_, topic, ..)| !there.contains(topic)) {
        let from = begin.get(input, topic, partition).unwrap_or(next);
        *gone.entry(topic).or_default() += next - from;
    }
    gone.into_iter().map(|(topic, lost)| Gone { topic: topic.to_owned(), lost }).collect()
}

/// Says which topics are gone, once, and what that means. `lossy`: records that would have to be replayed may be missing.
///
/// # Errors
/// If they are, and must not be: it says how many, and what to do.
pub fn report(place: &str, checkpoint: u64, gone: &[Gone], lossy: bool) -> Result<()> {
    let names = |gone: &mut dyn Iterator<Item = &Gone>| -> (String, i64) {
        let gone: Vec<&Gone> = gone.collect();
        let names: Vec<&str> = gone.iter().map(|gone| gone.topic.as_str()).collect();
        (names.join(", "), gone.iter().map(|gone| gone.lost).sum())
    };
    let (whole, _) = names(&mut gone.iter().filter(|gone| gone.lost == 0));
    let (torn, lost) = names(&mut gone.iter().filter(|gone| gone.lost > 0));
    if !torn.is_empty() && !lossy {
        bail!(
            "state {place}: {torn} was deleted, and {lost} records of it that were read after the checkpoint of epoch \
             {checkpoint} can't be replayed; --on-data-loss continue resumes without them: what is counted from here on \
             is less, and epochs that are replayed differ from what was published"
        );
    }
    if !torn.is_empty() {
        tracing::warn!(
            "state {place}: {torn} was deleted; resuming without {lost} records of it that were read after the \
             checkpoint of epoch {checkpoint}: what is counted from here on is less, and epochs that are replayed differ \
             from what was published"
        );
    }
    if !whole.is_empty() {
        tracing::warn!(
            "state {place}: {whole} was deleted; resuming without it: the checkpoint of epoch {checkpoint} holds all that \
             was read of it"
        );
    }
    Ok(())
}

/// True iff the epoch moved partitions of topics that are gone, and no others: its replay is empty.
pub fn is_silent(entry: &Entry, gone: &BTreeSet<String>) -> bool {
    !entry.cut.is_empty() && entry.cut.iter().all(|(_, topic, ..)| gone.contains(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(of: &[(&str, i32, i64)]) -> Cut {
        let mut cut = Cut::default();
        for &(topic, partition, offset) in of {
            cut.set("lines", topic, partition, offset);
        }
        cut
    }

    #[test]
    fn what_lies_below_the_checkpoint_needs_no_topic() {
        let entry = |epoch, starts: &[_], moved: &[_]| Entry {
            epoch,
            starts: cut(starts),
            cut: cut(moved),
            ..Entry::default()
        };
        let resume = Resume {
            checkpoint: 4,
            cut: cut(&[("old", 0, 10), ("old", 1, 7), ("here", 0, 3)]),
            replay: vec![
                entry(5, &[("young", 0, 2)], &[("young", 0, 6)]),
                entry(6, &[], &[("here", 0, 9), ("young", 0, 8)]),
            ],
            ..Resume::default()
        };
        let there = |names: &[&str]| gone(&resume, &names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        assert_eq!(there(&["old", "here", "young", "other"]), []);
        let whole = [Gone { topic: "old".into(), lost: 0 }];
        assert_eq!(there(&["here", "young"]), whole);
        let torn = [Gone { topic: "young".into(), lost: 6 }];
        assert_eq!(there(&["here", "old"]), torn);
        report("dir", 4, &whole, false).unwrap();
        let error = report("dir", 4, &[whole, torn.clone()].concat(), false).unwrap_err().to_string();
        assert!(error.contains("young") && error.contains("6 records"), "{error}");
        assert!(error.contains("--on-data-loss continue") && !error.contains("old"), "{error}");
        report("dir", 4, &torn, true).unwrap();
        let names = BTreeSet::from(["young".to_owned()]);
        assert!(is_silent(&resume.replay[0], &names) && !is_silent(&resume.replay[1], &names));
    }
}
