//! Offsets that are committed to the group so that Kafka's own tools show the lag: nothing else depends on them.
//!
//! A job that writes to Kafka commits its offsets in its transactions, each with a mark of epoch and job from which it resumes. A
//! run of the same group without such a sink must not write over those, so it looks before it commits. Nobody waits for either: a
//! thread of its own asks.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::super::Waker;
use super::ask::Asker;
use crate::fold::Folded;
use crate::kafka::client::Client;
use crate::kafka::mark::Mark;

/// How often offsets are committed.
const EVERY: Duration = Duration::from_secs(1);
/// How long the look before may take, while reading and at the end.
const LOOK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// How long the last commit may take. Nothing but the lag that others see depends on it, and `--stop-timeout` ends a run
/// that waits for it; a busy broker that meets a new group may take longer than a few seconds.
const LAST: Duration = Duration::from_secs(30);

type Offsets = BTreeMap<(String, i32), i64>;

/// The offsets of a feed that are to be committed.
pub(super) struct Commits {
    group: String,
    offsets: Offsets,
    /// Those for which an answer is awaited, and where it comes.
    sent: Option<(Offsets, Receiver<Result<Found>>)>,
    last: Instant,
    /// The group is another job's: nothing is committed to it.
    yielded: bool,
}

/// What a group has.
enum Found {
    /// Nothing that must stay: the offsets were committed.
    Committed,
    /// The marks of this job.
    Marks(String),
}

impl Commits {
    /// To this group.
    pub(super) fn new(group: &str) -> Self {
        let (offsets, last) = (Offsets::new(), Instant::now());
        Commits { group: group.to_owned(), offsets, sent: None, last, yielded: false }
    }

    /// All of a partition below `next` is published.
    pub(super) fn add(&mut self, partition: (String, i32), next: i64) {
        self.offsets.insert(partition, next);
    }

    /// Has them committed, unless that was done a moment ago.
    pub(super) fn poll(
        &mut self,
        consumer: &Arc<BaseConsumer<Client>>,
        asker: &Asker,
        waker: &Arc<OnceLock<Waker>>,
    ) {
        if self.offsets.is_empty() || self.yielded || self.last.elapsed() < EVERY {
            return;
        }
        if let Some((sent, answer)) = self.sent.take() {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => return self.sent = Some((sent, answer)),
                Ok(found) => self.take(found, sent),
                Err(TryRecvError::Disconnected) => {}
            }
        }
        if self.yielded {
            return;
        }
        self.last = Instant::now();
        let sent = std::mem::take(&mut self.offsets);
        let (consumer, offsets) = (Arc::clone(consumer), list(&sent));
        let answer = asker.ask(waker, move |_| commit(&consumer, &offsets, LOOK.0, CommitMode::Async));
        self.sent = Some((sent, answer));
    }

    /// Commits what is left, and waits for the answer, but not for ever: the broker may be away, and the run is over all the
    /// same.
    pub(super) fn finish(&mut self, consumer: &Arc<BaseConsumer<Client>>) {
        if let Some((sent, answer)) = self.sent.take() {
            match answer.recv_timeout(LOOK.0) {
                Ok(found) => self.take(found, sent),
                Err(_) => self.put_back(sent),
            }
        }
        if self.offsets.is_empty() || self.yielded {
            return;
        }
        let sent = std::mem::take(&mut self.offsets);
        let (consumer, offsets) = (Arc::clone(consumer), list(&sent));
        let (done, waiting) = bounded(1);
        std::thread::spawn(move || done.send(commit(&consumer, &offsets, LOOK.1, CommitMode::Sync)));
        match waiting.recv_timeout(LAST) {
            Ok(Ok(found)) => self.take(Ok(found), sent),
            Ok(Err(error)) => tracing::warn!("the last offsets were not committed to the group: {error:#}"),
            Err(_) => tracing::warn!("the last offsets were not committed to the group: no answer"),
        }
    }

    fn take(&mut self, found: Result<Found>, sent: Offsets) {
        match found {
            Ok(Found::Committed) => {}
            Ok(Found::Marks(job)) => {
                self.yielded = true;
                static MARKS: Folded = Folded::new("feeds that commit no offsets");
                MARKS.warn_always(|| {
                    format!(
                        "the group {:?} has the offsets from which {job} resumes, a job that writes to Kafka: this run \
                         commits none to it. Give it a group of its own with -X group.id=NAME to see its lag there",
                        self.group
                    )
                });
            }
            Err(error) => {
                tracing::debug!("committing offsets: {error:#}");
                self.put_back(sent);
            }
        }
    }

    /// They were not committed. What has come since is further on.
    fn put_back(&mut self, sent: Offsets) {
        for (partition, next) in sent {
            self.offsets.entry(partition).or_insert(next);
        }
    }
}

fn list(offsets: &Offsets) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), next) in offsets {
        // Fails for offsets below zero only.
        let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*next));
    }
    list
}

/// Commits offsets, where the group has none of these partitions from which a job resumes.
fn commit(
    consumer: &BaseConsumer<Client>,
    offsets: &TopicPartitionList,
    look: Duration,
    mode: CommitMode,
) -> Result<Found> {
    let there = consumer.committed_offsets(offsets.clone(), look).context("asking what the group has")?;
    let marks = there.elements().into_iter().filter_map(|of| Mark::read(of.metadata()));
    if let Some(mark) = marks.into_iter().find(Mark::is_kept) {
        return Ok(Found::Marks(mark.job));
    }
    consumer.commit(offsets, mode).context("committing offsets")?;
    Ok(Found::Committed)
}
