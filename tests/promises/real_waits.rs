//! What a run waits for, it says: partitions without a leader, open transactions.

use nix::sys::signal::Signal::SIGTERM;
use rdkafka::producer::Producer;

use crate::support::DEADLINE;
use crate::support::broker::{Broker, real};
use crate::support::kafka::{Kafka, Topic};
use crate::support::program::{Program, word_count};
use crate::support::rows::{Change, Replay, assert_counts, finals, recount};

fn bounded(topic: &Topic) -> Program {
    word_count(&topic.address, &topic.name).with("--until-end --emit final")
}

#[test]
fn records_that_wait_for_an_open_transaction_are_said() {
    let topic = real().topic(2);
    topic.send_to(0, Some(b"a b"));
    topic.send_to(1, Some(b"a"));
    let writer = topic.transactions();
    writer.producer.begin_transaction().expect("a transaction begins");
    writer.send(0, Some(b"c"));
    writer.flush();
    topic.send_to(0, Some(b"d"));

    // What is behind the transaction is left out, and that is said.
    for shape in ["", "-w 2"] {
        let ended = bounded(&topic).with(shape).run().expect(0);
        assert_counts(&finals(&ended.stdout), &recount(["a b", "a"]));
        ended.says(&[&topic.name, "partition 0", "2 records", "offsets 1 to 2", "open transaction"]);
        assert!(!ended.stderr.iter().any(|line| line.contains("partition 1")), "{:?}", ended.stderr);
    }
    // An offset that is there, but not to be read yet.
    let ended = bounded(&topic).with("--from offset:2").run();
    ended.expect(1).says(&["partition 1", "offset 2 was wanted", "ends at 1"]);
    topic.send_to(1, Some(b"e"));
    let ended = bounded(&topic).with("--from offset:2").run().expect(0);
    ended.says(&["partition 0", "offset 2 is there", "open transaction", "offset 1"]);

    let mut run = word_count(&topic.address, &topic.name).with("-e 10ms").start();
    let line = run.wait_stderr("open transaction");
    for text in [&topic.name, "partition 0", "offset 1", "up to 2", "since"] {
        assert!(line.contains(text), "{text}: {line}");
    }
    writer.producer.commit_transaction(DEADLINE).expect("it is committed");
    let mut replay = Replay::default();
    run.rows_until(|line| {
        replay.apply(Change::parse(line));
        replay.total() == 6
    });
    assert_counts(replay.counts(), &recount(["a b", "a", "c", "d", "e"]));
    run.wait_stderr("the open transaction has ended");
    run.signal(SIGTERM);
    run.wait().expect(0);
}

/// The partitions that a line names, of this topic.
fn named(line: &str, topic: &str) -> Vec<i32> {
    let (_, rest) = line.split_once(topic).unwrap_or_else(|| panic!("{topic} is not in {line}"));
    let rest = rest.trim_start_matches(" partitions ").trim_start_matches(" partition ");
    let numbers = rest.split(':').next().unwrap_or_default();
    numbers.split(", ").map(|number| number.parse().unwrap_or_else(|_| panic!("no number: {line}"))).collect()
}

#[test]
fn partitions_without_a_leader_are_said() {
    let mut broker = Broker::cluster(3, &["default.replication.factor=1", "min.insync.replicas=1"]);
    let topic = Kafka::at(&broker.address).topic(6);
    topic.send(["a"; 6]);
    let mut run = word_count(&topic.address, &topic.name).with("-e 10ms -w 2").start();
    let mut replay = Replay::default();
    let mut until = |run: &mut crate::support::program::Running, total| {
        run.rows_until(|line| {
            replay.apply(Change::parse(line));
            replay.total() == total
        });
    };
    until(&mut run, 6);
    broker.kill_one(2);
    let line = run.wait_stderr("no leader since");
    let lost = named(&line, &topic.name);
    assert!((1..6).contains(&lost.len()), "{line}");
    // The others are read, and that is no answer of the broker that is down.
    let writer = topic.writer();
    (0..6)
        .filter(|partition| !lost.contains(partition))
        .for_each(|partition| writer.send(partition, Some(b"b")));
    writer.flush();
    let led = 6 - lost.len() as i64;
    until(&mut run, 6 + led);
    // Another one may have been slow to answer, on a machine that is busy; that one is down.
    let down = broker.address.split(',').nth(1).expect("the address of each").to_owned();
    let answers = run.lines_with("answers again");
    assert!(!answers.iter().any(|line| line.contains(&down) || line.contains("a broker ")), "{answers:?}");

    // At the start, too: in words, and not for ever.
    let ended = bounded(&topic).with("--connect-timeout 12s").run().expect(1);
    ended.says(&["no leader since", &topic.name]);
    ended.fails(1, &["no leader within 12s", &topic.name]);

    broker.start_again();
    run.wait_stderr("a leader again");
    lost.iter().for_each(|&partition| writer.send(partition, Some(b"b")));
    writer.flush();
    until(&mut run, 12);
    run.signal(SIGTERM);
    run.wait().expect(0);
}
