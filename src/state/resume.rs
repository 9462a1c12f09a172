//! What a run resumes from. The process with worker 0 finds it out and tells the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cutwater_dataflows::Epoch;
use cutwater_dataflows::persist::SortedRun;
use cutwater_dataflows::source::Report;
use cutwater_dataflows::watermark::{Known, TimeReport, Times};
use serde::{Deserialize, Serialize};

use super::cut::{Cut, Topics};
use super::digest::Digests;

/// What a run resumes from: a checkpoint, and the ledger after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The job's identifier, made when its state was.
    pub job: String,
    /// The epoch of the checkpoint; 0 where there is none.
    pub checkpoint: Epoch,
    /// The cut of that epoch; empty for epoch 0.
    pub cut: Cut,
    /// The times of that epoch; none of it is known for epoch 0.
    #[serde(default)]
    pub times: Times,
    /// The runs of each persisted collection, of all workers.
    pub collections: BTreeMap<String, Vec<SortedRun>>,
    /// What the ledger says of the epochs after the checkpoint: in order, without gaps.
    pub replay: Vec<Entry>,
    /// All epochs up to this one are known to be published; at least `checkpoint`.
    pub published: Epoch,
    /// Topics that are not there any more: nothing is read of them, also where the ledger says that it was.
    #[serde(default)]
    pub gone: BTreeSet<String>,
}

/// What the ledger says of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The epoch.
    pub epoch: Epoch,
    /// When it was written: microseconds since the Unix epoch. For people; nothing depends on it.
    pub time: u64,
    /// Records read in it.
    pub records: u64,
    /// All epochs up to this one had been published when the entry was written.
    pub published: Epoch,
    /// Its times, on which whatever is decided by time depends.
    #[serde(flatten)]
    pub times: Times,
    /// Where reading began, of partitions that are named for the first time.
    #[serde(default, skip_serializing_if = "Cut::is_empty")]
    pub starts: Cut,
    /// The next offsets of the partitions that moved.
    pub cut: Cut,
    /// What each output changed by in the epoch; empty in ledgers of programs that knew no digests.
    #[serde(default, skip_serializing_if = "Digests::is_empty")]
    pub digests: Digests,
}

impl Entry {
    /// The entry of an epoch with these reports and times.
    pub fn new(epoch: Epoch, reports: &[Report], times: &Times, published: Epoch, time: u64) -> Self {
        let mut entry = Entry { epoch, published, time, times: times.clone(), ..Entry::default() };
        for report in reports {
            entry.records += report.records;
            for moved in &report.moved {
                if let Some(start) = moved.start {
                    entry.starts.set(&report.input, &moved.topic, moved.partition, start);
                }
                entry.cut.set(&report.input, &moved.topic, moved.partition, moved.next);
            }
        }
        entry
    }

    /// The partitions that the epoch moves, each from the offset of the cut before it: `lines=words 0: 100-120, 1: 7-9`.
    pub fn moved(&self, before: &Cut) -> String {
        let mut shown = String::new();
        let mut last = None;
        for (input, topic, partition, next) in self.cut.iter() {
            if last == Some((input, topic)) {
                shown.push_str(", ");
            } else {
                let gap = if shown.is_empty() { "" } else { "; " };
                let _ = write!(shown, "{gap}{input}={topic} ");
                last = Some((input, topic));
            }
            let from = before.get(input, topic, partition);
            let _ = match from.or_else(|| self.starts.get(input, topic, partition)) {
                Some(from) => write!(shown, "{partition}: {from}-{next}"),
                None => write!(shown, "{partition}: -{next}"),
            };
        }
        shown
    }

    /// What a replay of the epoch says of time in an input.
    pub fn replayed(&self, input: &str) -> TimeReport {
        let Times { closed, watermark, watermarks } = &self.times;
        let known = Known::Replayed { input: watermarks.get(input).copied(), flow: *watermark };
        TimeReport { worker: 0, forced: true, closed: *closed, known }
    }
}

impl Resume {
    /// The last epoch of the ledger.
    pub fn last(&self) -> Epoch {
        self.replay.last().map_or(self.checkpoint, |entry| entry.epoch)
    }

    /// Where to begin to read each partition that the ledger knows: after the checkpoint's cut, or at its start
    /// where it joined later.
    pub fn begin(&self) -> Cut {
        let mut begin = self.cut.clone();
        self.replay.iter().for_each(|entry| begin.advance(&entry.starts));
        begin
    }

    /// Up to where an input is read in an epoch, for epochs that the ledger knows: partitions that are not named
    /// don't move. `None` for epochs after the last.
    pub fn bound(&self, epoch: Epoch, input: &str) -> Option<Topics> {
        self.entry(epoch).map(|entry| entry.cut.of(input))
    }

    /// What the ledger says of an epoch after the checkpoint.
    pub fn entry(&self, epoch: Epoch) -> Option<&Entry> {
        let first = self.checkpoint + 1;
        let index = usize::try_from(epoch.checked_sub(first)?).ok()?;
        self.replay.get(index)
    }
}
