//! Transactions on librdkafka's in-process broker, which can be told to answer with any error. It knows no isolation and
//! keeps no offsets of transactions; that each row is there once is for a real broker to show.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey::{
    self, AddOffsetsToTxn, AddPartitionsToTxn, EndTxn, InitProducerId, Produce, TxnOffsetCommit,
};
use rdkafka::types::RDKafkaRespErr::{self, *};

use crate::support::committed::{letters, read};
use crate::support::kafka::{Kafka, Topic};
use crate::support::sinks::{Run, settings};
use crate::support::unique;

type Mock = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

/// A broker, an input and an output.
fn mock() -> (Mock, Topic, Topic) {
    let cluster = MockCluster::new(1).expect("the in-process broker starts");
    let kafka = Kafka::at(&cluster.bootstrap_servers());
    let topic = || {
        let name = unique();
        cluster.create_topic(&name, 1, 1).expect("a topic");
        kafka.known_topic(&name, 1)
    };
    let topics = (topic(), topic());
    (cluster, topics.0, topics.1)
}

#[test]
fn an_epoch_survives_every_error_that_asks_for_another_try() {
    let cases: [(RDKafkaApiKey, RDKafkaRespErr); 12] = [
        // The same call again.
        (AddPartitionsToTxn, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
        (AddOffsetsToTxn, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS),
        (TxnOffsetCommit, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE),
        (EndTxn, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
        (EndTxn, RD_KAFKA_RESP_ERR__TRANSPORT),
        // Abort, and retry the transaction.
        (TxnOffsetCommit, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
        (AddPartitionsToTxn, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID),
        (EndTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING),
        (Produce, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID),
        // A new producer.
        (EndTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
        (AddOffsetsToTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
        (EndTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE),
    ];
    for (call, error) in cases {
        let (cluster, input, output) = mock();
        let mut run = Run::open(&settings(&input.address, &[]), &unique(), &input, &[&output]);
        cluster.request_errors(InitProducerId, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS]);
        assert_eq!(run.resume(&run.ledger(&unique(), 0, 0)).expect("it goes on"), 0);
        run.publish(1, 3).expect("epoch 1");
        cluster.request_errors(call, &[error]);
        for epoch in 2..=3 {
            run.publish(epoch, 3).unwrap_or_else(|e| panic!("{call:?} {error:?}, epoch {epoch}: {e:#}"));
        }
        let there: BTreeSet<_> = read(&output).into_iter().map(|record| (record.epoch, record.key)).collect();
        assert_eq!(there.len(), 9, "{call:?} {error:?}: {there:?}");
    }
}

#[test]
fn what_no_try_can_change_ends_the_run() {
    let cases: [(RDKafkaApiKey, RDKafkaRespErr, &str); 3] = [
        (TxnOffsetCommit, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "acl read on group"),
        (Produce, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "acl write on topic"),
        (
            AddOffsetsToTxn,
            RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "acl write and describe on transactional id",
        ),
    ];
    for (call, error, text) in cases {
        let (cluster, input, output) = mock();
        let mut run = Run::open(&settings(&input.address, &[]), &unique(), &input, &[&output]);
        assert_eq!(run.resume(&run.ledger(&unique(), 0, 0)).expect("it goes on"), 0);
        cluster.request_errors(call, &[error]);
        let told = run.publish(1, 3).expect_err(&format!("{call:?} {error:?}"));
        let told = format!("{told:#}");
        assert!(told.to_lowercase().contains(text), "{call:?} {error:?}: {told}");
    }
    let (cluster, input, output) = mock();
    cluster.request_errors(InitProducerId, &[RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED]);
    let mut run = Run::open(&settings(&input.address, &[]), &unique(), &input, &[&output]);
    let error = format!("{:#}", run.resume(&run.ledger("j", 0, 0)).expect_err("it is refused"));
    assert!(error.contains("ACL WRITE and DESCRIBE on transactional id cutwater-j-"), "{error}");
}

#[test]
fn a_transaction_that_is_too_slow_at_each_try_ends_the_run_with_the_options_that_help() {
    let (cluster, input, output) = mock();
    let settings = settings(&input.address, &[("transaction.timeout.ms", "1000")]);
    let mut run = Run::open(&settings, &unique(), &input, &[&output]);
    assert_eq!(run.resume(&run.ledger(&unique(), 0, 0)).expect("it goes on"), 0);
    run.publish(1, 3).expect("epoch 1");
    // Two answers take longer than a transaction may, and it needs three.
    cluster.broker_round_trip_time(1, Duration::from_millis(550)).expect("a slow broker");
    let error = format!("{:#}", run.publish(2, 3).expect_err("it never gets there"));
    for text in [
        &*output.name,
        "epoch 2",
        "transaction.timeout.ms=1000",
        "--set transaction.timeout.ms",
        "--max-records",
    ] {
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn a_dead_letter_that_is_refused_is_cut_until_it_is_taken() {
    let (cluster, input, output) = mock();
    let mut run = Run::open_dead_letters(&settings(&input.address, &[]), &input, &output);
    assert_eq!(run.resume(&run.ledger(&unique(), 0, 0)).expect("it goes on"), 0);
    // The topic does not tell beforehand what it takes.
    // Not once: librdkafka may call the transaction failed before it tells of which record.
    cluster.request_errors(Produce, &[RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 3]);
    run.write_dead_letter(1, 100_000).expect("it is sent");
    run.commit(1).expect("it is sent again, shorter");
    let letters = letters(&output);
    let letter = letters.last().expect("a dead letter");
    let value = letter.value.as_deref().expect("a value");
    assert!((10_000..60_000).contains(&value.len()), "{}", value.len());
    assert!(letter.message.contains(&format!("only the first {}", value.len())), "{}", letter.message);
    assert_eq!((letter.topic.as_str(), letter.key.as_deref()), ("source", Some(b"key".as_slice())));
}

#[test]
fn a_row_that_is_refused_is_an_error_that_names_it() {
    let (cluster, input, output) = mock();
    let mut run = Run::open(&settings(&input.address, &[]), &unique(), &input, &[&output]);
    assert_eq!(run.resume(&run.ledger(&unique(), 0, 0)).expect("it goes on"), 0);
    cluster.request_errors(Produce, &[RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let error = format!("{:#}", run.publish(1, 1).expect_err("it is refused"));
    for text in [
        "output \"out\"",
        r#"with key {"k":0}"#,
        &output.name,
        "max.message.bytes",
        "--on-too-large dead-letter",
    ] {
        assert!(error.contains(text), "{error}");
    }
}
