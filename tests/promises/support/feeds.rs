//! Feeds of Kafka topics, driven by hand: all workers' feeds in one thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use cutwater::fault::Fault;
use cutwater::feed::kafka::{From, KafkaFeeds, OnDataLoss, Reading};
use cutwater::feed::{Budget, Feed, Feeds, Place, Polled, Took};
use cutwater::kafka::client::{Fetch, Settings};
use cutwater::kafka::topics::Pattern;
use cutwater::state::cut::Topics;
use cutwater_dataflows::record::Record;
use cutwater_dataflows::source::Moved;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::kafka::Topic;
use super::program::fetch;
use super::{DEADLINE, unique};

/// What is read, and how.
pub struct Reader<'a> {
    pub topics: Vec<&'a Topic>,
    pub workers: usize,
    pub reading: Reading,
    pub fetch: Fetch,
}

/// Offsets, by topic and partition.
pub type Offsets = BTreeMap<(String, i32), Vec<i64>>;

impl<'a> Reader<'a> {
    /// Reads topics of one cluster from the start to the ends of now.
    pub fn of(topics: &[&'a Topic], workers: usize) -> Reader<'a> {
        let reading = Reading {
            from: From::Earliest,
            until_end: true,
            on_data_loss: OnDataLoss::Fail,
            group: unique(),
            commits: false,
        };
        Reader { topics: topics.to_vec(), workers, reading, fetch: fetch() }
    }

    /// Opens the feeds of all workers.
    pub fn open(&self, begin: Option<&Topics>) -> Result<Opened> {
        let brokers = self.topics[0].address.clone();
        let settings =
            Settings { brokers, connect_timeout: DEADLINE, fetch: self.fetch, ..Settings::default() };
        let patterns = self.topics.iter().map(|topic| Pattern::Name(topic.name.clone())).collect();
        let inputs = BTreeMap::from([("lines".to_owned(), patterns)]);
        let feeds =
            KafkaFeeds::connect(settings, self.reading.clone(), inputs, Vec::new(), &Fault::default())?;
        let open = |worker| -> Result<(Box<dyn Feed>, Receiver<()>)> {
            let mut feed = feeds.open("lines", Place { worker, workers: self.workers }, begin)?;
            let (wake, awake) = channel();
            let wake = std::sync::Mutex::new(wake);
            feed.wake(Arc::new(move || {
                // Fails when the test is over.
                let _ = wake.lock().expect("no waker panics").send(());
            }));
            Ok((feed, awake))
        };
        let feeds = (0..self.workers).map(open).collect::<Result<_>>()?;
        Ok(Opened { feeds, rng: StdRng::seed_from_u64(self.workers as u64) })
    }
}

/// The feeds of all workers.
pub struct Opened {
    feeds: Vec<(Box<dyn Feed>, Receiver<()>)>,
    rng: StdRng,
}

impl Opened {
    /// Reads until all feeds say that they have ended. Returns the offsets of what they handed over.
    pub fn read(&mut self) -> Result<Offsets> {
        let mut offsets = Offsets::new();
        self.read_each(&mut |record| {
            let of = offsets.entry((record.topic.to_owned(), record.partition)).or_default();
            of.push(record.offset);
        })?;
        Ok(offsets)
    }

    /// Reads until all feeds say that they have ended, and gives what they hand over to `each`.
    pub fn read_each(&mut self, each: &mut dyn FnMut(&Record<'_>)) -> Result<()> {
        for (feed, awake) in &mut self.feeds {
            loop {
                let records = self.rng.random_range(1..5000);
                let polled = feed.poll(Budget { records, bytes: usize::MAX }, &mut |record| {
                    each(record);
                    Took::Yes
                })?;
                match polled {
                    Polled::Ended => break,
                    Polled::More => {}
                    Polled::Waiting => {
                        awake.recv_timeout(DEADLINE).expect("the feed has its reader woken");
                        // Partitions that were asked about join, unless the feed is bounded.
                        feed.boundary()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads an epoch of a ledger.
    pub fn read_to(&mut self, stops: &Topics) -> Result<Offsets> {
        self.feeds.iter_mut().try_for_each(|(feed, _)| feed.bound(Some(stops.clone())))?;
        self.read()
    }

    /// There is nothing more in the ledger.
    pub fn unbound(&mut self) -> Result<()> {
        self.feeds.iter_mut().try_for_each(|(feed, _)| {
            feed.bound(None)?;
            feed.boundary()
        })
    }

    /// Waits until partitions that the ledger does not know have joined. Returns where reading of them begins.
    pub fn joined(&mut self, partitions: usize) -> Result<Topics> {
        let deadline = Instant::now() + DEADLINE;
        let mut joined = Topics::new();
        while joined.values().map(BTreeMap::len).sum::<usize>() < partitions {
            assert!(Instant::now() < deadline, "these have joined, and no others: {joined:?}");
            self.feeds.iter_mut().try_for_each(|(feed, _)| feed.boundary())?;
            for (topic, partitions) in starts(&self.moved()) {
                joined.entry(topic).or_default().extend(partitions);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(joined)
    }

    /// What has moved, of all workers.
    pub fn moved(&mut self) -> Vec<Moved> {
        let mut moved: Vec<Moved> = self.feeds.iter_mut().flat_map(|(feed, _)| feed.moved()).collect();
        moved.sort();
        moved
    }

    /// All that has moved is published, and the feeds are at their end.
    pub fn finish(mut self, moved: &[Moved]) {
        for (feed, _) in &mut self.feeds {
            feed.published(moved, true);
        }
    }
}

/// Where partitions stand, of what has moved.
pub fn cut(moved: &[Moved]) -> Topics {
    let mut cut = Topics::new();
    for Moved { topic, partition, next, .. } in moved {
        cut.entry(topic.clone()).or_default().insert(*partition, *next);
    }
    cut
}

/// Where reading of partitions began, of what has moved.
pub fn starts(moved: &[Moved]) -> Topics {
    let mut starts = Topics::new();
    for Moved { topic, partition, start, .. } in moved {
        if let Some(start) = start {
            starts.entry(topic.clone()).or_default().insert(*partition, *start);
        }
    }
    starts
}

/// A ledger of cuts at random places between the starts and the ends of partitions: some partitions stand still for
/// long, some have all of their records in few epochs.
pub fn random_ledger(seed: u64, starts: &Topics, ends: &Topics, epochs: usize) -> Vec<Topics> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut at = starts.clone();
    let mut ledger = Vec::new();
    for _ in 0..epochs {
        let mut entry = Topics::new();
        for (topic, partitions) in &mut at {
            for (partition, next) in partitions {
                if rng.random_bool(0.6) {
                    let left = ends[topic][partition] - *next;
                    *next += rng.random_range(0..=left.min(1 + 2 * left / epochs as i64));
                    entry.entry(topic.clone()).or_default().insert(*partition, *next);
                }
            }
        }
        ledger.push(entry);
    }
    ledger
}

/// Reads the epochs of a ledger, and what comes after it, by feeds that begin at `begin`; checks that each hands over
/// the records between its cuts and moves to them exactly. `all`: the records that are there.
pub fn check_ledger(opened: &mut Opened, begin: &Topics, ledger: &[Topics], all: &Offsets) {
    let mut at = begin.clone();
    let mut expect = |stops: &Topics| {
        let mut expected = Offsets::new();
        for (topic, partitions) in stops {
            for (&partition, &stop) in partitions {
                let next = at.entry(topic.clone()).or_default().entry(partition).or_default();
                let key = (topic.clone(), partition);
                let there = all.get(&key).into_iter().flatten().copied();
                let read: Vec<i64> = there.filter(|offset| (*next..stop).contains(offset)).collect();
                if !read.is_empty() {
                    expected.insert(key, read);
                }
                *next = stop;
            }
        }
        expected
    };
    for (index, stops) in ledger.iter().enumerate() {
        let read = opened.read_to(stops).expect("the epoch is there");
        assert!(read == expect(stops), "epoch {index}: the records between its cuts, in order");
        let moved = opened.moved();
        assert_eq!(cut(&moved), *stops, "epoch {index}: the cut is met to the offset");
        assert!(starts(&moved).is_empty(), "where reading began was known");
    }
    opened.unbound().expect("the ledger is over");
    let read = opened.read().expect("the rest is there");
    let end = cut(&opened.moved());
    assert!(read == expect(&end), "the rest, in order");
    for ((topic, partition), offsets) in all {
        assert!(Some(&at[topic][partition]) > offsets.last(), "{topic} {partition} is read to its end");
    }
}
