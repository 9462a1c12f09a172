//! A producer whose records each arrive once, and are told of.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use crossbeam_channel::Receiver;
use indicatif::HumanCount;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use crate::kafka::client::{Client, LARGEST, Settings, refused};
use crate::kafka::deliveries::{Deliveries, Failure, reason};
use crate::kafka::limits::Limit;
use crate::kafka::topics::{self, Making};
use crate::shown::count;

/// What suits a load of lines; properties of the user win.
const DEFAULTS: [(&str, &str); 6] = [
    // Spread over several partitions, few records gather in 2 ms: twice as many a second go with 20.
    ("linger.ms", "20"),
    // The broker decides which record is too large.
    ("message.max.bytes", LARGEST),
    // Room for the longest line. By default a gigabyte may wait.
    ("queue.buffering.max.kbytes", "131072"),
    ("queue.buffering.max.messages", "500000"),
    // Keys go to the partitions where Java's producers put them, and records without one to any, each by itself:
    // a small file would else go to one partition as a whole.
    ("partitioner", "murmur2_random"),
    ("sticky.partitioning.linger.ms", "0"),
];
/// How long to wait for room in the producer's queue at a time.
const ROOM: Duration = Duration::from_millis(5);
/// How long to wait for acknowledgements at a time.
const FLUSH: Duration = Duration::from_millis(500);

/// A record to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// Where it goes.
    pub topic: &'a str,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the Unix epoch; without it, those of the moment in which it is sent.
    pub timestamp: Option<i64>,
}

/// Finds a topic, or makes it where it is missing and `making` says how; `option` is what the user has for that.
///
/// # Errors
/// If it is missing and is not to be made or can't be.
pub fn find_or_make(
    client: &BaseConsumer<Client>,
    settings: &Settings,
    topic: &str,
    making: Option<Making>,
    properties: &[(&str, &str)],
    option: &str,
) -> Result<()> {
    let all = topics::list(client)?;
    let there = all.iter().find(|(name, _)| name == topic).map(|&(_, partitions)| partitions);
    let partitions = |number: i32| count(number.unsigned_abs().into(), "partition");
    match (there, making) {
        (None, None) if topics::invite(client, settings, topic)? => {
            tracing::info!("the cluster has made topic {topic}");
        }
        (None, None) => bail!("{} ({option} makes a missing topic)", topics::missing(topic, &all)),
        (None, Some(making)) => {
            topics::create(client, settings, topic, making, properties)?;
            tracing::info!("made topic {topic}, {}", partitions(making.partitions));
        }
        (Some(there), Some(making)) if there != making.partitions => tracing::warn!(
            "topic {topic} is there already and keeps its {}; {option} is for a missing one",
            partitions(there)
        ),
        (Some(there), _) => tracing::info!("topic {topic}, {}", partitions(there)),
    }
    Ok(())
}

/// A producer of records, each with its number from 0.
pub struct Sending {
    producer: ThreadedProducer<Deliveries>,
}

impl Sending {
    /// Makes a producer for these topics, which are there.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub fn open(client: &BaseConsumer<Client>, settings: &Settings, topics: &[String]) -> Result<Self> {
        let mut config = settings.producer()?;
        for (key, value) in DEFAULTS {
            if settings.properties.iter().all(|(of_user, _)| of_user != key) {
                config.set(key, value);
            }
        }
        if settings.property("batch.size").is_none() {
            // A topic that takes little takes batches that are as small.
            let limits = topics.iter().map(|topic| Limit::of(client, settings, topic).batch());
            if let Some(limit) = limits.min() {
                config.set("batch.size", limit.to_string());
            }
        }
        let producer = config
            .create_with_context(Deliveries::default())
            .map_err(refused)
            .context("making a producer")?;
        Ok(Sending { producer })
    }

    /// True once a record failed for a reason that others share.
    pub fn hopeless(&self) -> bool {
        self.producer.context().hopeless()
    }

    /// How many records were acknowledged, and the bytes of their keys and values.
    pub fn acknowledged(&self) -> (u64, u64) {
        self.producer.context().acknowledged()
    }

    /// Hands a record to the producer, once it has room. False if it has to stop before.
    ///
    /// # Errors
    /// If librdkafka does not take it, for a reason that others share.
    pub fn send(&self, number: u64, record: Outgoing<'_>, stop: &Receiver<()>) -> Result<bool> {
        let mut empty = false;
        let mut next = base(number, &record);
        loop {
            let Err((error, back)) = self.producer.send(next) else { return Ok(true) };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) if empty => {
                    bail!("the record has more bytes than queue.buffering.max.kbytes lets wait");
                }
                Some(RDKafkaErrorCode::QueueFull) => {
                    if asked(stop, ROOM) || self.hopeless() {
                        return Ok(false);
                    }
                    empty = self.producer.in_flight_count() == 0;
                    next = back;
                }
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
                    let bytes = length(record.key) + length(record.value);
                    self.producer.context().failed(number as usize, bytes, error);
                    return Ok(true);
                }
                _ => bail!("{}", reason(&error)),
            }
        }
    }

    /// Waits until each of the `sent` records is acknowledged or has failed: `message.timeout.ms` bounds it.
    ///
    /// # Errors
    /// If one has failed: the first, with its place, and how many.
    pub fn finish(&self, sent: u64, to: &str, place: impl Fn(u64) -> String) -> Result<()> {
        loop {
            match self.producer.flush(FLUSH) {
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {}
                result => break result.context("waiting for acknowledgements")?,
            }
        }
        let deliveries = self.producer.context();
        let (records, _) = deliveries.acknowledged();
        match deliveries.first_failure() {
            None if records == sent => Ok(()),
            None => {
                Err(anyhow!("{} of {} not acknowledged", HumanCount(sent - records), count(sent, "record")))
            }
            Some(failure) => Err(anyhow!(
                "{} of {} did not get to {to}; the first is {}",
                HumanCount(sent - records),
                count(sent, "record"),
                describe(&failure, place),
            )),
        }
    }
}

fn base<'a>(number: u64, record: &Outgoing<'a>) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut base = BaseRecord::with_opaque_to(record.topic, number as usize);
    base.payload = record.value;
    base.key = record.key;
    base.timestamp = record.timestamp;
    base
}

/// Waits for `time`, but no longer than until asked to stop.
pub fn asked(stop: &Receiver<()>, time: Duration) -> bool {
    if time.is_zero() { stop.try_recv().is_ok() } else { stop.recv_timeout(time).is_ok() }
}

fn describe(failure: &Failure, place: impl Fn(u64) -> String) -> String {
    let hint = match failure.error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            "; the topic's max.message.bytes limits records, and batches of them (-X batch.size)".to_owned()
        }
        _ => failure.outage.as_ref().map_or_else(String::new, |outage| format!("; {outage}")),
    };
    format!(
        "{} ({}): {}{hint}",
        place(failure.record as u64),
        count(failure.bytes as u64, "byte"),
        failure.reason(),
    )
}
