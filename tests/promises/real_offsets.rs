//! Offsets: gaps, expired ones, and where to start.

use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::producer::Producer;

use crate::support::DEADLINE;
use crate::support::broker::real;
use crate::support::committed::{read, settle};
use crate::support::kafka::Topic;
use crate::support::program::{Program, word_count};
use crate::support::rows::{Change, Replay, assert_counts, finals, recount};
use crate::support::unique;

fn bounded(topic: &Topic) -> Program {
    word_count(&topic.address, &topic.name).with("--until-end --emit final")
}

#[test]
fn only_committed_records_are_read() {
    let topic = real().topic(2);
    let writer = topic.transactions();
    let (mut committed, mut aborted) = (Vec::new(), Vec::new());
    for number in 0..6 {
        writer.producer.begin_transaction().expect("a transaction begins");
        for part in 0..3 {
            let line = format!("word{number} word{part} all");
            writer.send(part % 2, Some(line.as_bytes()));
            if number % 3 == 0 { &mut committed } else { &mut aborted }.push(line);
        }
        // The last ones are aborted: the last offsets are those of no record that is read.
        if number % 3 == 0 {
            writer.producer.commit_transaction(DEADLINE).expect("it is committed");
        } else {
            writer.flush();
            writer.producer.abort_transaction(DEADLINE).expect("it is aborted");
        }
    }
    settle(&topic);
    for shape in ["-w 1", "-w 3", "-w 1 -n 2"] {
        assert_counts(&finals(&bounded(&topic).with(shape).rows()), &recount(&committed));
    }
    let all = recount(committed.iter().chain(&aborted));
    assert_counts(&finals(&bounded(&topic).with("-X isolation.level=read_uncommitted").rows()), &all);

    // What is not committed yet is past the end.
    writer.producer.begin_transaction().expect("a transaction begins");
    writer.send(0, Some(b"open"));
    writer.flush();
    assert_counts(&finals(&bounded(&topic).rows()), &recount(&committed));
    writer.producer.commit_transaction(DEADLINE).expect("it is committed");
    committed.push("open".to_owned());
    settle(&topic);
    assert_counts(&finals(&bounded(&topic).rows()), &recount(&committed));
}

#[test]
fn expired_records_are_an_error_or_left_out() {
    let topic = real().topic(2);
    topic.send(["a", "b", "c", "d", "e", "f", "g", "h"]);
    topic.expire(1, 3);
    let at_zero = || bounded(&topic).with("--from offset:0");
    for shape in ["", "-w 2"] {
        let (name, texts) = (&topic.name, ["partition 1", "offset 0 was wanted", "first available is 3"]);
        at_zero()
            .with(shape)
            .run()
            .fails(1, &[name, texts[0], texts[1], texts[2], "--on-data-loss continue"]);
    }
    at_zero().with("-n 2").run().expect(1).says(&["partition 1", "first available is 3"]);
    let left = recount(["a", "c", "e", "g", "h"]);
    let ended = at_zero().with("--on-data-loss continue -w 2").run().expect(0);
    assert_counts(&finals(&ended.stdout), &left);
    ended.says(&["partition 1", "3 records have expired"]);
    // The first record that is there is what earliest means.
    assert_counts(&finals(&bounded(&topic).rows()), &left);
}

#[test]
fn an_offset_beyond_the_end_is_an_error() {
    let topic = real().topic(1);
    topic.send(["a", "b"]);
    let ended = bounded(&topic).with("--from offset:3").run();
    ended.fails(1, &["partition 0", "offset 3 was wanted", "ends at 2"]);
}

#[test]
fn from_an_offset_or_a_time() {
    let topic = real().topic(2);
    topic.send(["a", "b", "c", "d"]);
    assert_counts(&finals(&bounded(&topic).with("--from offset:1 -w 2").rows()), &recount(["c", "d"]));
    assert_counts(&finals(&bounded(&topic).with("--from offset:2").rows()), &recount([""]));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis() as u64;
    let from = |ms: u64| bounded(&topic).args(["--from", &format!("timestamp:{ms}")]);
    assert_counts(&finals(&from(now - 3_600_000).rows()), &recount(["a", "b", "c", "d"]));
    assert_counts(&finals(&from(now + 3_600_000).rows()), &recount([""]));
}

#[test]
fn from_the_committed_offsets() {
    let topic = real().topic(2);
    let group = format!("group.id={}", unique());
    let committed = || bounded(&topic).args(["--from", "committed", "-X", &group]);
    topic.send(["a", "b", "c"]);
    assert_counts(&finals(&committed().rows()), &recount(["a", "b", "c"]));
    assert_counts(&finals(&committed().with("-w 2").rows()), &recount([""]));
    topic.send(["d", "e"]);
    assert_counts(&finals(&committed().with("-w 2 -n 2").rows()), &recount(["d", "e"]));
    // Another group has committed nothing: all there is.
    let rows = bounded(&topic).args(["--from", "committed", "-X", &format!("group.id={}", unique())]).rows();
    assert_counts(&finals(&rows), &recount(["a", "b", "c", "d", "e"]));
}

#[test]
fn from_the_latest_record() {
    let topic = real().topic(2);
    topic.send(["a", "b", "c"]);
    let program = word_count(&topic.address, &topic.name);
    let mut run = program.with("--from latest -e 1ms -w 1 --log debug,librdkafka=warn").start();
    // Where each partition begins is fixed from here on.
    run.wait_stderr("partition 0 from 2");
    run.wait_stderr("partition 1 from 1");
    topic.send(["d d", "e"]);
    let mut replay = Replay::default();
    run.rows_until(|line| {
        replay.apply(Change::parse(line));
        replay.total() >= 3
    });
    assert_counts(replay.counts(), &recount(["d d", "e"]));
    assert_counts(&finals(&bounded(&topic).with("--from latest").rows()), &recount([""]));
}

/// A look at a topic of a job that writes to Kafka, by the same group: the job goes on where it was.
#[test]
fn a_look_leaves_what_a_job_resumes_from() {
    let (lines, counts) = (real().topic(2), real().topic(1));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let group = format!("group.id={}", unique());
    let job = || {
        let job =
            word_count(&lines.address, &lines.name).args(["-X", &group, "--state"]).args([folder.path()]);
        job.args(["-o", &format!("kafka:{}", counts.name)]).with("--until-end")
    };
    let look = || word_count(&lines.address, &lines.name).args(["-X", &group]).with("--until-end -o none");
    // Nobody has marked anything: a look may commit.
    lines.send(["a b", "c"]);
    let committed = |group: &str| lines.committed(group.trim_start_matches("group.id="));
    look().run().expect(0);
    assert_eq!(committed(&group).len(), 2);
    // It dies when the group says what the topics hold, and before the ledger does.
    job().env("CUTWATER_CRASH", "transaction-committed:1").run().says(&["killed at transaction-committed"]);
    lines.send(["d e"]);
    let before = committed(&group);
    look().run().expect(0).says(&["commits none to it", "-X group.id=NAME"]);
    assert_eq!(committed(&group), before);
    job().run().expect(0);
    let rows = read(&counts);
    assert_eq!(rows.len(), 5, "each word was written once: {rows:?}");
}
