//! A producer of outputs, with or without transactions, and what its errors ask for.
//!
//! A producer whose transaction has failed is not used again. Of a record that it has sent, but that was not acknowledged,
//! it can't know whether it has arrived. When librdkafka aborts, it forgets such a record and gives its sequence number to
//! the next one (`rd_kafka_toppar_purge_queues` of librdkafka 2.12): where the record has arrived, the broker takes the next
//! one for the same, and drops it. Another producer has another epoch of the id, and numbers of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};

use super::calls::Calls;
use super::letter::Letter;
use super::polled::Polled;
use crate::kafka::access::{Act, Refused, is_refusal};
use crate::kafka::client::Settings;
use crate::kafka::deliveries::{Deliveries, reason};
use crate::retry::Retry;

/// How long one call may take. Where it takes longer, the same call goes on with it.
const CALL: Duration = Duration::from_secs(10);
/// After how long a producer is given up that does not get on.
const STUCK: Duration = Duration::from_secs(15);
/// The longest wait before a call is made again.
const LONGEST: Duration = Duration::from_secs(2);
/// How long to wait for acknowledgements at a time.
const SOON: Duration = Duration::from_micros(500);
/// How long to wait for room in the producer's queue at a time.
const ROOM: Duration = Duration::from_millis(5);

/// What an error asks for.
#[derive(Debug)]
pub(super) enum TransactionError {
    /// This producer is of no more use. Another one with its id ends what it has left open, one way or the other; then
    /// the transaction can be retried.
    Lost(String),
    /// A record of the transaction is larger than its topic takes, and so the transaction has failed.
    TooLarge {
        /// Its number among those of the transaction, from 0.
        record: usize,
        /// Bytes of its key and value.
        bytes: usize,
        /// What was said of it.
        why: String,
    },
    /// The run can't go on.
    End(anyhow::Error),
}

/// A record to be written.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// The value of its header `epoch`, if it has one.
    pub(super) epoch: Option<&'a str>,
    /// The value of its header `offsets`, if it has one.
    pub(super) offsets: Option<&'a str>,
    /// What its other headers say, if it is a dead letter.
    pub(super) letter: Option<&'a Letter>,
}

impl Outgoing<'_> {
    fn headers(&self) -> Option<OwnedHeaders> {
        if self.epoch.is_none() && self.offsets.is_none() && self.letter.is_none() {
            return None;
        }
        let mut headers = OwnedHeaders::new();
        if self.epoch.is_some() {
            headers = headers.insert(Header { key: "epoch", value: self.epoch });
        }
        if self.offsets.is_some() {
            headers = headers.insert(Header { key: "offsets", value: self.offsets });
        }
        for (key, value) in self.letter.into_iter().flat_map(Letter::headers) {
            headers = headers.insert(Header { key, value: Some(&*value) });
        }
        Some(headers)
    }
}

/// Writes until something fails.
pub(super) struct Writer {
    producer: Producing,
    /// When the open transaction was begun.
    begun: Option<Instant>,
    /// Records sent so far, in all transactions.
    sent: usize,
    /// Of them, those of transactions before the last one.
    before: usize,
    /// How long the broker lets a transaction be open.
    limit: Duration,
}

impl Writer {
    /// A producer of transactions under this id, with batches of up to `most` bytes. From now on no older one with this id can write; what such a one
    /// has left open is aborted, or, where its commit was under way, committed.
    ///
    /// # Errors
    /// [`TransactionError::End`] if the deadline passes or this user may not; [`TransactionError::Lost`] if another producer takes the id
    /// at the same time.
    pub(super) fn start(
        settings: &Settings,
        id: &str,
        most: usize,
        calls: &Calls,
        deadline: Option<Instant>,
    ) -> Result<Self, TransactionError> {
        let make = || -> Result<(Sender, Duration)> {
            let config = settings.transactions(id, most)?;
            let limit = config.get("transaction.timeout.ms").and_then(|ms| ms.parse().ok());
            let limit = Duration::from_millis(limit.unwrap_or(u64::MAX));
            Ok((Polled::make(&config, Deliveries::default())?, limit))
        };
        let (sender, limit) = make().map_err(TransactionError::End)?;
        let producer = Producing { sender: Arc::new(sender), calls: calls.clone() };
        producer
            .call("starting transactions", deadline, |producer| producer.init_transactions(CALL))
            .map_err(|trouble| match trouble {
                TransactionError::End(error) if error.is::<Refused>() => {
                    TransactionError::End(settings.denied(Act::Transact(id)))
                }
                TransactionError::End(error) => {
                    TransactionError::End(error.context(format!("transactional.id {id:?}")))
                }
                lost => lost,
            })?;
        Ok(Writer { producer, begun: None, sent: 0, before: 0, limit })
    }

    /// A producer without transactions, with batches of up to `most` bytes.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub(super) fn idempotent(settings: &Settings, most: usize, calls: &Calls) -> Result<Self> {
        let sender = Polled::make(&settings.idempotent(most)?, Deliveries::default())?;
        let producer = Producing { sender: Arc::new(sender), calls: calls.clone() };
        Ok(Writer { producer, begun: None, sent: 0, before: 0, limit: Duration::MAX })
    }

    /// Has the producer take on the newest user and password.
    fn log_in(&self) {
        let sender = &self.producer.sender;
        sender.context().log_in(sender.client());
    }

    /// Without transactions: the next record is the first of an epoch.
    pub(super) fn mark(&mut self) {
        self.log_in();
        self.before = self.sent;
    }

    /// True iff a transaction is open.
    pub(super) fn is_open(&self) -> bool {
        self.begun.is_some()
    }

    /// How long a transaction may be open, where the open one is for longer although no broker was out of reach.
    pub(super) fn overdue(&self) -> Option<Duration> {
        let overdue = self.begun.is_some_and(|begun| begun.elapsed() >= self.limit);
        (overdue && !self.producer.sender.context().was_unreachable()).then_some(self.limit)
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<(), TransactionError> {
        self.log_in();
        self.producer.guarded("beginning a transaction", |producer| producer.begin_transaction())?;
        (self.begun, self.before) = (Some(Instant::now()), self.sent);
        Ok(())
    }

    /// Sends a record in the open transaction.
    pub(super) fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), TransactionError> {
        let mut record = BaseRecord::with_opaque_to(outgoing.topic, self.sent);
        if let Some(key) = outgoing.key {
            record = record.key(key);
        }
        if let Some(headers) = outgoing.headers() {
            record = record.headers(headers);
        }
        if let Some(value) = outgoing.value {
            record = record.payload(value);
        }
        loop {
            match self.producer.sender.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.check()?;
                    self.producer.calls.fault.pause(ROOM).map_err(TransactionError::End)?;
                    record = back;
                }
                Err((error, _)) if is_too_large(&error) => {
                    let bytes = outgoing.key.map_or(0, <[u8]>::len) + outgoing.value.map_or(0, <[u8]>::len);
                    let record = self.sent - self.before;
                    return Err(TransactionError::TooLarge { record, bytes, why: reason(&error) });
                }
                Err((error, _)) => {
                    if error.rdkafka_error_code().is_some_and(is_permanent) {
                        return Err(TransactionError::End(anyhow!(
                            "writing to topic {}: {}",
                            outgoing.topic,
                            reason(&error)
                        )));
                    }
                    self.check()?;
                    // The transaction has failed, and takes no more records.
                    return Err(TransactionError::Lost(reason(&error)));
                }
            }
        }
    }

    /// Commits offsets of the group in the open transaction.
    pub(super) fn offsets(
        &self,
        offsets: &TopicPartitionList,
        group: &Arc<ConsumerGroupMetadata>,
    ) -> Result<(), TransactionError> {
        let (offsets, group) = (offsets.clone(), Arc::clone(group));
        let sent = self.producer.guarded("committing offsets", move |producer| {
            producer.send_offsets_to_transaction(&offsets, &group, CALL)
        });
        self.explained(sent)
    }

    /// Returns when all records that were sent are acknowledged.
    pub(super) fn acknowledged(&self) -> Result<(), TransactionError> {
        while self.producer.sender.in_flight_count() > 0 {
            self.check()?;
            self.producer.calls.fault.pause(SOON).map_err(TransactionError::End)?;
        }
        self.check()?;
        self.producer.sender.context().answered();
        Ok(())
    }

    /// Commits the open transaction: after this, all of it can be read. After an error it may have been committed, or
    /// not.
    pub(super) fn commit(&mut self) -> Result<(), TransactionError> {
        // The commit would wait for the records as well, but in steps of 100 ms.
        self.acknowledged()?;
        let committed =
            self.producer.guarded("committing a transaction", |producer| producer.commit_transaction(CALL));
        self.explained(committed)?;
        self.producer.sender.context().answered();
        self.begun = None;
        Ok(())
    }

    /// Has this producer failed, or one of the transaction's records for good?
    fn check(&self) -> Result<(), TransactionError> {
        // In this order: the report of a record that is too large may come in between.
        self.explained(self.producer.check())
    }

    /// Was a record of the transaction refused as it is too large?
    fn too_large(&self) -> Result<(), TransactionError> {
        let Some(failure) = self.producer.sender.context().too_large() else { return Ok(()) };
        let record = failure.record.saturating_sub(self.before);
        Err(TransactionError::TooLarge { record, bytes: failure.bytes, why: failure.reason() })
    }

    /// A record that was refused is told as what it is, instead of by what follows from it.
    fn explained(&self, result: Result<(), TransactionError>) -> Result<(), TransactionError> {
        if result.is_err() {
            self.too_large()?;
        }
        result
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

type Sender = Polled<Deliveries>;

/// The producer of a [`Writer`], and how it is called.
#[derive(Clone)]
struct Producing {
    sender: Arc<Sender>,
    calls: Calls,
}

impl Producing {
    /// Has this producer failed, or one of the transaction's records for good?
    fn check(&self) -> Result<(), TransactionError> {
        if let Some((code, text)) = self.sender.client().fatal_error() {
            return Err(TransactionError::Lost(format!("{text} ({code})")));
        }
        match self.sender.context().first_failure() {
            Some(failure) if failure.error.rdkafka_error_code().is_some_and(is_permanent) => {
                let why = format!("writing to a topic: {}", failure.reason());
                Err(TransactionError::End(ended(failure.error.rdkafka_error_code(), why)))
            }
            Some(failure) => {
                Err(TransactionError::Lost(failure.outage.clone().unwrap_or_else(|| failure.reason())))
            }
            None => Ok(()),
        }
    }

    /// As [`Producing::call`], in a thread of its own, for librdkafka 2.12 may not come back: it waits for its own answer,
    /// and loses it now and then where brokers were away (its issues 5456 and 5511, of committing offsets). Such a thread
    /// keeps the producer.
    fn guarded(
        &self,
        what: &'static str,
        call: impl Fn(&Sender) -> KafkaResult<()> + Send + 'static,
    ) -> Result<(), TransactionError> {
        let producer = self.clone();
        match self.calls.make(what, STUCK + CALL, move || producer.call(what, None, call)) {
            Ok(Some(result)) => result,
            Ok(None) => Err(TransactionError::Lost(format!("{what}: librdkafka does not come back"))),
            Err(error) => Err(TransactionError::End(error)),
        }
    }

    /// Makes a call until it succeeds or asks for something else than to be made again: until the deadline, after which
    /// it is an error, or, where there is none, for as long as a producer may be stuck.
    fn call(
        &self,
        what: &str,
        deadline: Option<Instant>,
        call: impl Fn(&Sender) -> KafkaResult<()>,
    ) -> Result<(), TransactionError> {
        let mut retry =
            Retry::new(&self.calls.fault, LONGEST, Some(deadline.unwrap_or_else(|| Instant::now() + STUCK)));
        loop {
            let why = match call(&self.sender) {
                Ok(()) => return Ok(()),
                // Records are not acknowledged yet.
                Err(KafkaError::Flush(code)) => format!("{what}: {code}"),
                Err(KafkaError::Transaction(error)) => {
                    let why = why(what, &error);
                    if is_permanent(error.code()) {
                        return Err(TransactionError::End(ended(Some(error.code()), why)));
                    }
                    if error.is_fatal() {
                        return Err(TransactionError::Lost(why));
                    }
                    if error.txn_requires_abort() {
                        // A record that no try will deliver is told as what it is.
                        self.check()?;
                        return Err(TransactionError::Lost(why));
                    }
                    if !error.is_retriable() {
                        return Err(TransactionError::End(anyhow!(why)));
                    }
                    why
                }
                Err(error) => return Err(TransactionError::End(anyhow!("{what}: {}", reason(&error)))),
            };
            retry.wait(&why).map_err(|error| match deadline {
                None if !self.calls.fault.is_raised() => TransactionError::Lost(why),
                _ => TransactionError::End(error),
            })?;
        }
    }
}

/// An error that no other try changes; one that the cluster refuses something is known as such.
fn ended(code: Option<RDKafkaErrorCode>, why: String) -> anyhow::Error {
    match code {
        Some(code) if is_refusal(code) => Refused { code, why }.into(),
        _ => anyhow!(why),
    }
}

fn why(what: &str, error: &RDKafkaError) -> String {
    let hint = match error.code() {
        RDKafkaErrorCode::InvalidTransactionTimeout => {
            "; the broker's transaction.max.timeout.ms is the most that --set transaction.timeout.ms may be"
        }
        _ => "",
    };
    format!("{what}: {} ({}){hint}", error.string(), error.code())
}

/// Would another try give the same answer?
fn is_permanent(code: RDKafkaErrorCode) -> bool {
    is_refusal(code)
        || matches!(
            code,
            RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::InvalidTimestamp
                | RDKafkaErrorCode::InvalidRequiredAcks
                | RDKafkaErrorCode::UnsupportedForMessageFormat
                | RDKafkaErrorCode::UnsupportedCompressionType
                | RDKafkaErrorCode::PolicyViolation
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
}
