//! The Kafka feed: partitions by `assign`, read in batches, from and to offsets that are known before.

mod batch;
pub mod client;
pub mod topics;

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::record::Record;
use cutwater_dataflows::source::Moved;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;

use super::{Budget, Feed, Feeds, Place, Polled, Waker};
use crate::fault::Fault;
use batch::{Batches, Event};
use client::{Client, Settings};
use topics::{Pattern, Topic};

/// Where to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the first record there is.
    Earliest,
    /// After the last record there is.
    Latest,
    /// Where the consumer group stands; at the first record where it stands nowhere.
    Committed,
    /// At the first record of this time (milliseconds since the Unix epoch) or later.
    Timestamp(i64),
    /// At this offset, in every partition.
    Offset(i64),
}

impl FromStr for From {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| match digits.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(number),
            _ => Err(format!("{digits:?} is not a whole number of 0 or more")),
        };
        match text.split_once(':') {
            None if text == "earliest" => Ok(From::Earliest),
            None if text == "latest" => Ok(From::Latest),
            None if text == "committed" => Ok(From::Committed),
            Some(("timestamp", ms)) => number(ms).map(From::Timestamp),
            Some(("offset", n)) => number(n).map(From::Offset),
            _ => Err("expected earliest, latest, committed, timestamp:MS or offset:N".to_owned()),
        }
    }
}

/// What to do about records that the topic no longer has.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDataLoss {
    /// End with an error that names the partition, the wanted and the first available offset
    Fail,
    /// Go on at the first available offset, with a warning that says how many are missing
    Continue,
}

/// What is to be read, and how.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Where to start.
    pub from: From,
    /// End at the offsets that are the end when the feed is opened.
    pub until_end: bool,
    /// What to do about records that are gone.
    pub on_data_loss: OnDataLoss,
    /// The consumer group to which offsets are committed, for Kafka's own tools to show the lag.
    pub group: String,
}

/// The feeds of a job: topics of a cluster, by input.
pub struct KafkaFeeds {
    settings: Settings,
    reading: Reading,
    inputs: BTreeMap<String, Vec<Pattern>>,
    found: Arc<Found>,
    refresher: Option<JoinHandle<()>>,
}

/// How often to look for new partitions and topics.
const REFRESH: Duration = Duration::from_secs(2);
/// How long a request for offsets may take.
const REQUEST: Duration = Duration::from_secs(30);
/// How long the last commit may take. Nothing but the lag that others see depends on it.
const LAST_COMMIT: Duration = Duration::from_secs(5);
/// How often offsets are committed.
const COMMIT: Duration = Duration::from_secs(1);
/// Messages in one call to librdkafka.
const BATCH: usize = 1024;

/// What is known of the cluster's topics, kept up to date by a thread.
struct Found {
    topics: Mutex<Vec<Topic>>,
    /// Counts changes of `topics`.
    changes: AtomicU64,
    wakers: Mutex<Vec<Waker>>,
    ended: AtomicBool,
    end: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KafkaFeeds {
    /// Connects, finds the topics of every input, and keeps looking for new partitions.
    ///
    /// # Errors
    /// If no broker answers in time, or a topic is missing.
    pub fn connect(
        settings: Settings,
        reading: Reading,
        inputs: BTreeMap<String, Vec<Pattern>>,
        fault: &Fault,
    ) -> Result<Self> {
        let client = settings.metadata()?;
        topics::connect(&client, &settings)?;
        let patterns: Vec<&Pattern> = inputs.values().flatten().collect();
        let topics = topics::find(&client, &patterns)?;
        for (input, patterns) in &inputs {
            for pattern in patterns {
                let partitions: i32 =
                    topics.iter().filter(|(topic, _)| pattern.matches(topic)).map(|(_, partitions)| partitions).sum();
                match pattern {
                    Pattern::Regex(regex) if partitions == 0 => {
                        tracing::warn!("input {input}: no topic matches {regex} yet; looking for new ones");
                    }
                    Pattern::Regex(regex) => tracing::info!("input {input}: {regex}, {partitions} partitions"),
                    Pattern::Name(name) => tracing::info!("input {input}: topic {name}, {partitions} partitions"),
                }
            }
        }
        let found = Arc::new(Found {
            topics: Mutex::new(topics),
            changes: AtomicU64::new(0),
            wakers: Mutex::default(),
            ended: AtomicBool::new(false),
            end: Condvar::new(),
        });
        // A bounded run reads what is there now; nothing that comes later concerns it.
        let refresher = (!reading.until_end)
            .then(|| {
                let (found, fault) = (Arc::clone(&found), fault.clone());
                let patterns: Vec<Pattern> = inputs.values().flatten().cloned().collect();
                std::thread::Builder::new()
                    .name("cutwater:topics".into())
                    .spawn(move || refresh(&client, &patterns, &found, &fault))
            })
            .transpose()?;
        Ok(KafkaFeeds { settings, reading, inputs, found, refresher })
    }
}

impl Drop for KafkaFeeds {
    fn drop(&mut self) {
        self.found.ended.store(true, Ordering::Relaxed);
        self.found.end.notify_all();
        if let Some(refresher) = self.refresher.take() {
            // A panic there has been reported by its own thread.
            let _ = refresher.join();
        }
    }
}

/// Looks for new topics and partitions until the feeds are dropped.
fn refresh(client: &BaseConsumer<Client>, patterns: &[Pattern], found: &Found, fault: &Fault) {
    let patterns: Vec<&Pattern> = patterns.iter().collect();
    let mut missing_since = None;
    loop {
        let topics = lock(&found.topics);
        let (topics, _) = found.end.wait_timeout(topics, REFRESH).unwrap_or_else(PoisonError::into_inner);
        drop(topics);
        if found.ended.load(Ordering::Relaxed) {
            return;
        }
        match topics::find(client, &patterns) {
            Ok(now) => {
                missing_since = None;
                let mut topics = lock(&found.topics);
                // Partitions never go; a shorter list is a broker that has yet to learn of them.
                let more = now.iter().any(|(topic, partitions)| {
                    topics.iter().find(|(known, _)| known == topic).is_none_or(|(_, known)| partitions > known)
                });
                if more {
                    *topics = now;
                    drop(topics);
                    found.changes.fetch_add(1, Ordering::Release);
                    lock(&found.wakers).iter().for_each(|wake| wake());
                }
            }
            // The broker is away: its client says so, and goes on trying.
            Err(error) if error.is::<rdkafka::error::KafkaError>() => {}
            Err(error) => {
                // A broker that has just come up may not know its topics yet.
                let since = *missing_since.get_or_insert_with(Instant::now);
                if since.elapsed() > REQUEST {
                    fault.raise(error.context("while reading"));
                    return;
                }
            }
        }
    }
}

impl Feeds for KafkaFeeds {
    fn open(&self, input: &str, place: Place) -> Result<Box<dyn Feed>> {
        let patterns = self.inputs.get(input).with_context(|| format!("input {input:?} is bound to no topic"))?;
        let mut feed = KafkaFeed {
            settings: self.settings.clone(),
            reading: self.reading.clone(),
            patterns: patterns.clone(),
            place,
            found: Arc::clone(&self.found),
            changes: self.found.changes.load(Ordering::Acquire),
            waker: Arc::default(),
            client: None,
            partitions: Vec::new(),
            slots: HashMap::new(),
            last: 0,
            held: false,
            uncommitted: BTreeMap::new(),
            committed: Instant::now(),
        };
        let from = feed.reading.from;
        feed.join(from)?;
        Ok(Box::new(feed))
    }
}

/// One worker's partitions of one input.
struct KafkaFeed {
    settings: Settings,
    reading: Reading,
    patterns: Vec<Pattern>,
    place: Place,
    found: Arc<Found>,
    /// The state of `found` that this feed has seen.
    changes: u64,
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
    /// Takes on the partitions that are this worker's and not yet read.
    fn join(&mut self, from: From) -> Result<()> {
        let topics = lock(&self.found.topics).clone();
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
        let starts = self.starts(from, &new)?;
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
    fn starts(&self, from: From, partitions: &[(String, i32)]) -> Result<Vec<(i64, i64)>> {
        let consumer = self.consumer();
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
                    .offsets_for_times(named(Offset::Offset(ms))?, REQUEST)
                    .context("asking for the offsets of a time")?,
            ),
            From::Committed => Some(
                consumer
                    .committed_offsets(named(Offset::Invalid)?, REQUEST)
                    .with_context(|| format!("asking for the offsets of group {:?}", self.reading.group))?,
            ),
            From::Earliest | From::Latest | From::Offset(_) => None,
        };
        let answered = |topic: &str, partition| match asked.as_ref()?.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        partitions
            .iter()
            .map(|(topic, partition)| {
                let (first, end) = consumer
                    .fetch_watermarks(topic, *partition, REQUEST)
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
                let (first, end) = self
                    .consumer()
                    .fetch_watermarks(&topic, partition, REQUEST)
                    .with_context(|| format!("asking for the offsets of {topic} partition {partition}"))?;
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

/// An error that a batch held; handled after the batch.
struct Trouble {
    topic: String,
    partition: i32,
    code: RDKafkaErrorCode,
    text: String,
}

impl Feed for KafkaFeed {
    fn wake(&mut self, waker: Waker) {
        lock(&self.found.wakers).push(Arc::clone(&waker));
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
                    let Some(partition) = find(slots, partitions, last, record.topic, record.partition) else {
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
                Moved { topic: p.topic.clone(), partition: p.partition, next: p.next, end: p.end }
            })
            .collect();
        moved.sort();
        moved
    }

    fn boundary(&mut self) -> Result<()> {
        let changes = self.found.changes.load(Ordering::Acquire);
        if changes == self.changes {
            return Ok(());
        }
        self.changes = changes;
        let before = self.partitions.len();
        self.join(From::Earliest)?;
        if self.partitions.len() > before {
            tracing::info!("worker {}: {} new partitions", self.place.worker, self.partitions.len() - before);
        }
        Ok(())
    }

    fn published(&mut self, moved: &[Moved], last: bool) {
        for Moved { topic, partition, next, .. } in moved {
            self.uncommitted.insert((topic.clone(), *partition), *next);
        }
        if self.uncommitted.is_empty() || !(last || self.committed.elapsed() >= COMMIT) {
            return;
        }
        let Some(client) = &self.client else { return };
        let mut list = TopicPartitionList::new();
        for ((topic, partition), next) in std::mem::take(&mut self.uncommitted) {
            // Fails for offsets below zero only.
            let _ = list.add_partition_offset(&topic, partition, Offset::Offset(next));
        }
        self.committed = Instant::now();
        if !last {
            if let Err(error) = client.consumer().commit(&list, CommitMode::Async) {
                tracing::debug!("committing offsets: {error}");
            }
            return;
        }
        // The broker may be away; the run is over all the same.
        let (done, waiting) = crossbeam_channel::bounded(1);
        let consumer = Arc::clone(client.consumer());
        std::thread::spawn(move || {
            let _ = done.send(consumer.commit(&list, CommitMode::Sync));
        });
        match waiting.recv_timeout(LAST_COMMIT) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the last offsets were not committed to the group: {error}"),
            Err(_) => tracing::warn!("the last offsets were not committed to the group: no answer"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_is_read() {
        assert_eq!("earliest".parse(), Ok(From::Earliest));
        assert_eq!("timestamp:1700000000000".parse(), Ok(From::Timestamp(1_700_000_000_000)));
        assert_eq!("offset:0".parse(), Ok(From::Offset(0)));
        for wrong in ["", "Earliest", "offset:", "offset:-1", "timestamp:now", "offset"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong}");
        }
    }
}
