//! What a topic holds of letters that are to be put back: the records that they were, and what is back already.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _, OwnedHeaders, Timestamp};
use rdkafka::{Offset, TopicPartitionList};

use super::letter::{Letter, Place};
use super::{HEADER, kept};
use crate::kafka::client::Settings;
use crate::shown::count;

/// The group of the consumer. It commits nothing.
const GROUP: &str = "cutwater-reinject";
/// How long a question may take.
const REQUEST: Duration = Duration::from_secs(10);
/// How often to look whether a transaction has ended.
const PAUSE: Duration = Duration::from_millis(50);
/// How often to say how far it has come.
const SAY: Duration = Duration::from_secs(10);
/// How long to wait for a record at a time.
const POLL: Duration = Duration::from_millis(100);

/// A record that a letter was.
#[derive(Default)]
pub(super) struct Was {
    pub(super) key: Option<Vec<u8>>,
    /// Where its letter has no more than the first bytes of it.
    pub(super) value: Option<Vec<u8>>,
    /// True where the broker says when its records are: a record that is put back has another time.
    pub(super) is_broker_time: bool,
    pub(super) timestamp: Option<i64>,
    pub(super) headers: OwnedHeaders,
}

/// What was found of the letters.
#[derive(Default)]
pub(super) struct Found {
    /// Those whose records are there still.
    pub(super) records: BTreeMap<Place, Was>,
    /// Those that were put back, and at which offset.
    pub(super) back: BTreeMap<Place, i64>,
    /// Those whose key has a newer record.
    pub(super) newer: BTreeSet<Place>,
}

/// Reads the partitions of a topic's letters, from the first of them on.
///
/// # Errors
/// If the cluster does not answer, or another's transaction stays open.
pub(super) fn scan(settings: &Settings, topic: &str, letters: &[Letter]) -> Result<Found> {
    let mut found = Found::default();
    let places: BTreeSet<&Place> = letters.iter().map(|letter| &letter.place).collect();
    let cut: BTreeSet<&Place> =
        letters.iter().filter(|letter| letter.cut.value).map(|letter| &letter.place).collect();
    let mut first: BTreeMap<i32, i64> = BTreeMap::new();
    for place in &places {
        let first = first.entry(place.partition).or_insert(place.offset);
        *first = place.offset.min(*first);
    }
    // The letters of each key by their offsets: in what they say, or else in what their records say.
    let mut keys: HashMap<(i32, Vec<u8>), BTreeSet<Place>> = HashMap::new();
    for letter in letters {
        if let Some(Some(key)) = &letter.key {
            keys.entry((letter.place.partition, key.clone())).or_default().insert(letter.place.clone());
        }
    }
    each(settings, topic, first, |record| {
        let here = Place { topic: topic.to_owned(), partition: record.partition(), offset: record.offset() };
        let key = record.key().map(<[u8]>::to_vec);
        let tag = tag(record);
        if places.contains(&here) {
            if let Some(key) = &key {
                keys.entry((here.partition, key.clone())).or_default().insert(here.clone());
            }
            let (timestamp, is_broker_time) = match record.timestamp() {
                Timestamp::CreateTime(time) => (Some(time), false),
                // That of the broker is when it was written.
                Timestamp::LogAppendTime(time) => (Some(time), true),
                Timestamp::NotAvailable => (None, false),
            };
            let headers = record.headers().map(kept).unwrap_or_default();
            let value = record.payload().filter(|_| cut.contains(&here)).map(<[u8]>::to_vec);
            let was = Was { key: key.clone(), value, is_broker_time, timestamp, headers };
            found.records.insert(here.clone(), was);
        }
        // It stands where the record stood that it corrects.
        let stands = tag.clone().unwrap_or_else(|| here.clone());
        if let Some(of_key) = key.and_then(|key| keys.get(&(here.partition, key))) {
            found.newer.extend(of_key.iter().filter(|place| place.offset < stands.offset).cloned());
        }
        if let Some(tag) = tag.filter(|tag| places.contains(tag)) {
            found.back.insert(tag, here.offset);
        }
    })?;
    Ok(found)
}

/// The record that this one corrects.
fn tag(record: &BorrowedMessage<'_>) -> Option<Place> {
    let header = record.headers()?.iter().find(|header| header.key == HEADER)?;
    Place::of_tag(header.value?)
}

/// Shows each committed record of the partitions, from these offsets on to what is the end now.
///
/// # Errors
/// If the cluster does not answer, or an open transaction holds some back for longer than the connect timeout.
pub(super) fn each(
    settings: &Settings,
    topic: &str,
    from: impl IntoIterator<Item = (i32, i64)>,
    mut show: impl FnMut(&BorrowedMessage<'_>),
) -> Result<()> {
    let consumer = settings.consumer(GROUP, 1)?;
    let all = settings.uncommitted(GROUP)?;
    let mut list = TopicPartitionList::new();
    let mut open: BTreeMap<i32, i64> = BTreeMap::new();
    for (partition, from) in from {
        let (first, end) = bounds(&consumer, &all, (topic, partition), settings.connect_timeout)?;
        let from = from.max(first);
        if from < end {
            list.add_partition_offset(topic, partition, Offset::Offset(from))?;
            open.insert(partition, end);
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    consumer.assign(&list).with_context(|| format!("reading {topic}"))?;
    let (mut heard, mut said, mut read) = (Instant::now(), Instant::now(), 0);
    while !open.is_empty() {
        if said.elapsed() > SAY {
            tracing::info!("reading {topic}: {} so far", count(read, "record"));
            said = Instant::now();
        }
        match consumer.poll(POLL) {
            Some(Ok(record)) => {
                heard = Instant::now();
                read += 1;
                let (partition, offset) = (record.partition(), record.offset());
                if open.get(&partition).is_some_and(|end| offset < *end) {
                    show(&record);
                }
                if open.get(&partition).is_some_and(|end| offset + 1 >= *end) {
                    open.remove(&partition);
                }
            }
            // The last offsets may be those of no record.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) if heard.elapsed() > settings.connect_timeout => {
                return Err(error).with_context(|| format!("reading {topic}"));
            }
            None if heard.elapsed() > settings.connect_timeout => {
                bail!("reading {topic}: no record came for {:?}", settings.connect_timeout);
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}

/// The first offset of a partition and its end now, once all is committed up to there. `all` sees also what is not.
///
/// # Errors
/// If the cluster does not answer, or an open transaction holds records back for longer than `timeout`.
fn bounds<C: ConsumerContext>(
    committed: &BaseConsumer<C>,
    all: &BaseConsumer<C>,
    (topic, partition): (&str, i32),
    timeout: Duration,
) -> Result<(i64, i64)> {
    let asking = || format!("asking for the end of {topic} partition {partition}");
    let (first, end) = all.fetch_watermarks(topic, partition, REQUEST).with_context(asking)?;
    let deadline = Instant::now() + timeout;
    while committed.fetch_watermarks(topic, partition, REQUEST).with_context(asking)?.1 < end {
        if Instant::now() > deadline {
            bail!(
                "{topic} partition {partition}: an open transaction of another program holds records back, and what was put \
                 back may be among them; end that program first"
            );
        }
        std::thread::sleep(PAUSE);
    }
    Ok((first, end))
}
