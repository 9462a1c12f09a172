//! The cuts of the epochs since the last checkpoint, for the next one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::source::Report;

use super::cut::Cut;
use super::resume::{Entry, Resume};
use crate::publish::Cuts;

/// A cut, and the entries after it. Clones share it.
#[derive(Clone)]
pub struct Trail(Arc<Mutex<Steps>>);

struct Steps {
    epoch: Epoch,
    cut: Cut,
    entries: VecDeque<Entry>,
}

impl Trail {
    /// The trail of a run that goes on from there.
    pub fn new(resume: &Resume) -> Self {
        let (epoch, cut) = (resume.checkpoint, resume.cut.clone());
        Trail(Arc::new(Mutex::new(Steps { epoch, cut, entries: VecDeque::new() })))
    }

    /// The cut of an epoch. Forgets those before it.
    ///
    /// # Errors
    /// If the epoch was not appended, or is forgotten.
    pub fn cut(&self, epoch: Epoch) -> Result<Cut> {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(steps.epoch <= epoch, "the cut of epoch {epoch} is forgotten");
        while steps.epoch < epoch {
            let entry = steps.entries.pop_front();
            let entry = entry.filter(|entry| entry.epoch == steps.epoch + 1);
            let Some(entry) = entry else { anyhow::bail!("the cut of epoch {epoch} is not known") };
            steps.cut.advance(&entry.cut);
            steps.epoch = entry.epoch;
        }
        Ok(steps.cut.clone())
    }

    /// Has what `cuts` hears of appended.
    pub fn beside<C: Cuts>(&self, cuts: C) -> impl Cuts + use<C> {
        Beside { trail: self.clone(), cuts }
    }
}

struct Beside<C> {
    trail: Trail,
    cuts: C,
}

impl<C: Cuts> Cuts for Beside<C> {
    fn append(&mut self, epoch: Epoch, reports: &[Report], published: Epoch) -> Result<()> {
        self.cuts.append(epoch, reports, published)?;
        let mut steps = self.trail.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.entries.push_back(Entry::new(epoch, reports, published, 0));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.cuts.sync()
    }
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::source::Moved;

    use super::*;

    struct Deaf;
    impl Cuts for Deaf {
        fn append(&mut self, _: Epoch, _: &[Report], _: Epoch) -> Result<()> {
            Ok(())
        }
        fn sync(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn cuts_are_those_of_the_epoch_asked_for() {
        let trail = Trail::new(&Resume { checkpoint: 6, ..Resume::default() });
        let mut cuts = trail.beside(Deaf);
        for (epoch, partition, next) in [(7, 0, 10), (8, 1, 5), (9, 0, 20)] {
            let moved = vec![Moved { topic: "t".into(), partition, start: None, id: None, next, end: 99 }];
            let report = Report { input: "lines".into(), moved, ..Report::default() };
            cuts.append(epoch, &[report], 0).unwrap();
        }
        assert!(trail.cut(6).unwrap().is_empty());
        let cut = trail.cut(8).unwrap();
        assert_eq!((cut.get("lines", "t", 0), cut.get("lines", "t", 1)), (Some(10), Some(5)));
        assert_eq!(trail.cut(9).unwrap().get("lines", "t", 0), Some(20));
        assert!(trail.cut(8).is_err() && trail.cut(10).is_err());
    }
}
