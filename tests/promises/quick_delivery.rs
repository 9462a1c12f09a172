//! `--delivery at-least-once`: without transactions nothing is lost, and what comes twice can be told.

use std::collections::{BTreeMap, BTreeSet};

use cutwater::sink::Delivery;
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey::Produce;
use rdkafka::types::RDKafkaRespErr::{self, *};
use tempfile::tempdir;

use crate::support::broker::mock;
use crate::support::committed::{Seen, read};
use crate::support::kafka::Kafka;
use crate::support::program::{Program, cutwater, word_count};
use crate::support::rows::recount;
use crate::support::sinks::{Run, settings};
use crate::support::unique;

/// Each change once, by its epoch and key, and how many came twice or more.
fn distinct(records: &[Seen]) -> (BTreeSet<(u64, String, Option<String>)>, usize) {
    let of = |record: &Seen| {
        (record.epoch.expect("an epoch"), record.key.clone().expect("a key"), record.value.clone())
    };
    let all: BTreeSet<_> = records.iter().map(of).collect();
    let again = records.len() - all.len();
    (all, again)
}

#[test]
fn what_is_not_known_to_have_arrived_is_written_again() {
    let cases: [RDKafkaRespErr; 2] =
        [RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING];
    for error in cases {
        let cluster = MockCluster::new(1).expect("the in-process broker starts");
        let kafka = Kafka::at(&cluster.bootstrap_servers());
        let [input, output] = [unique(), unique()].map(|name| {
            cluster.create_topic(&name, 1, 1).expect("a topic");
            kafka.known_topic(&name, 1)
        });
        // The in-process broker does not look at sequence numbers: it takes a batch whose predecessor it has refused, and
        // librdkafka then holds that one for written, too.
        let settings = settings(&input.address, &[("max.in.flight.requests.per.connection", "1")]);
        let mut run = Run::open_delivering(&settings, Delivery::AtLeastOnce, &unique(), &input, &[&output]);
        // What is published is all that it goes by.
        assert_eq!(run.resume(&run.ledger(&unique(), 1, 3)).expect("it goes on"), 1);
        run.publish(2, 3).expect("epoch 2");
        cluster.request_errors(Produce, &[error]);
        run.publish(3, 3).unwrap_or_else(|e| panic!("{error:?}: {e:#}"));
        let (there, _) = distinct(&read(&output));
        assert_eq!(there.len(), 6, "{error:?}: {there:?}");
        // As no transaction is open, what is sent can be read at once.
        run.write(4, 1).expect("it is sent");
        run.commit(4).expect("it arrives");
        assert_eq!(distinct(&read(&output)).0.len(), 7);
        cluster.request_errors(Produce, &[RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
        let told = format!("{:#}", run.publish(5, 1).expect_err("it may not"));
        assert!(told.contains(&output.name) && told.contains("ACL WRITE"), "{told}");
    }
}

#[test]
fn after_a_crash_each_change_is_there_at_least_once_and_the_last_row_of_each_key_is_right() {
    let (input, output) = (mock().topic(2), mock().topic(3));
    let lines: Vec<String> = (0..300).map(|i| format!("w{} w{} x", i % 7, i % 31)).collect();
    input.send(&lines);
    let folder = tempdir().expect("a folder");
    let run = |shape: &str| -> Program {
        word_count(&input.address, &input.name)
            .with(shape)
            .with("--until-end --max-records 20 --delivery at-least-once")
            .args(["--to", &format!("kafka:{}", output.name)])
            .args(["--state".as_ref(), folder.path().as_os_str()])
    };
    run("-w 2").env("CUTWATER_CRASH", "records-sent:4").run().says(&["killed at records-sent"]);
    run("-w 1").env("CUTWATER_CRASH", "published:3").run().says(&["killed at published"]);
    // Its records have arrived for certain, and the ledger does not know.
    run("-w 2").env("CUTWATER_CRASH", "sink-committed:3").run().says(&["killed at sink-committed"]);
    run("-w 3").run().expect(0);

    let records = read(&output);
    let (changes, again) = distinct(&records);
    assert!(again > 0, "an epoch that was not known to be published is written again");
    // Of an epoch there is one row of a key, however often it was written.
    let keys: BTreeSet<_> = changes.iter().map(|(epoch, key, _)| (epoch, key)).collect();
    assert_eq!(keys.len(), changes.len());
    let rows: BTreeMap<_, _> = changes.iter().map(|(_, key, row)| (key.clone(), row.clone())).collect();
    let expected = recount(&lines).into_iter().map(|(word, count)| {
        let key = format!("{{\"word\":{word:?}}}");
        (key, Some(format!("{{\"word\":{word:?},\"count\":{count}}}")))
    });
    assert_eq!(rows, expected.collect());
    // Kafka's own tools see how far it is.
    let group = input.committed("cutwater-word-count");
    assert_eq!(group.values().sum::<i64>(), 300, "{group:?}");
}

#[test]
fn it_is_for_topics() {
    let run = |args: &[&str]| {
        cutwater(["run", "word-count", "-b", "x:1", "-t", "lines", "--delivery", "at-least-once"])
            .args(args)
            .run()
    };
    run(&[]).fails(2, &["--delivery at-least-once is for Kafka sinks", "kafka:TOPIC"]);
    run(&["-o", "kafka:counts", "--set", "enable.idempotence=false"])
        .fails(2, &["enable.idempotence", "so that the changes of a key stay in order"]);
}
