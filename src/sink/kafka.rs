//! Changes to a Kafka topic: idempotent, in order, each epoch acknowledged before it counts as published. Not
//! yet in transactions: a reader sees an epoch's records as they come.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::render::Change;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::{Emit, Sink, lines, upserts};
use crate::feed::kafka::client::{Client, Settings, refused};

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
}

impl Kafka {
    /// A sink to `topic`.
    ///
    /// # Errors
    /// If no broker answers in time, or the topic is not there.
    pub fn open(topic: &str, emit: Emit, settings: &Settings) -> Result<Self> {
        let probe = settings.metadata()?;
        crate::feed::kafka::topics::connect(&probe, settings)?;
        let pattern = crate::feed::kafka::topics::Pattern::Name(topic.to_owned());
        crate::feed::kafka::topics::find(&probe, &[pattern])
            .with_context(|| format!("sink kafka:{topic} (make the topic before)"))?;
        let producer = settings
            .producer()?
            .create_with_context(Deliveries::default())
            .map_err(refused)
            .context("making a producer")?;
        Ok(Kafka { producer, topic: topic.to_owned(), emit })
    }

    fn send(&self, epoch: Epoch, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let mut record = BaseRecord::to(&self.topic).key(key);
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
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    std::thread::sleep(ROOM);
                    self.failed()?;
                    record = back;
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("writing to topic {}", self.topic));
                }
            }
        }
        Ok(())
    }

    fn failed(&self) -> Result<()> {
        match self.producer.context().failure() {
            Some(error) => bail!("writing to topic {}: {error}", self.topic),
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

    fn commit(&mut self, _epoch: Epoch) -> Result<()> {
        self.producer.flush(FLUSH).with_context(|| format!("writing to topic {}", self.topic))?;
        self.failed()
    }
}

/// Keeps the first failed delivery.
#[derive(Default)]
struct Deliveries {
    client: Client,
    failure: Mutex<Option<KafkaError>>,
}

impl Deliveries {
    fn failure(&self) -> Option<KafkaError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.client.log(level, facility, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.client.answered(),
            Err((error, _)) => {
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.clone());
            }
        }
    }
}
