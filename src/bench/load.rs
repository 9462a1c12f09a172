//! Writes records to a topic: as fast as it goes, or at a rate, with the time at which each was appended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message as _};

use super::broker::Topic;
use super::workload::{Text, Word};
use crate::job::Stop;
use crate::kafka::client::{Settings, refused};
use crate::kafka::deliveries::Deliveries;
use crate::produce::pace::{Pace, Rate};
use crate::time::micros_since_epoch;

/// How long a batch waits for more records: longer than in a sink, as nobody waits for the record.
const LINGER: &str = "5";
/// How long to wait for room in the producer's queue at a time.
const ROOM: Duration = Duration::from_millis(1);
/// How long the last deliveries may take.
const FLUSH: Duration = Duration::from_secs(60);

/// A producer to a topic of this run.
pub(super) struct Load<'a> {
    producer: ThreadedProducer<Acknowledged>,
    topic: &'a Topic,
    line: String,
    timed: bool,
    /// When each record was sent, in milliseconds since the Unix epoch, if that is noted.
    sent: Vec<i64>,
    stop: Stop,
}

impl<'a> Load<'a> {
    /// A producer. `timed`: it notes when each record was appended.
    ///
    /// # Errors
    /// If librdkafka does not take the settings.
    pub(super) fn open(settings: &Settings, topic: &'a Topic, timed: bool, stop: &Stop) -> Result<Self> {
        let mut config = settings.producer()?;
        config.set("linger.ms", LINGER).set("queue.buffering.max.messages", "500000");
        // An idempotent producer has five requests in flight at most, and librdkafka polls without a pause while it waits
        // for room: half a core, which is then missing to what is measured. A record that comes twice is found by its count.
        config.set("enable.idempotence", "false");
        let acknowledged = Acknowledged {
            deliveries: Deliveries::default(),
            dated: timed && topic.dated,
            appended: Mutex::default(),
        };
        let producer =
            config.create_with_context(acknowledged).map_err(refused).context("making a producer")?;
        Ok(Load { producer, topic, line: String::new(), timed, sent: Vec::new(), stop: stop.clone() })
    }

    /// Sends the next record of `text`. Returns its first word.
    ///
    /// # Errors
    /// If a record was not delivered, or the run is to stop.
    pub(super) fn send(&mut self, text: &mut Text) -> Result<Word> {
        let number = text.records() as usize;
        let (partition, word) = text.record(&mut self.line);
        if self.timed {
            self.sent.push((micros_since_epoch() / 1000) as i64);
        }
        let mut record = BaseRecord::<(), str, usize>::with_opaque_to(&self.topic.name, number)
            .payload(&self.line)
            .partition(partition);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(word),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.check()?;
                    std::thread::sleep(ROOM);
                    record = back;
                }
                Err((error, _)) => return Err(error).context("sending a record"),
            }
        }
    }

    /// Sends `records` records as fast as they go, and waits until they are there.
    ///
    /// # Errors
    /// As [`Load::send`].
    pub(super) fn fill(mut self, text: &mut Text, records: u64) -> Result<()> {
        for number in 0..records {
            self.send(text)?;
            if number % 1024 == 0 {
                self.check()?;
            }
        }
        self.flush()
    }

    /// Sends records at a rate for some time. Calls `each` with the first word of each, and how often that
    /// has been sent with it. Returns how long it took.
    ///
    /// # Errors
    /// As [`Load::send`].
    pub(super) fn offer(
        &mut self,
        text: &mut Text,
        rate: f64,
        time: Duration,
        each: &mut dyn FnMut(Word, u64),
    ) -> Result<Duration> {
        let start = Instant::now();
        let mut pace = Pace::new(Rate::per_second(rate).map_err(anyhow::Error::msg)?, start);
        loop {
            let now = Instant::now();
            if now - start >= time {
                return Ok(now - start);
            }
            let wait = pace.next(now);
            if !wait.is_zero() {
                self.check()?;
                std::thread::sleep(wait);
            }
            let word = self.send(text)?;
            each(word, text.drawn(word));
        }
    }

    /// Waits until all records are there.
    ///
    /// # Errors
    /// As [`Load::send`].
    pub(super) fn flush(&self) -> Result<()> {
        self.producer.flush(FLUSH).context("waiting for the last deliveries")?;
        self.check()
    }

    /// When each record was appended, in milliseconds since the Unix epoch, by its number; when it was sent, where the
    /// broker tells no times.
    pub(super) fn times(&self) -> Vec<i64> {
        let mut times = self.sent.clone();
        for &(record, time) in &*self.producer.context().lock() {
            times[record] = time;
        }
        times
    }

    fn check(&self) -> Result<()> {
        if self.stop.is_requested() {
            bail!("stopped");
        }
        match self.producer.context().deliveries.first_failure() {
            Some(failure) => bail!("writing to topic {}: {}", self.topic.name, failure.reason()),
            None => Ok(()),
        }
    }
}

/// What became of the records.
struct Acknowledged {
    deliveries: Deliveries,
    /// True iff it is to be noted when the broker has appended them, and the broker says so.
    dated: bool,
    /// The number of each record, and when it was appended.
    appended: Mutex<Vec<(usize, i64)>>,
}

impl Acknowledged {
    fn lock(&self) -> MutexGuard<'_, Vec<(usize, i64)>> {
        self.appended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Acknowledged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.deliveries.log(level, facility, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.deliveries.error(error, reason);
    }
}

impl ProducerContext for Acknowledged {
    /// The record's number.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, record: usize) {
        // The time is part of the acknowledgement.
        if let (true, Ok(message)) = (self.dated, result)
            && let Some(time) = message.timestamp().to_millis()
        {
            self.lock().push((record, time));
        }
        self.deliveries.delivery(result, record);
    }
}
