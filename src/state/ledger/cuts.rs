//! The ledger hears of cuts: it compares those that it has, and adds those that are new.

use std::collections::VecDeque;

use anyhow::{Result, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::source::{Report, times};
use cutwater_dataflows::watermark::{Times, Watermarks};

use super::Ledger;
use crate::publish::Cuts;
use crate::state::cut::Cut;
use crate::state::digest::{Digests, difference};
use crate::state::known::Known;
use crate::state::resume::{Entry, Resume};

/// The cuts of a run that resumes from a ledger.
pub struct LedgerCuts {
    ledger: Ledger,
    /// What epochs must be that the ledger has.
    replay: VecDeque<Entry>,
    watermarks: Watermarks,
    /// Records are missing that the replayed epochs had: their outputs can't be the same.
    lossy: bool,
    /// Tells the time: microseconds since the Unix epoch.
    now: Box<dyn FnMut() -> u64 + Send>,
    /// Who is told what the ledger has.
    known: Known,
    /// By how much the cut has moved with what was added since they were told.
    moved: Cut,
}

impl LedgerCuts {
    /// The cuts of a run that resumes so: it first replays epochs, up to the ledger's last. `now` tells the time, in
    /// microseconds since the Unix epoch.
    pub fn new(ledger: Ledger, resume: &Resume, now: impl FnMut() -> u64 + Send + 'static) -> Self {
        let watermarks = Watermarks::after(resume.times.clone());
        LedgerCuts {
            ledger,
            replay: resume.replay.clone().into(),
            watermarks,
            lossy: false,
            now: Box::new(now),
            known: Known::default(),
            moved: Cut::default(),
        }
    }

    /// Has `known` be told what the ledger has.
    pub(in crate::state) fn telling(self, known: Known) -> Self {
        known.ledger(self.ledger.range(), self.ledger.cut());
        LedgerCuts { known, ..self }
    }
}

impl Cuts for LedgerCuts {
    fn append(
        &mut self,
        epoch: Epoch,
        reports: &[Report],
        digests: &Digests,
        published: Epoch,
    ) -> Result<()> {
        let times = self.watermarks.advance(times(reports));
        if epoch > self.ledger.last() {
            let time = (self.now)();
            let digests = digests.clone();
            let entry = Entry::new(epoch, reports, times, published, time);
            self.moved.advance(&entry.cut);
            return self.ledger.append(Entry { digests, ..entry });
        }
        match self.replay.pop_front() {
            Some(entry) if entry.epoch == epoch => {
                let read = Entry::new(epoch, reports, &Times::default(), 0, 0);
                compare(&entry, &read)?;
                self.compare_outputs(&entry, read.records, digests)
            }
            _ => bail!("epoch {epoch} is in the ledger, and was not to be read again"),
        }
    }

    fn sync(&mut self) -> Result<()> {
        self.ledger.sync()?;
        if !self.moved.is_empty() {
            self.known.ledger(self.ledger.range(), &std::mem::take(&mut self.moved));
        }
        Ok(())
    }
}

impl LedgerCuts {
    /// An epoch was replayed: its outputs must be what they were. Where records are missing, they can't be.
    fn compare_outputs(&mut self, entry: &Entry, records: u64, digests: &Digests) -> Result<()> {
        let epoch = entry.epoch;
        if records != entry.records && !self.lossy {
            self.lossy = true;
            tracing::warn!(
                "epoch {epoch} had {} records and has {records} now, as its topics were compacted or their records have \
                 expired: outputs of replayed epochs are not compared with what they were from here on",
                entry.records
            );
        }
        if self.lossy {
            return Ok(());
        }
        if let Some((output, was, is)) = difference(&entry.digests, digests) {
            bail!(
                "output {output:?} of epoch {epoch} is not what it was: its digest is {is}, and the ledger has {was}. The \
                 dataflow gave other rows for the same records, as one does that depends on the order of a hash map, on \
                 a clock, a random number or a file, that has an operator which forgets what it saw, or that was changed \
                 since. Nothing of the epoch has left this time. Have its rows depend on the records alone, or go back to \
                 the program that wrote the state; or start with another state folder"
            );
        }
        Ok(())
    }
}

/// An epoch was replayed: it must end where it ended then.
fn compare(entry: &Entry, read: &Entry) -> Result<()> {
    let (epoch, read) = (entry.epoch, &read.cut);
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
