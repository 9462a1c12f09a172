//! Feeds: where records come from. Kafka is one; [`seeded`] is another, made for tests.

pub mod kafka;
pub mod seeded;

use std::sync::Arc;

use anyhow::Result;
use cutwater_dataflows::record::Record;
use cutwater_dataflows::source::Moved;

use crate::state::cut::Topics;

/// Opens the feeds of a job: one for each input on each worker.
pub trait Feeds: Send + Sync {
    /// The feed of `input` for one worker. With `begin`, partitions that are named there are read from the offsets
    /// there, and those that are not are new: they join at the first boundary at which the feed is not bounded, from
    /// their first offset.
    ///
    /// # Errors
    /// If it can't be opened. Called before the dataflow is built, so that no worker builds half a graph.
    fn open(&self, input: &str, place: Place, begin: Option<&Topics>) -> Result<Box<dyn Feed>>;
}

/// Which worker of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The worker's index, over all processes.
    pub worker: usize,
    /// The number of workers, over all processes.
    pub workers: usize,
}

impl Place {
    /// True iff the worker owns the partition: `(offset + partition) mod workers` is its index, where the
    /// offset comes from the topic's name, so that many small topics spread.
    pub fn owns(self, topic: &str, partition: i32) -> bool {
        let offset = xxhash_rust::xxh3::xxh3_64(topic.as_bytes()) % self.workers as u64;
        (offset + u64::from(partition.unsigned_abs())) % self.workers as u64 == self.worker as u64
    }
}

/// How much a poll may hand over. Both bounds are on what is handed over before the next record is looked at,
/// so the last record may exceed them.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Records. None: the feed holds its partitions and serves only what else it has to.
    pub records: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
}

/// How a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// The budget is used up, if only by gaps; there may be more.
    More,
    /// Nothing is there. The waker will be called when something is.
    Waiting,
    /// All that was to be read has been read.
    Ended,
}

/// Takes a record that is handed over.
pub type Each<'a> = dyn FnMut(&Record<'_>) -> Took + 'a;

/// What became of a record that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// It was read.
    Yes,
    /// It can't be read yet: it, and those after it in its partition, are to come later.
    NotYet,
}

/// Called by a feed, from any thread, when a poll would find something.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The records of one input for one worker.
///
/// A feed knows, for each of its partitions, the offset after the last record that it handed over (or knows to
/// be a gap): that is the worker's part of the cut.
pub trait Feed {
    /// Says whom to call when records come.
    fn wake(&mut self, waker: Waker);

    /// Hands over records, of each partition in order, until the budget is used up or nothing is there. One that is not
    /// taken was not read, and comes first of its partition in the next call.
    ///
    /// # Errors
    /// What ends the run: it names topic, partition and what to do.
    fn poll(&mut self, budget: Budget, each: &mut Each<'_>) -> Result<Polled>;

    /// Until the next call, each partition that is named is read up to that offset and no further, and those that are
    /// not named stay where they are; [`Polled::Ended`] says that all named ones of this worker have arrived. A gap
    /// before the offset counts as read. Those that are named count as moved. With `None`, which is how a feed begins,
    /// nothing bounds it. Called at epoch boundaries only.
    ///
    /// # Errors
    /// If a partition that is named is not read, or ends before that offset.
    fn bound(&mut self, stops: Option<Topics>) -> Result<()>;

    /// The partitions whose next offset moved since the last call, in order.
    fn moved(&mut self) -> Vec<Moved>;

    /// Tells the partitions of which more may be there than was handed over: these are not idle, whatever they wait for.
    fn behind(&self, each: &mut dyn FnMut(&str, i32));

    /// An epoch boundary: partitions that were found since the last one join.
    ///
    /// # Errors
    /// If they can't be read.
    fn boundary(&mut self) -> Result<()>;

    /// All epochs up to one in which these partitions moved are published. `last` is set on the last call, after
    /// which the feed is dropped.
    fn published(&mut self, moved: &[Moved], last: bool);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_one_owner_and_small_topics_spread() {
        let mut first = [0; 3];
        for topic in 0..300 {
            let topic = format!("topic-{topic}");
            for partition in 0..7 {
                let owners: Vec<_> =
                    (0..3).filter(|&worker| Place { worker, workers: 3 }.owns(&topic, partition)).collect();
                assert_eq!(owners.len(), 1);
                if partition == 0 {
                    first[owners[0]] += 1;
                }
            }
        }
        assert!(first.iter().all(|&owned| owned > 60), "partition 0 of small topics spreads: {first:?}");
    }
}
