//! Input that no further try can read ends the run, and says where it is and what would help.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::support::kafka::{Kafka, Topic};
use crate::support::program::{Program, word_count};
use crate::support::rows::{Counts, assert_counts, finals};
use crate::support::unique;

/// A broker of its own, whose answers are small as it has one topic only: the client is to take few bytes.
fn mock() -> (MockCluster<'static, DefaultProducerContext>, Topic) {
    let cluster = MockCluster::new(1).expect("the in-process broker starts");
    let name = unique();
    cluster.create_topic(&name, 1, 1).expect("a topic");
    let topic = Kafka::at(&cluster.bootstrap_servers()).known_topic(&name, 1);
    (cluster, topic)
}

/// Counts all, and takes 50,000 bytes at a time from the broker.
fn with_little_room(topic: &Topic) -> Program {
    word_count(&topic.address, &topic.name)
        .with("--until-end -X message.max.bytes=10000 -X fetch.max.bytes=10000")
        .with("-X receive.message.max.bytes=50000")
}

#[test]
fn a_batch_that_expands_too_far_ends_the_run_with_the_option_that_helps() {
    let (_cluster, topic) = mock();
    topic.send(["before"]);
    // Some hundred bytes, that are 200,000 when they are unpacked.
    let writer = topic.writer_with(&[("compression.type", "zstd"), ("linger.ms", "1000")]);
    let line = "many ".repeat(40);
    (0..1000).for_each(|_| writer.send(0, Some(line.as_bytes())));
    writer.flush();
    let ended = with_little_room(&topic).run();
    let place = format!("{} partition 0 offset 1", topic.name);
    let ended =
        ended.fails(1, &[&place, "receive.message.max.bytes=50000", "--set receive.message.max.bytes"]);
    // The same warning is not said at each try.
    let warnings = ended.stderr.iter().filter(|line| line.contains("trying again")).count();
    assert!(warnings <= 1, "{:?}", ended.stderr);

    let rows = word_count(&topic.address, &topic.name).with("--until-end --emit final").rows();
    let expected: Counts = [("before".to_owned(), 1), ("many".to_owned(), 40_000)].into_iter().collect();
    assert_counts(&finals(&rows), &expected);
}

#[test]
fn an_answer_that_is_too_large_ends_the_run_with_the_option_that_helps() {
    let (_cluster, topic) = mock();
    topic.send(["x".repeat(200_000)]);
    let ended = with_little_room(&topic).run();
    ended.fails(1, &["larger than receive.message.max.bytes=50000", "--set receive.message.max.bytes"]);
}
