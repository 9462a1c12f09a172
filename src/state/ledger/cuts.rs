//! The ledger hears of cuts: it compares those that it has, and adds those that are new.

use std::collections::VecDeque;

use anyhow::{Result, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::source::{Report, times};
use cutwater_dataflows::watermark::{Times, Watermarks};

use super::Ledger;
use crate::publish::Cuts;
use crate::state::resume::{Entry, Resume};

/// The cuts of a run that goes on from a ledger.
pub struct LedgerCuts {
    ledger: Ledger,
    /// What epochs must be that the ledger has.
    replay: VecDeque<Entry>,
    watermarks: Watermarks,
    /// Tells the time: microseconds since the Unix epoch.
    now: Box<dyn FnMut() -> u64 + Send>,
}

impl LedgerCuts {
    /// The cuts of a run that resumes so: it first replays epochs, up to the ledger's last. `now` tells the time, in
    /// microseconds since the Unix epoch.
    pub fn new(ledger: Ledger, resume: &Resume, now: impl FnMut() -> u64 + Send + 'static) -> Self {
        let watermarks = Watermarks::after(resume.times.clone());
        LedgerCuts { ledger, replay: resume.replay.clone().into(), watermarks, now: Box::new(now) }
    }
}

impl Cuts for LedgerCuts {
    fn append(&mut self, epoch: Epoch, reports: &[Report], published: Epoch) -> Result<()> {
        let times = self.watermarks.advance(times(reports));
        if epoch > self.ledger.last() {
            let time = (self.now)();
            return self.ledger.append(Entry::new(epoch, reports, times, published, time));
        }
        match self.replay.pop_front() {
            Some(entry) if entry.epoch == epoch => compare(&entry, reports),
            _ => bail!("epoch {epoch} is in the ledger, and was not to be read again"),
        }
    }

    fn sync(&mut self) -> Result<()> {
        self.ledger.sync()
    }
}

/// An epoch was read again: it must end where it ended then.
fn compare(entry: &Entry, reports: &[Report]) -> Result<()> {
    let epoch = entry.epoch;
    let read = Entry::new(epoch, reports, &Times::default(), 0, 0).cut;
    for (input, topic, partition, next) in entry.cut.iter() {
        let found = read.get(input, topic, partition);
        if found != Some(next) {
            let found =
                found.map_or_else(|| "not at all".to_owned(), |found| format!("up to offset {found}"));
            bail!(
                "topic {topic} no longer holds what the ledger says: epoch {epoch} ends at offset {next} of partition \
                 {partition}, and it could be read {found}; was the topic emptied or recreated? Start with another \
                 state folder"
            );
        }
    }
    for (input, topic, partition, next) in read.iter() {
        if entry.cut.get(input, topic, partition).is_none() {
            bail!(
                "epoch {epoch} was read up to offset {next} of topic {topic} partition {partition}, and the ledger \
                 has nothing of that partition in it"
            );
        }
    }
    Ok(())
}
