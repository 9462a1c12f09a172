//! Lines into a topic, a record a line: each exactly once, and each acknowledged before it is over.

pub mod lines;
pub mod pace;
mod place;

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use crossbeam_channel::{Receiver, select};
use indicatif::{DecimalBytes, HumanCount, ProgressBar};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use crate::kafka::client::{LARGEST, Settings, refused};
use crate::kafka::deliveries::{Deliveries, Failure, reason};
use crate::kafka::limits::Limit;
use crate::kafka::topics::{self, Making};
use crate::shown::count;
use lines::Source;
use pace::{Pace, Rate};
use place::Places;

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

/// What ends the key of a line.
#[derive(Clone, Debug)]
pub struct Separator(Vec<u8>);

impl FromStr for Separator {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected what stands between key and value".to_owned()),
            r"\t" => Ok(Separator(vec![b'\t'])),
            text => Ok(Separator(text.as_bytes().to_vec())),
        }
    }
}

impl Separator {
    /// The key and the value of a line; nothing if it has no separator.
    fn split<'a>(&self, line: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let at = line.windows(self.0.len()).position(|window| window == self.0)?;
        Some((&line[..at], &line[at + self.0.len()..]))
    }
}

/// How lines become records.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where they go.
    pub topic: String,
    /// How many partitions to make it with where it is missing.
    pub partitions: Option<i32>,
    /// What ends a line's key; without it records have none.
    pub key: Option<Separator>,
    /// How many to send a second; without it as many as go.
    pub rate: Option<Rate>,
}

/// A topic that lines can be sent to.
pub struct Production {
    order: Order,
    producer: ThreadedProducer<Deliveries>,
}

/// How it went.
pub struct Outcome {
    /// Acknowledged records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// From the start to the last acknowledgement.
    pub time: Duration,
    /// The first error, of reading or of sending.
    pub result: Result<()>,
}

impl Outcome {
    /// One line for people.
    pub fn line(&self) -> String {
        let seconds = self.time.as_secs_f64().max(1e-6);
        format!(
            "{} ({}/s), {} ({:.2} MB/s) in {seconds:.2} s",
            count(self.records, "record"),
            HumanCount((self.records as f64 / seconds) as u64),
            DecimalBytes(self.bytes),
            self.bytes as f64 / 1e6 / seconds,
        )
    }
}

impl Production {
    /// Connects, and finds the topic or makes it.
    ///
    /// # Errors
    /// If no broker answers in time, or the topic is missing and is not to be made or can't be.
    pub fn open(settings: &Settings, order: Order) -> Result<Self> {
        let client = settings.metadata()?;
        topics::connect(&client, settings)?;
        let topic = &order.topic;
        let all = topics::list(&client)?;
        let there = all.iter().find(|(name, _)| name == topic).map(|&(_, partitions)| partitions);
        match (there, order.partitions) {
            (None, None) if topics::invite(&client, settings, topic)? => {
                tracing::info!("the cluster has made topic {topic}");
            }
            (None, None) => bail!("{} (--partitions N makes a missing topic)", topics::missing(topic, &all)),
            (None, Some(wanted)) => {
                let making = Making { partitions: wanted, replication: None };
                topics::create(&client, settings, topic, making, &[])?;
                tracing::info!("made topic {topic}, {}", count(wanted.unsigned_abs().into(), "partition"));
            }
            (Some(there), Some(wanted)) if there != wanted => tracing::warn!(
                "topic {topic} is there already and keeps its {}; --partitions {wanted} is for a missing one",
                count(there.unsigned_abs().into(), "partition")
            ),
            (Some(there), _) => {
                tracing::info!("topic {topic}, {}", count(there.unsigned_abs().into(), "partition"))
            }
        }
        let mut config = settings.producer()?;
        for (key, value) in DEFAULTS {
            if settings.properties.iter().all(|(of_user, _)| of_user != key) {
                config.set(key, value);
            }
        }
        if settings.property("batch.size").is_none() {
            // A topic that takes little takes batches that are as small.
            config.set("batch.size", Limit::of(&client, settings, topic).batch().to_string());
        }
        let producer = config
            .create_with_context(Deliveries::default())
            .map_err(refused)
            .context("making a producer")?;
        Ok(Production { order, producer })
    }

    /// Sends the lines of the sources, and waits until each is acknowledged or has failed. A message on `stop` ends
    /// reading; what was sent until then is waited for.
    pub fn run(self, sources: Vec<Source>, stop: &Receiver<()>, bar: Option<&ProgressBar>) -> Outcome {
        let start = Instant::now();
        let mut places = Places::new(sources.iter().map(|source| source.name.clone()).collect());
        let mut sent = 0;
        let read = self.send_all(sources, stop, bar, &mut places, &mut sent);
        if let Some(bar) = bar {
            bar.set_message("waiting for acknowledgements");
        }
        let flushed = self.flush();
        let deliveries = self.producer.context();
        let (records, bytes) = deliveries.acknowledged();
        let delivered = flushed.and_then(|()| match deliveries.first_failure() {
            None if records == sent => Ok(()),
            None => {
                Err(anyhow!("{} of {} not acknowledged", HumanCount(sent - records), count(sent, "record")))
            }
            Some(failure) => Err(anyhow!(
                "{} of {} did not get to topic {}; the first is {}",
                HumanCount(sent - records),
                count(sent, "record"),
                self.order.topic,
                describe(&failure, &places),
            )),
        });
        let result = match (read, delivered) {
            (Err(read), Err(delivered)) => Err(anyhow!("{read:#}; and {delivered:#}")),
            (read, delivered) => read.and(delivered),
        };
        Outcome { records, bytes, time: start.elapsed(), result }
    }

    /// Sends until the end, until asked to stop, or until a record fails for a reason that others share.
    fn send_all(
        &self,
        sources: Vec<Source>,
        stop: &Receiver<()>,
        bar: Option<&ProgressBar>,
        places: &mut Places,
        sent: &mut u64,
    ) -> Result<()> {
        let chunks = lines::read(sources)?;
        let mut pace = self.order.rate.map(|rate| Pace::new(rate, Instant::now()));
        loop {
            let chunk = select! {
                recv(chunks) -> chunk => chunk,
                recv(stop) -> _ => return Ok(()),
            };
            let chunk = match chunk {
                Ok(Ok(chunk)) => chunk,
                Ok(Err((source, error))) => {
                    places.begin(source, *sent);
                    return Err(error).with_context(|| format!("reading {}", places.of(*sent)));
                }
                // All sources were read.
                Err(_) => return Ok(()),
            };
            places.begin(chunk.source, *sent);
            for line in lines::split(&chunk.bytes) {
                let wait = pace.as_mut().map_or(Duration::ZERO, |pace| pace.next(Instant::now()));
                if asked(stop, wait) || self.producer.context().hopeless() {
                    return Ok(());
                }
                let (key, value) = match &self.order.key {
                    None => (None, line),
                    Some(separator) => {
                        let (key, value) = separator.split(line).with_context(|| {
                            let separator = String::from_utf8_lossy(&separator.0);
                            format!("{}: no {separator:?} ends a key, as --key wants it", places.of(*sent))
                        })?;
                        (Some(key), value)
                    }
                };
                if !self.send(*sent, key, value, stop).with_context(|| places.of(*sent))? {
                    return Ok(());
                }
                *sent += 1;
                if let Some(bar) = bar {
                    bar.inc(line.len() as u64 + 1);
                }
            }
        }
    }

    /// Hands a record to the producer, once it has room. False if it has to stop before.
    fn send(&self, number: u64, key: Option<&[u8]>, value: &[u8], stop: &Receiver<()>) -> Result<bool> {
        let mut record = BaseRecord::with_opaque_to(&self.order.topic, number as usize).payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        let mut empty = false;
        loop {
            let Err((error, back)) = self.producer.send(record) else { return Ok(true) };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) if empty => {
                    bail!("the line has more bytes than queue.buffering.max.kbytes lets wait");
                }
                Some(RDKafkaErrorCode::QueueFull) => {
                    if asked(stop, ROOM) || self.producer.context().hopeless() {
                        return Ok(false);
                    }
                    empty = self.producer.in_flight_count() == 0;
                    record = back;
                }
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    let bytes = key.map_or(0, <[u8]>::len) + value.len();
                    self.producer.context().failed(number as usize, bytes, error);
                    return Ok(true);
                }
                _ => bail!("{}", reason(&error)),
            }
        }
    }

    /// Waits until each record is acknowledged or has failed: `message.timeout.ms` bounds it.
    fn flush(&self) -> Result<()> {
        loop {
            match self.producer.flush(FLUSH) {
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {}
                result => return result.context("waiting for acknowledgements"),
            }
        }
    }
}

/// Waits for `time`, but no longer than until asked to stop.
fn asked(stop: &Receiver<()>, time: Duration) -> bool {
    if time.is_zero() { stop.try_recv().is_ok() } else { stop.recv_timeout(time).is_ok() }
}

fn describe(failure: &Failure, places: &Places) -> String {
    let hint = match failure.error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            "; the topic's max.message.bytes limits records, and batches of them (-X batch.size)".to_owned()
        }
        _ => failure.outage.as_ref().map_or_else(String::new, |outage| format!("; {outage}")),
    };
    format!(
        "{} ({}): {}{hint}",
        places.of(failure.record as u64),
        count(failure.bytes as u64, "byte"),
        failure.reason(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_ends_the_key() {
        let split = |separator: &str, line: &'static str| {
            let separator: Separator = separator.parse().unwrap();
            let (key, value) = separator.split(line.as_bytes())?;
            Some((std::str::from_utf8(key).unwrap(), std::str::from_utf8(value).unwrap()))
        };
        assert_eq!(split(":", "a:b:c"), Some(("a", "b:c")));
        assert_eq!(split("::", "a:b::"), Some(("a:b", "")));
        assert_eq!(split(":", ":"), Some(("", "")));
        assert_eq!(split(r"\t", "a\tb"), Some(("a", "b")));
        assert_eq!(split(":", "ab"), None);
        assert_eq!(split("::", ""), None);
        assert!("".parse::<Separator>().is_err());
    }
}
