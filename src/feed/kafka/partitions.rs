//! One worker's partitions: read by `assign`, each from the next offset to its stop.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::record::Record;
use cutwater_dataflows::source::Moved;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;

use super::super::{Budget, Feed, Place, Polled, Waker};
use super::batch::{Batches, Event};
use super::discovery::Found;
use super::{From, OnDataLoss, REQUEST, Reading};
use crate::kafka::client::{Client, Settings};
use crate::kafka::topics::Pattern;
use crate::state::cut::Topics;

/// How long the last commit may take. Nothing but the lag that others see depends on it.
const LAST_COMMIT: Duration = Duration::from_secs(5);
/// How often offsets are committed.
const COMMIT: Duration = Duration::from_secs(1);
/// How long requests made while reading may take: meanwhile the worker does nothing else.
const LATER: Duration = Duration::from_secs(2);
/// How long after such a request has failed the next one may be made.
const RETRY: Duration = Duration::from_millis(500);
/// Messages in one call to librdkafka.
const BATCH: usize = 1024;

/// One worker's partitions of one input.
pub(super) struct KafkaFeed {
    settings: Settings,
    reading: Reading,
    patterns: Vec<Pattern>,
    place: Place,
    found: Arc<Found>,
    /// The state of `found` that this feed has seen.
    changes: u64,
    /// When partitions that were found may be asked about, after it has failed.
    retry: Option<Instant>,
    /// Whom the client calls; known once the operator is built.
    waker: Arc<OnceLock<Waker>>,
    /// Made when the first partition joins: a worker without partitions has no client.
    client: Option<Batches<Client>>,
    partitions: Vec<Partition>,
    slots: HashMap<(String, i32), usize>,
    /// The slot of the last record: the next one is most likely of the same partition.
    last: usize,
    /// True while the partitions are paused.
    held: bool,
    uncommitted: BTreeMap<(String, i32), i64>,
    committed: Instant,
}

struct Partition {
    topic: String,
    partition: i32,
    /// The offset after the last record handed over, or after the last gap.
    next: i64,
    /// Where to stop.
    stop: Option<i64>,
    /// The end, as heard when the feed was opened.
    end: i64,
    moved: bool,
}

impl Partition {
    fn done(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }

    fn advance(&mut self, next: i64) {
        if next > self.next {
            self.next = next;
            self.moved = true;
        }
    }
}

impl KafkaFeed {
    /// The feed of the worker at `place`.
    ///
    /// # Errors
    /// If the offsets to start at can't be had.
    pub(super) fn open(
        settings: Settings,
        reading: Reading,
        patterns: Vec<Pattern>,
        place: Place,
        found: Arc<Found>,
    ) -> Result<Self> {
        let (from, changes) = (reading.from, found.changes());
        let mut feed = KafkaFeed {
            settings,
            reading,
            patterns,
            place,
            found,
            changes,
            retry: None,
            waker: Arc::default(),
            client: None,
            partitions: Vec::new(),
            slots: HashMap::new(),
            last: 0,
            held: false,
            uncommitted: BTreeMap::new(),
            committed: Instant::now(),
        };
        feed.join(from, REQUEST)?;
        Ok(feed)
    }

    /// Takes on the partitions that are this worker's and not yet read.
    fn join(&mut self, from: From, timeout: Duration) -> Result<()> {
        let topics = self.found.topics();
        let new: Vec<(String, i32)> = topics
            .iter()
            .filter(|(topic, _)| self.patterns.iter().any(|pattern| pattern.matches(topic)))
            .flat_map(|(topic, partitions)| (0..*partitions).map(move |partition| (topic.clone(), partition)))
            .filter(|(topic, partition)| {
                self.place.owns(topic, *partition) && !self.slots.contains_key(&(topic.clone(), *partition))
            })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        if self.client.is_none() {
            let mut consumer = self.settings.consumer(&self.reading.group)?;
            let waker = Arc::clone(&self.waker);
            consumer.set_nonempty_callback(move || {
                if let Some(wake) = waker.get() {
                    wake();
                }
            });
            self.client = Some(Batches::new(Arc::new(consumer), BATCH));
        }
        let starts = self.starts(from, &new, timeout)?;
        for ((topic, partition), (start, end)) in new.into_iter().zip(starts) {
            tracing::debug!("worker {}: {topic} partition {partition} from {start}", self.place.worker);
            self.slots.insert((topic.clone(), partition), self.partitions.len());
            let stop = self.reading.until_end.then_some(end);
            self.partitions.push(Partition { topic, partition, next: start, stop, end, moved: true });
        }
        self.assign()
    }

    fn consumer(&self) -> &Arc<BaseConsumer<Client>> {
        self.client.as_ref().expect("a feed with partitions has a client").consumer()
    }

    /// For each partition, where to start and where the end is now.
    fn starts(&self, from: From, partitions: &[(String, i32)], timeout: Duration) -> Result<Vec<(i64, i64)>> {
        let consumer = self.consumer();
        // What this client knows of a topic may be older than the partition.
        for (topic, _) in partitions.chunk_by(|a, b| a.0 == b.0).map(|same| &same[0]) {
            consumer
                .fetch_metadata(Some(topic), timeout)
                .with_context(|| format!("asking for the partitions of {topic}"))?;
        }
        let named = |offset: Offset| -> Result<TopicPartitionList> {
            let mut list = TopicPartitionList::new();
            for (topic, partition) in partitions {
                list.add_partition_offset(topic, *partition, offset)?;
            }
            Ok(list)
        };
        let asked = match from {
            From::Timestamp(ms) => Some(
                consumer
                    .offsets_for_times(named(Offset::Offset(ms))?, timeout)
                    .context("asking for the offsets of a time")?,
            ),
            From::Committed => Some(
                consumer
                    .committed_offsets(named(Offset::Invalid)?, timeout)
                    .with_context(|| format!("asking for the offsets of group {:?}", self.reading.group))?,
            ),
            From::Earliest | From::Latest | From::Offset(_) => None,
        };
        let answered =
            |topic: &str, partition| match asked.as_ref()?.find_partition(topic, partition)?.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
        partitions
            .iter()
            .map(|(topic, partition)| {
                let (first, end) = consumer
                    .fetch_watermarks(topic, *partition, timeout)
                    .with_context(|| format!("asking for the offsets of {topic} partition {partition}"))?;
                let wanted = match from {
                    From::Earliest => first,
                    From::Latest => end,
                    // No record is that young: the end.
                    From::Timestamp(_) => answered(topic, *partition).unwrap_or(end),
                    From::Committed => answered(topic, *partition).unwrap_or(first),
                    From::Offset(offset) => offset,
                };
                Ok((self.available(topic, *partition, wanted, first, end)?, end))
            })
            .collect()
    }

    /// The offset to read from, if `wanted` is there; else what --on-data-loss says.
    fn available(&self, topic: &str, partition: i32, wanted: i64, first: i64, end: i64) -> Result<i64> {
        if wanted > end {
            bail!(
                "{topic} partition {partition}: offset {wanted} was wanted, but the partition ends at {end} and \
                 begins at {first}; was the topic made anew?"
            );
        }
        if wanted >= first {
            return Ok(wanted);
        }
        match self.reading.on_data_loss {
            OnDataLoss::Fail => bail!(
                "{topic} partition {partition}: offset {wanted} was wanted, but the first available is {first}: {} \
                 records have expired; --on-data-loss continue goes on without them",
                first - wanted
            ),
            OnDataLoss::Continue => {
                tracing::warn!(
                    "{topic} partition {partition}: {} records have expired; going on at offset {first} instead of {wanted}",
                    first - wanted
                );
                Ok(first)
            }
        }
    }

    /// Has librdkafka fetch all partitions that are not done, each from its next offset.
    fn assign(&mut self) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for partition in self.partitions.iter().filter(|partition| !partition.done()) {
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(partition.next))?;
        }
        self.consumer().assign(&list).context("assigning partitions")?;
        self.held = false;
        Ok(())
    }

    /// Pauses or resumes all partitions.
    fn hold(&mut self, hold: bool) -> Result<()> {
        if self.held == hold {
            return Ok(());
        }
        self.held = hold;
        let Some(client) = &self.client else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for partition in self.partitions.iter().filter(|partition| !partition.done()) {
            list.add_partition(&partition.topic, partition.partition);
        }
        if hold {
            tracing::debug!("worker {}: output is slow, pausing", self.place.worker);
            client.consumer().pause(&list).context("pausing partitions")
        } else {
            client.consumer().resume(&list).context("resuming partitions")
        }
    }

    /// The wanted offset of a partition is gone, or an error of the partition ends the run.
    fn trouble(&mut self, trouble: Trouble) -> Result<()> {
        let Trouble { topic, partition, code, text } = trouble;
        let Some(&slot) = self.slots.get(&(topic.clone(), partition)) else {
            // Of the whole client; unreachable brokers are told by its log.
            tracing::debug!("consumer error: {text} ({code})");
            return Ok(());
        };
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let (first, end) = match self.consumer().fetch_watermarks(&topic, partition, LATER) {
                    Ok(offsets) => offsets,
                    Err(error) => {
                        // The broker is away. Assigned anew, the partition gives the same error when it is back.
                        tracing::debug!("asking for the offsets of {topic} partition {partition}: {error}");
                        return self.assign();
                    }
                };
                let wanted = self.partitions[slot].next;
                let start = self.available(&topic, partition, wanted, first, end)?;
                self.partitions[slot].advance(start);
                self.assign()
            }
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => {
                bail!("{topic} partition {partition} is gone: {text}; was the topic deleted?")
            }
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed => {
                bail!("{topic} partition {partition}: {text}; may this user read it?")
            }
            code => {
                // librdkafka tries again by itself.
                tracing::warn!("{topic} partition {partition}: {text} ({code}); trying again");
                Ok(())
            }
        }
    }
}

impl KafkaFeed {
    /// Commits the offsets of what is published, unless that was done a moment ago.
    fn commit(&mut self) {
        if self.uncommitted.is_empty() || self.committed.elapsed() < COMMIT {
            return;
        }
        self.committed = Instant::now();
        let list = self.take_uncommitted();
        if let Err(error) = self.consumer().commit(&list, CommitMode::Async) {
            tracing::debug!("committing offsets: {error}");
        }
    }

    /// Commits what is left, and waits for the answer, but not forever: the broker may be away, and the run is
    /// over all the same.
    fn commit_last(&mut self) {
        if self.uncommitted.is_empty() {
            return;
        }
        let list = self.take_uncommitted();
        let consumer = Arc::clone(self.consumer());
        let (done, waiting) = crossbeam_channel::bounded(1);
        std::thread::spawn(move || done.send(consumer.commit(&list, CommitMode::Sync)));
        match waiting.recv_timeout(LAST_COMMIT) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the last offsets were not committed to the group: {error}"),
            Err(_) => tracing::warn!("the last offsets were not committed to the group: no answer"),
        }
    }

    fn take_uncommitted(&mut self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), next) in std::mem::take(&mut self.uncommitted) {
            // Fails for offsets below zero only.
            let _ = list.add_partition_offset(&topic, partition, Offset::Offset(next));
        }
        list
    }
}

/// An error that a batch held; handled after the batch.
struct Trouble {
    topic: String,
    partition: i32,
    code: RDKafkaErrorCode,
    text: String,
}

impl Feed for KafkaFeed {
    fn wake(&mut self, waker: Waker) {
        self.found.wake(Arc::clone(&waker));
        // Records that come before this call need no waker: an operator runs once by itself.
        let _ = self.waker.set(waker);
    }

    fn poll(&mut self, budget: Budget, each: &mut dyn FnMut(&Record<'_>)) -> Result<Polled> {
        if self.reading.until_end && self.partitions.iter().all(Partition::done) {
            return Ok(Polled::Ended);
        }
        if self.client.is_none() {
            return Ok(Polled::Waiting);
        }
        self.commit();
        self.hold(budget.records == 0)?;
        let mut left = Budget { records: budget.records.max(1), ..budget };
        loop {
            let client = self.client.as_mut().expect("checked above");
            let (slots, partitions, last) = (&self.slots, &mut self.partitions, &mut self.last);
            let mut troubles = Vec::new();
            let mut bytes = 0;
            let most = left.records.min(BATCH);
            let read = client.poll(most, &mut |event| match event {
                Event::Record(record) => {
                    let Some(partition) = find(slots, partitions, last, record.topic, record.partition)
                    else {
                        return;
                    };
                    // What lies past the stop is not ours, and what lies before the next offset we have had.
                    if let Some(stop) = partition.stop
                        && record.offset >= stop
                    {
                        partition.advance(stop);
                        return;
                    }
                    if record.offset < partition.next {
                        return;
                    }
                    each(&record);
                    bytes += record.size();
                    partition.advance(record.offset + 1);
                }
                Event::End { topic, partition, offset } => {
                    if let Some(partition) = find(slots, partitions, last, topic, partition) {
                        let stop = partition.stop.unwrap_or(offset);
                        partition.advance(offset.min(stop));
                    }
                }
                Event::Error { topic, partition, code, text } => {
                    troubles.push(Trouble { topic: topic.to_owned(), partition, code, text });
                }
            });
            for trouble in troubles {
                self.trouble(trouble)?;
            }
            if read > 0 {
                self.consumer().context().answered();
            }
            if self.reading.until_end && self.partitions.iter().all(Partition::done) {
                return Ok(Polled::Ended);
            }
            if read < most {
                return Ok(Polled::Waiting);
            }
            left.records = left.records.saturating_sub(read);
            left.bytes = left.bytes.saturating_sub(bytes);
            if left.records == 0 || left.bytes == 0 {
                return Ok(Polled::More);
            }
        }
    }

    fn bound(&mut self, _stops: Option<Topics>) {}

    fn moved(&mut self) -> Vec<Moved> {
        let client = &self.client;
        let mut moved: Vec<Moved> = self
            .partitions
            .iter_mut()
            .filter(|p| p.moved)
            .map(|p| {
                p.moved = false;
                let known = client.as_ref().and_then(|client| client.known_end(&p.topic, p.partition));
                p.end = known.unwrap_or(p.end).max(p.next);
                Moved {
                    topic: p.topic.clone(),
                    partition: p.partition,
                    start: None,
                    next: p.next,
                    end: p.end,
                }
            })
            .collect();
        moved.sort();
        moved
    }

    fn boundary(&mut self) -> Result<()> {
        let changes = self.found.changes();
        if changes == self.changes || self.retry.is_some_and(|retry| Instant::now() < retry) {
            return Ok(());
        }
        let before = self.partitions.len();
        match self.join(From::Earliest, LATER) {
            Ok(()) => (self.changes, self.retry) = (changes, None),
            // Brokers learn of a partition one after the other, and it has no leader at first; or they are away.
            Err(error) if error.is::<KafkaError>() => {
                tracing::debug!("worker {}: {error:#}; trying again", self.place.worker);
                self.retry = Some(Instant::now() + RETRY);
            }
            Err(error) => return Err(error),
        }
        if self.partitions.len() > before {
            tracing::info!("worker {}: {} new partitions", self.place.worker, self.partitions.len() - before);
        }
        Ok(())
    }

    fn published(&mut self, moved: &[Moved], last: bool) {
        if !self.reading.commits {
            return;
        }
        for Moved { topic, partition, next, .. } in moved {
            self.uncommitted.insert((topic.clone(), *partition), *next);
        }
        if last {
            self.commit_last();
        }
    }
}

fn find<'a>(
    slots: &HashMap<(String, i32), usize>,
    partitions: &'a mut [Partition],
    last: &mut usize,
    topic: &str,
    partition: i32,
) -> Option<&'a mut Partition> {
    let same = |p: &Partition| p.partition == partition && p.topic == topic;
    if !partitions.get(*last).is_some_and(same) {
        *last = *slots.get(&(topic.to_owned(), partition))?;
    }
    partitions.get_mut(*last)
}
