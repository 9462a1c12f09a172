//! The producer of transactions, and what its errors ask for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use crate::kafka::client::{Settings, refused};
use crate::kafka::deliveries::{Deliveries, reason};
use crate::sink::retry::Retry;

/// How long one call may take. Where it takes longer, the same call goes on with it.
const CALL: Duration = Duration::from_secs(10);
/// The longest wait before a call is made again.
const LONGEST: Duration = Duration::from_secs(2);
/// How long to wait for acknowledgements at a time.
const SOON: Duration = Duration::from_micros(500);
/// How long to wait for room in the producer's queue at a time.
const ROOM: Duration = Duration::from_millis(5);

/// What an error asks for.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The transaction is to be aborted; then it can be done anew.
    Abort(String),
    /// This producer is of no more use. Another one with its id ends what it has left open, one way or the other.
    Lost(String),
    /// The run can't go on.
    End(anyhow::Error),
}

/// A record to be written.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
    /// The value of its header `epoch`, if it has one.
    pub(super) epoch: Option<&'a str>,
}

/// Writes transactions.
pub(super) struct Writer {
    producer: ThreadedProducer<Deliveries>,
    /// True between the begin and the end of a transaction.
    open: bool,
    /// Records sent so far, in all transactions.
    sent: usize,
}

impl Writer {
    /// A producer of transactions under this id. From now on no older one with this id can write; what such a one
    /// has left open is aborted, or, where its commit was under way, committed.
    ///
    /// # Errors
    /// [`Trouble::End`] if the deadline passes or this user may not; [`Trouble::Lost`] if another producer takes the id
    /// at the same time.
    pub(super) fn start(settings: &Settings, id: &str, deadline: Option<Instant>) -> Result<Self, Trouble> {
        let make = || -> Result<ThreadedProducer<Deliveries>> {
            let config = settings.transactions(id)?;
            config.create_with_context(Deliveries::default()).map_err(refused).context("making a producer")
        };
        let writer = Writer { producer: make().map_err(Trouble::End)?, open: false, sent: 0 };
        writer.call("starting transactions", deadline, || writer.producer.init_transactions(CALL)).map_err(
            |trouble| match trouble {
                Trouble::End(error) => Trouble::End(error.context(format!("transactional.id {id:?}"))),
                // There is no transaction yet that could be aborted.
                Trouble::Abort(why) => Trouble::Lost(why),
                lost => lost,
            },
        )?;
        Ok(writer)
    }

    /// True iff a transaction is open.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<(), Trouble> {
        self.producer.context().forget();
        self.call("beginning a transaction", None, || self.producer.begin_transaction())?;
        self.open = true;
        Ok(())
    }

    /// Sends a record in the open transaction.
    pub(super) fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), Trouble> {
        let mut record = BaseRecord::with_opaque_to(outgoing.topic, self.sent).key(outgoing.key);
        if outgoing.epoch.is_some() {
            record =
                record.headers(OwnedHeaders::new().insert(Header { key: "epoch", value: outgoing.epoch }));
        }
        if let Some(value) = outgoing.value {
            record = record.payload(value);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.check()?;
                    std::thread::sleep(ROOM);
                    record = back;
                }
                Err((error, _)) => {
                    if error.rdkafka_error_code().is_some_and(is_permanent) {
                        return Err(Trouble::End(anyhow!(
                            "writing to topic {}: {}",
                            outgoing.topic,
                            reason(&error)
                        )));
                    }
                    self.check()?;
                    // The transaction has failed, and takes no more records.
                    return Err(Trouble::Abort(reason(&error)));
                }
            }
        }
    }

    /// Commits offsets of the group in the open transaction.
    pub(super) fn offsets(
        &self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Trouble> {
        self.call("committing offsets", None, || {
            self.producer.send_offsets_to_transaction(offsets, group, CALL)
        })
    }

    /// Commits the open transaction: after this, all of it can be read. After an error it may have been committed, or
    /// not.
    pub(super) fn commit(&mut self) -> Result<(), Trouble> {
        // The commit would wait for the records as well, but in steps of 100 ms.
        while self.producer.in_flight_count() > 0 {
            self.check()?;
            std::thread::sleep(SOON);
        }
        self.call("committing a transaction", None, || self.producer.commit_transaction(CALL))?;
        self.open = false;
        Ok(())
    }

    /// Aborts the open transaction.
    ///
    /// # Errors
    /// [`Trouble::Lost`], or [`Trouble::End`].
    pub(super) fn abort(&mut self) -> Result<(), Trouble> {
        match self.call("aborting a transaction", None, || self.producer.abort_transaction(CALL)) {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            Err(Trouble::Abort(why)) => Err(Trouble::Lost(why)),
            Err(trouble) => Err(trouble),
        }
    }

    /// Has this producer failed, or one of the transaction's records for good?
    fn check(&self) -> Result<(), Trouble> {
        if let Some((code, text)) = self.producer.client().fatal_error() {
            return Err(Trouble::Lost(format!("{text} ({code})")));
        }
        match self.producer.context().first_failure() {
            Some(failure) if failure.error.rdkafka_error_code().is_some_and(is_permanent) => {
                Err(Trouble::End(anyhow!("writing to a topic: {}", failure.reason())))
            }
            Some(failure) => Err(Trouble::Abort(failure.outage.clone().unwrap_or_else(|| failure.reason()))),
            None => Ok(()),
        }
    }

    /// Makes a call until it succeeds or asks for something else than to be made again.
    fn call(
        &self,
        what: &str,
        deadline: Option<Instant>,
        call: impl Fn() -> KafkaResult<()>,
    ) -> Result<(), Trouble> {
        let mut retry = Retry::new(LONGEST, deadline);
        loop {
            let error = match call() {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) => error,
                // Records are not acknowledged yet.
                Err(KafkaError::Flush(code)) => {
                    retry.wait(&format!("{what}: {code}")).map_err(Trouble::End)?;
                    continue;
                }
                Err(error) => return Err(Trouble::End(anyhow!("{what}: {}", reason(&error)))),
            };
            let why = self.why(what, &error);
            if is_permanent(error.code()) {
                return Err(Trouble::End(anyhow!(why)));
            }
            if error.is_fatal() {
                return Err(Trouble::Lost(why));
            }
            if error.txn_requires_abort() {
                // A record that no try will deliver is told as what it is.
                return Err(match self.check() {
                    Err(trouble @ (Trouble::End(_) | Trouble::Lost(_))) => trouble,
                    _ => Trouble::Abort(why),
                });
            }
            if !error.is_retriable() {
                return Err(Trouble::End(anyhow!(why)));
            }
            retry.wait(&why).map_err(Trouble::End)?;
        }
    }

    fn why(&self, what: &str, error: &RDKafkaError) -> String {
        let hint = match error.code() {
            RDKafkaErrorCode::InvalidTransactionTimeout => {
                "; the broker's transaction.max.timeout.ms is the most that --set transaction.timeout.ms may be"
            }
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed => "; may this user write in transactions?",
            RDKafkaErrorCode::GroupAuthorizationFailed => "; may this user commit offsets of the group?",
            _ => "",
        };
        format!("{what}: {} ({}){hint}", error.string(), error.code())
    }
}

/// Would another try give the same answer?
fn is_permanent(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
    )
}
