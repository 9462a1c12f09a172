//! What became of a producer's records: how many were acknowledged, which failed first and why. A record is sent
//! with its number, counted from 0, as its opaque.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use crate::kafka::client::Client;

/// Counts deliveries and keeps the first failed one.
#[derive(Default)]
pub struct Deliveries {
    client: Client,
    records: AtomicU64,
    bytes: AtomicU64,
    hopeless: AtomicBool,
    first: Mutex<Option<Failure>>,
    too_large: Mutex<Option<Failure>>,
}

/// A record that was not delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Its number, from 0.
    pub record: usize,
    /// Bytes of its key and value.
    pub bytes: usize,
    /// Why.
    pub error: KafkaError,
    /// What was last heard of a broker out of reach.
    pub outage: Option<String>,
}

/// The error without rdkafka's words around it.
pub fn reason(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

impl Failure {
    /// Why the record was not delivered, in words.
    pub fn reason(&self) -> String {
        reason(&self.error)
    }
}

impl Deliveries {
    /// How many records were acknowledged, and the bytes of their keys and values.
    pub fn acknowledged(&self) -> (u64, u64) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// True once a record failed for a reason that others share.
    pub fn hopeless(&self) -> bool {
        self.hopeless.load(Ordering::Relaxed)
    }

    /// The failed record with the lowest number.
    pub fn first_failure(&self) -> Option<Failure> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Of the records that failed as they are too large for client or topic, the one with the lowest number.
    pub fn too_large(&self) -> Option<Failure> {
        self.too_large.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True once a broker was out of reach.
    pub fn was_unreachable(&self) -> bool {
        self.client.was_unreachable()
    }

    /// Has the client of this context take on the newest user and password. To be called now and then.
    pub fn log_in<C: ClientContext>(&self, client: &rdkafka::client::Client<C>) {
        self.client.log_in(client);
    }

    /// All brokers have answered that were needed: those that were out of reach no longer are.
    pub fn answered(&self) {
        self.client.all_answered();
    }

    /// This record was not delivered.
    pub fn failed(&self, record: usize, bytes: usize, error: KafkaError) {
        let failure = Failure { record, bytes, error, outage: self.client.last_failure() };
        // A record that is too large says nothing about the others.
        if failure.error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            keep_first(&self.too_large, &failure);
        } else {
            self.hopeless.store(true, Ordering::Relaxed);
        }
        keep_first(&self.first, &failure);
    }
}

/// Keeps the failure of the record with the lowest number.
fn keep_first(place: &Mutex<Option<Failure>>, failure: &Failure) {
    let mut first = place.lock().unwrap_or_else(PoisonError::into_inner);
    if first.as_ref().is_none_or(|first| failure.record < first.record) {
        *first = Some(failure.clone());
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
    /// The record's number.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, record: usize) {
        match result {
            Ok(message) => {
                // Which broker it was is not known; that others are away is not over by that.
                self.client.answered(&[]);
                let bytes = message.key_len() + message.payload_len();
                self.records.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Err((error, message)) => {
                self.failed(record, message.key_len() + message.payload_len(), error.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_that_of_the_first_record() {
        let error = |code| KafkaError::MessageProduction(code);
        let deliveries = Deliveries::default();
        deliveries.failed(7, 1, error(RDKafkaErrorCode::MessageSizeTooLarge));
        deliveries.failed(3, 2, error(RDKafkaErrorCode::MessageSizeTooLarge));
        assert!(!deliveries.hopeless());
        deliveries.failed(5, 3, error(RDKafkaErrorCode::MessageTimedOut));
        assert!(deliveries.hopeless());
        let large = Failure {
            record: 3,
            bytes: 2,
            error: error(RDKafkaErrorCode::MessageSizeTooLarge),
            outage: None,
        };
        assert_eq!(deliveries.first_failure(), Some(large.clone()));
        // Which of them is too large is known whatever became of the others.
        deliveries.failed(0, 3, error(RDKafkaErrorCode::PurgeInflight));
        assert_eq!(deliveries.first_failure().map(|first| first.record), Some(0));
        assert_eq!(deliveries.too_large(), Some(large));
    }
}
