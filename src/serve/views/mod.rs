//! The views of a run: the rows of each output, as of every epoch that is held.
//!
//! A view is a list of sorted runs, whose rows have the epochs in which their number changed: as differential has it in its
//! arrangements, and for the same reason. A reader walks over all runs at once and counts what is of its epoch and before.
//! An epoch that is published adds a run. Adjacent runs of about one size are merged, small ones at once, large ones in a
//! thread of their own, and what is older than all epochs held is summed then. So publishing costs what changed, the
//! history costs what changed in it, and who reads holds on to the runs that it has begun with: it waits for nobody, and
//! nobody for it. There is no lock.

mod merger;
mod publisher;
mod sorted;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cutwater_dataflows::{Diff, Epoch, OutputShape};
use tokio::sync::watch;

use crate::publish;
use crate::state::cut::Topics;
use crate::state::resume::Resume;
use publisher::Publisher;
use sorted::{Sorted, walk};

/// How much of the past views hold.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Epochs that were the newest at most so long ago.
    pub time: Duration,
    /// Bytes of what they changed, at most.
    pub bytes: usize,
}

/// The views of a run, for those who ask. Clones share them.
#[derive(Clone)]
pub struct Views(Arc<Shared>);

struct Shared {
    outputs: Vec<OutputShape>,
    now: ArcSwap<Held>,
    /// The newest epoch that can be asked for, for those who wait for one.
    newest: watch::Sender<Option<Epoch>>,
}

/// What is held. It never changes: an epoch that is published makes another one.
#[derive(Clone, Default)]
struct Held {
    views: Vec<View>,
    epochs: Epochs,
    /// All changes of the epochs after this one are held.
    changes_after: Epoch,
    /// The offsets up to which the newest epoch has come, by topic.
    next: Arc<Topics>,
    /// False until what precedes the first epoch has come, and what was read before is read again.
    ready: bool,
}

/// The rows of an output.
#[derive(Clone, Default)]
struct View {
    /// The oldest, and largest, first.
    runs: Vec<Arc<Sorted>>,
    /// Rows of the newest epoch.
    rows: Diff,
    /// Rows that were published up to that epoch are not held, or not all of them.
    since: Option<Epoch>,
    /// Its rows are only ever added: it has those of the epochs held.
    appends: bool,
    /// Bytes of what the epochs held have changed of it.
    changed: usize,
}

/// An epoch that is published.
#[derive(Debug)]
pub struct Published {
    /// Its number.
    pub epoch: Epoch,
    /// Its cut, as JSON: topics, their partitions and the offset after the last record.
    pub cut: String,
    /// When it closed, in microseconds since the Unix epoch.
    pub closed: i64,
    /// When it was published here.
    at: Instant,
    /// What it changed, by output.
    changes: BTreeMap<usize, Arc<Sorted>>,
    /// Bytes of all that.
    size: usize,
}

impl Published {
    /// What the epoch changed of an output: encoded rows in their order, with their differences.
    pub fn changes(&self, output: usize) -> impl Iterator<Item = (&[u8], Diff)> {
        let sorted = self.changes.get(&output);
        sorted
            .into_iter()
            .flat_map(|sorted| (0..sorted.len()).map(|index| (sorted.row(index), sorted.changes(index)[0].1)))
    }

    /// Did it change that output?
    pub fn changed(&self, output: usize) -> bool {
        self.changes.contains_key(&output)
    }
}

/// Epochs in chunks that are shared, so that a copy costs little.
#[derive(Clone, Default)]
struct Epochs {
    chunks: std::collections::VecDeque<Arc<Vec<Arc<Published>>>>,
    /// Those at the front of the first chunk that are gone.
    gone: usize,
}

/// Epochs of a chunk.
const CHUNK: usize = 256;

impl Epochs {
    fn push(&mut self, published: Arc<Published>) {
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(published),
            _ => self.chunks.push_back(Arc::new(vec![published])),
        }
    }

    fn pop(&mut self) -> Option<Arc<Published>> {
        let first = Arc::clone(self.get(0)?);
        self.gone += 1;
        if self.gone == self.chunks[0].len() {
            self.chunks.pop_front();
            self.gone = 0;
        }
        Some(first)
    }

    fn get(&self, index: usize) -> Option<&Arc<Published>> {
        let index = index + self.gone;
        // All but the last are full.
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    fn len(&self) -> usize {
        let last = self.chunks.back().map_or(0, |last| last.len());
        (self.chunks.len().saturating_sub(1) * CHUNK + last).saturating_sub(self.gone)
    }

    fn newest(&self) -> Option<&Arc<Published>> {
        self.chunks.back()?.last()
    }

    /// The place of the first that is after an epoch.
    fn after(&self, epoch: Epoch) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let is_after = self.get(middle).is_some_and(|published| published.epoch > epoch);
            if is_after { high = middle } else { low = middle + 1 }
        }
        low
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// Nothing can be asked yet: no epoch is published, or those that a run before had read are read again.
    NotYet,
    /// The epoch is older than the oldest that is held.
    Gone {
        /// That one.
        oldest: Epoch,
    },
    /// The epoch is not published yet.
    Coming {
        /// The newest that is.
        newest: Epoch,
    },
}

/// Rows of some outputs as of an epoch. It holds on to them.
pub struct Snapshot {
    /// The epoch.
    pub published: Arc<Published>,
    views: Vec<View>,
}

impl Snapshot {
    /// The rows of the output at `index` of those that were asked for: encoded, in their order, from the first that is not
    /// below `from`, each with how often it is there.
    pub fn rows<'a>(&'a self, index: usize, from: &[u8]) -> impl Iterator<Item = (&'a [u8], Diff)> + use<'a> {
        let View { runs, since, appends, .. } = &self.views[index];
        walk(runs, from, since.filter(|_| *appends), self.published.epoch)
    }

    /// Rows that were published up to that epoch are not held, or not all of them.
    pub fn since(&self, index: usize) -> Option<Epoch> {
        self.views[index].since
    }
}

/// How large a view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its rows, as of the newest epoch.
    pub rows: i64,
    /// Bytes that it takes, with its history.
    pub bytes: usize,
    /// Rows that were published up to that epoch are not held.
    pub since: Option<Epoch>,
}

/// What can be asked for.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The oldest epoch that is held.
    pub oldest: Arc<Published>,
    /// The newest one.
    pub newest: Arc<Published>,
    /// Of each output.
    pub sizes: Vec<Size>,
}

impl Views {
    /// Of these outputs, with nothing in them yet.
    pub fn new(outputs: Vec<OutputShape>) -> Self {
        let views = outputs.iter().map(|_| View::default()).collect();
        let held = Held { views, ..Held::default() };
        let newest = watch::channel(None).0;
        Views(Arc::new(Shared { outputs, now: ArcSwap::from_pointee(held), newest }))
    }

    /// What fills them, in a run that resumes from this.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn fill(&self, history: History, resume: Option<&Resume>) -> anyhow::Result<Box<dyn publish::Views>> {
        Ok(Box::new(Publisher::new(self.clone(), history, resume)?))
    }

    /// The outputs, by their number.
    pub fn outputs(&self) -> &[OutputShape] {
        &self.0.outputs
    }

    /// Tells the newest epoch that can be asked for, whenever there is another one.
    pub fn newest(&self) -> watch::Receiver<Option<Epoch>> {
        self.0.newest.subscribe()
    }

    /// What can be asked for.
    ///
    /// # Errors
    /// [`NotHeld::NotYet`].
    pub fn extent(&self) -> Result<Extent, NotHeld> {
        let held = self.ready()?;
        let size = |(output, view): (usize, &View)| Size {
            rows: view.rows,
            bytes: held.bytes(output),
            since: view.since,
        };
        let (oldest, newest) = held.ends().ok_or(NotHeld::NotYet)?;
        Ok(Extent { oldest, newest, sizes: held.views.iter().enumerate().map(size).collect() })
    }

    /// The bytes of memory of each output's rows and of what the epochs held have changed of it.
    pub fn bytes(&self) -> Vec<usize> {
        let held = self.0.now.load();
        (0..held.views.len()).map(|output| held.bytes(output)).collect()
    }

    /// The rows of these outputs, by number, as of an epoch, or the newest.
    ///
    /// # Errors
    /// If that epoch is not held.
    pub fn snapshot(&self, outputs: &[usize], epoch: Option<Epoch>) -> Result<Snapshot, NotHeld> {
        let held = self.ready()?;
        let (oldest, newest) = held.ends().ok_or(NotHeld::NotYet)?;
        let published = match epoch {
            None => newest,
            Some(epoch) if epoch < oldest.epoch => return Err(NotHeld::Gone { oldest: oldest.epoch }),
            Some(epoch) if epoch > newest.epoch => return Err(NotHeld::Coming { newest: newest.epoch }),
            Some(epoch) => {
                let place = held.epochs.after(epoch).saturating_sub(1);
                Arc::clone(held.epochs.get(place).ok_or(NotHeld::NotYet)?)
            }
        };
        Ok(Snapshot { published, views: outputs.iter().map(|&output| held.views[output].clone()).collect() })
    }

    /// At most `limit` of the epochs after this one, which is held or just before the oldest.
    ///
    /// # Errors
    /// If their changes are not held, or that one is not published yet.
    pub fn changes_after(&self, epoch: Epoch, limit: usize) -> Result<Vec<Arc<Published>>, NotHeld> {
        let held = self.ready()?;
        let (oldest, newest) = held.ends().ok_or(NotHeld::NotYet)?;
        if epoch < held.changes_after {
            return Err(NotHeld::Gone { oldest: oldest.epoch });
        }
        if epoch > newest.epoch {
            return Err(NotHeld::Coming { newest: newest.epoch });
        }
        let first = held.epochs.after(epoch);
        Ok((first..held.epochs.len().min(first.saturating_add(limit)))
            .filter_map(|at| held.epochs.get(at).cloned())
            .collect())
    }

    /// Is the record at this offset in the newest epoch?
    pub fn has(&self, topic: &str, partition: i32, offset: i64) -> bool {
        let Ok(held) = self.ready() else { return false };
        held.next
            .get(topic)
            .and_then(|partitions| partitions.get(&partition))
            .is_some_and(|&next| next > offset)
    }

    fn ready(&self) -> Result<Arc<Held>, NotHeld> {
        let held = self.0.now.load_full();
        if held.ready { Ok(held) } else { Err(NotHeld::NotYet) }
    }
}

impl Held {
    /// Bytes of the runs of an output, and of what the epochs held have changed of it. A run that is not merged yet is what
    /// its epoch has changed.
    fn bytes(&self, output: usize) -> usize {
        let View { runs, changed, .. } = &self.views[output];
        let is_changes = |run: &Arc<Sorted>| {
            let place = run.first_epoch().map_or(0, |epoch| self.epochs.after(epoch));
            let published = place.checked_sub(1).and_then(|place| self.epochs.get(place));
            published.and_then(|epoch| epoch.changes.get(&output)).is_some_and(|of| Arc::ptr_eq(of, run))
        };
        changed + runs.iter().filter(|run| !is_changes(run)).map(|run| run.size()).sum::<usize>()
    }

    /// The oldest and the newest epoch.
    fn ends(&self) -> Option<(Arc<Published>, Arc<Published>)> {
        Some((Arc::clone(self.epochs.get(0)?), Arc::clone(self.epochs.newest()?)))
    }
}
