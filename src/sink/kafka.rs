//! Changes to a Kafka topic: idempotent, in order, each epoch acknowledged before it counts as published. Not
//! yet in transactions: a reader sees an epoch's records as they come.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use super::{Emit, Sink, lines, upserts};
use crate::kafka::client::{Settings, refused};
use crate::kafka::deliveries::{Deliveries, reason};
use crate::kafka::topics::{self, Pattern};

/// How long the first contact and one epoch's acknowledgement may take, beyond librdkafka's own
/// `message.timeout.ms` (5 minutes).
const FLUSH: Duration = Duration::from_secs(330);
/// How long to wait for room in the producer's queue at a time.
const ROOM: Duration = Duration::from_millis(5);

/// Writes to a topic.
pub struct Kafka {
    producer: ThreadedProducer<Deliveries>,
    topic: String,
    emit: Emit,
    sent: usize,
}

impl Kafka {
    /// A sink to `topic`.
    ///
    /// # Errors
    /// If no broker answers in time, or the topic is not there.
    pub fn open(topic: &str, emit: Emit, settings: &Settings) -> Result<Self> {
        let probe = settings.metadata()?;
        topics::connect(&probe, settings)?;
        topics::find(&probe, &[Pattern::Name(topic.to_owned())])
            .with_context(|| format!("sink kafka:{topic} (make the topic before)"))?;
        let producer = settings
            .producer()?
            .create_with_context(Deliveries::default())
            .map_err(refused)
            .context("making a producer")?;
        Ok(Kafka { producer, topic: topic.to_owned(), emit, sent: 0 })
    }

    fn send(&mut self, epoch: Epoch, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let mut record = BaseRecord::with_opaque_to(&self.topic, self.sent).key(key);
        // What is sent once, after the end, belongs to no epoch.
        if epoch != END {
            let number = epoch.to_string();
            record =
                record.headers(OwnedHeaders::new().insert(Header { key: "epoch", value: Some(&number) }));
        }
        if let Some(value) = value {
            record = record.payload(value);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    std::thread::sleep(ROOM);
                    self.failed()?;
                    record = back;
                }
                Err((error, _)) => {
                    bail!("writing to topic {}: {}", self.topic, reason(&error));
                }
            }
        }
    }

    fn failed(&self) -> Result<()> {
        match self.producer.context().first_failure() {
            Some(failure) => bail!("writing to topic {}: {}", self.topic, failure.reason()),
            None => Ok(()),
        }
    }
}

impl Sink for Kafka {
    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        match self.emit {
            Emit::Upserts => upserts(changes).try_for_each(|(key, row)| self.send(epoch, key, row)),
            Emit::Changes => changes.iter().try_for_each(|change| {
                let mut value = Vec::new();
                lines::change(epoch, output, change, &mut value);
                self.send(epoch, &change.key, Some(&value))
            }),
            Emit::Final => changes
                .iter()
                .flat_map(|change| (0..change.diff).map(move |_| change))
                .try_for_each(|change| self.send(epoch, &change.key, Some(&change.row))),
        }
    }

    fn commit(&mut self, _epoch: Epoch, _reports: &[Report]) -> Result<()> {
        self.producer.flush(FLUSH).with_context(|| format!("writing to topic {}", self.topic))?;
        self.failed()
    }
}
