//! Rows to Kafka topics, exactly once: an epoch is one transaction of all outputs and the group's offsets.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP, SIGTERM};
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::support::broker::{Broker, real};
use crate::support::committed::{Seen, Watch, held, latest, read, read_uncommitted, settle};
use crate::support::kafka::{Kafka, Topic};
use crate::support::load::Load;
use crate::support::program::word_count;
use crate::support::rows::{Counts, Row, assert_counts, recount};
use crate::support::sinks::{Run, offset, settings};
use crate::support::{DEADLINE, unique};

/// Waits until `what` holds.
#[track_caller]
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "this was waited for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What one of Kafka's own tools prints about a cluster.
fn tool(address: &str, args: &[&str]) -> String {
    let shown = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka"))
        .args(["tool", args[0], "--bootstrap-server", address])
        .args(&args[1..])
        .output()
        .expect("the tool runs");
    String::from_utf8_lossy(&shown.stdout).into_owned()
}

/// Each epoch up to `last` has its rows, each once: at once or soon, as brokers learn of the end of a transaction after who
/// has ended it.
#[track_caller]
fn assert_epochs(topic: &Topic, last: u64, rows: usize) {
    let expected: BTreeMap<u64, usize> = (1..=last).map(|epoch| (epoch, rows)).collect();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let records = read(topic);
        latest(&records);
        let mut epochs: BTreeMap<u64, usize> = BTreeMap::new();
        for record in &records {
            *epochs.entry(record.epoch.expect("a header epoch")).or_default() += 1;
        }
        // What is committed stays: more than is expected does not become less.
        let lacks = expected.iter().any(|(epoch, rows)| epochs.get(epoch).is_none_or(|found| found < rows));
        if !lacks || Instant::now() > deadline {
            return assert_eq!(epochs, expected, "{}", topic.name);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The group holds this epoch of the job, and its offset.
#[track_caller]
fn assert_held(input: &Topic, group: &str, job: &str, epoch: u64) {
    let held = &held(input, group)[&0];
    assert_eq!(held.metadata, format!(r#"{{"job":"{job}","epoch":{epoch}}}"#));
    assert_eq!(held.offset, offset(epoch));
}

#[test]
fn an_epoch_of_all_outputs_is_seen_whole_or_not_at_all() {
    let (input, one, two) = (real().topic(1), real().topic(2), real().topic(1));
    let (group, job) = (unique(), unique());
    let mut run = Run::open(&settings(&input.address, &[]), &group, &input, &[&one, &two]);
    assert_eq!(run.resume(&run.ledger(&job, 0, 0)).expect("it goes on"), 0);
    for epoch in 1..=3 {
        let before = (read(&one), read(&two), held(&input, &group));
        run.write(epoch, 20).expect("rows");
        wait_for("the rows are in the topics", || {
            let all = epoch as usize * 20;
            read_uncommitted(&one).len() == all && read_uncommitted(&two).len() == all
        });
        assert_eq!((read(&one), read(&two), held(&input, &group)), before, "epoch {epoch} is seen too early");
        run.commit(epoch).expect("it is committed");
        assert_epochs(&one, epoch, 20);
        assert_epochs(&two, epoch, 20);
        assert_held(&input, &group, &job, epoch);
    }
    // Nothing changed, but something was read.
    run.publish(4, 0).expect("it is committed");
    assert_epochs(&one, 3, 20);
    assert_held(&input, &group, &job, 4);
    // Kafka's own tools show it.
    let shown = tool(&input.address, &["consumer-groups", "--describe", "--group", &group]);
    let line = shown.lines().find(|line| line.contains(&input.name)).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.split_whitespace().any(|word| word == offset(4).to_string()), "{line}");
}

#[test]
fn a_job_goes_on_after_what_its_topics_hold() {
    let (input, output) = (real().topic(1), real().topic(2));
    let (group, job) = (unique(), unique());
    let open = || Run::open(&settings(&input.address, &[]), &group, &input, &[&output]);
    let mut last = 0;
    for (committed, written) in [(false, 0), (false, 7), (true, 7), (false, 7)] {
        let mut run = open();
        // What the ledger knows to be published is always behind.
        let held = run.resume(&run.ledger(&job, last - last.min(1), last + 2)).expect("it goes on");
        assert_eq!(held, last);
        run.publish(held + 1, 7).expect("epoch");
        last = held + 1;
        // Then it dies: between producing and committing, or before it can say that it has committed.
        run.write(last + 1, written).expect("rows");
        if committed {
            run.commit(last + 1).expect("epoch");
            last += 1;
        }
        std::mem::forget(run);
    }
    let mut run = open();
    assert_eq!(run.resume(&run.ledger(&job, 1, last + 3)).expect("it goes on"), last);
    run.publish(last + 1, 7).expect("epoch");
    assert_epochs(&output, last + 1, 7);
    assert_held(&input, &group, &job, last + 1);

    let mut behind = open();
    let error = behind.resume(&behind.ledger(&job, 1, 2)).expect_err("the ledger is behind").to_string();
    assert!(error.contains(&format!("hold epoch {}", last + 1)), "{error}");
    let mut other = open();
    let error = other.resume(&other.ledger("another", 0, 1)).expect_err("the group is taken").to_string();
    assert!(error.contains("another job uses the group") && error.contains("-X group.id=NAME"), "{error}");
    // Also where it learns of the partition later.
    let mut other = open();
    assert_eq!(other.resume(&other.ledger("another", 0, 0)).expect("a fresh job"), 0);
    let error = other.publish(1, 1).expect_err("the group is taken").to_string();
    assert!(error.contains("another job uses the group"), "{error}");
    assert_epochs(&output, last + 1, 7);
}

/// Two runs of a job. The first has published epochs up to `last` and written the rows of the next one when the second
/// resumes from there.
fn one_after_the_other<'a>(open: &dyn Fn() -> Run<'a>, job: &str, last: u64) -> (Run<'a>, Run<'a>) {
    let mut one = open();
    assert_eq!(one.resume(&one.ledger(job, 0, 0)).expect("it goes on"), 0);
    (1..=last).for_each(|epoch| one.publish(epoch, 5).expect("epoch"));
    one.write(last + 1, 5).expect("rows");
    let mut two = open();
    assert_eq!(two.resume(&two.ledger(job, last, last + 1)).expect("it goes on"), last);
    (one, two)
}

#[test]
fn a_zombie_writes_nothing() {
    // Whosever turn it is.
    for last in [1, 2] {
        let (input, output) = (real().topic(1), real().topic(1));
        let (group, job) = (unique(), unique());
        let open = || Run::open(&settings(&input.address, &[]), &group, &input, &[&output]);
        let (mut zombie, mut run) = one_after_the_other(&open, &job, last);
        (last + 1..last + 3).for_each(|epoch| run.publish(epoch, 5).expect("epoch"));
        let error = format!("{:#}", zombie.commit(last + 1).expect_err("it is fenced"));
        assert!(error.contains("another run has taken over"), "{error}");
        assert!(error.contains(&format!("epoch {}", last + 2)), "{error}");
        // The other one is not disturbed.
        run.publish(last + 3, 5).expect("epoch");
        assert_epochs(&output, last + 3, 5);
        assert_held(&input, &group, &job, last + 3);
    }
}

/// Both write what the ledger says, so it does not matter whose transaction it was.
#[test]
fn of_two_runs_that_fence_each_other_each_epoch_is_there_once() {
    // Whosever turn it is, and whether or not the second has begun to write when the first commits.
    for (last, begun) in [(1, true), (2, true), (1, false), (2, false)] {
        let (input, output) = (real().topic(1), real().topic(1));
        let (group, job) = (unique(), unique());
        let open = || Run::open(&settings(&input.address, &[]), &group, &input, &[&output]);
        let (mut one, mut two) = one_after_the_other(&open, &job, last);
        if begun {
            two.write(last + 1, 5).expect("rows");
        }
        one.commit(last + 1).expect("it is retried with another producer");
        if !begun {
            two.write(last + 1, 5).expect("rows");
        }
        two.commit(last + 1).expect("it is there");
        assert_epochs(&output, last + 1, 5);
        assert_held(&input, &group, &job, last + 1);
    }
}

/// The end of a topic's partition 0, control records included.
fn end(topic: &Topic) -> i64 {
    let consumer: BaseConsumer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", &topic.address).create().expect("a consumer");
    consumer.fetch_watermarks(&topic.name, 0, DEADLINE).expect("an answer").1
}

#[test]
fn a_transaction_that_the_broker_has_given_up_is_done_anew() {
    let (input, output) = (real().topic(1), real().topic(1));
    let (group, job) = (unique(), unique());
    let settings = settings(&input.address, &[("transaction.timeout.ms", "1000")]);
    let mut run = Run::open(&settings, &group, &input, &[&output]);
    assert_eq!(run.resume(&run.ledger(&job, 0, 0)).expect("it goes on"), 0);
    run.publish(1, 5).expect("epoch");
    let before = end(&output);
    run.write(2, 5).expect("rows");
    wait_for("the rows, and the mark that they are aborted", || end(&output) == before + 6);
    run.commit(2).expect("it is retried");
    run.publish(3, 5).expect("epoch");
    assert_epochs(&output, 3, 5);
    assert_held(&input, &group, &job, 3);
}

#[test]
fn transactions_go_on_when_the_broker_is_killed_in_their_middle() {
    // One alone that is killed may lose the ends of transactions: see docs/guarantees.md.
    let mut broker = Broker::cluster(3, &[]);
    let kafka = Kafka::at(&broker.address);
    // A thread of its own has it, which this test outlives only where it fails.
    let input: &'static Topic = Box::leak(Box::new(kafka.topic(1)));
    let output = kafka.topic(2);
    let (group, job) = (unique(), unique());
    // Shorter than the broker is away: transactions and records time out meanwhile.
    let properties = [("reconnect.backoff.max.ms", "200"), ("transaction.timeout.ms", "1000")];
    let settings = settings(&input.address, &properties);
    let mut run = Run::open(&settings, &group, input, &[&output]);
    assert_eq!(run.resume(&run.ledger(&job, 0, 0)).expect("it goes on"), 0);
    let (reached, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let publishing = std::thread::spawn({
        let (reached, stop) = (Arc::clone(&reached), Arc::clone(&stop));
        move || {
            let mut epoch = 0;
            while !stop.load(Ordering::Relaxed) {
                epoch += 1;
                run.publish(epoch, 50).expect("epoch");
                reached.store(epoch, Ordering::Relaxed);
            }
            epoch
        }
    });
    let more = || {
        let before = reached.load(Ordering::Relaxed);
        wait_for("some epochs", || reached.load(Ordering::Relaxed) > before + 20);
    };
    let mut watch = Watch::default();
    let kill_one = |broker: &Broker| broker.kill_one(1);
    for end in [&kill_one as &dyn Fn(&Broker), &Broker::stop] {
        more();
        watch.look(input, &group);
        end(&broker);
        broker.start_again();
    }
    more();
    stop.store(true, Ordering::Relaxed);
    let last = publishing.join().expect("all is published");
    watch.look(input, &group);
    assert_epochs(&output, last, 50);
    assert_held(input, &group, &job, last);
}

/// The broker that coordinates the transactions of this id.
fn coordinator(kafka: &Kafka, id: &str) -> usize {
    let shown = tool(&kafka.address, &["transactions", "describe", "--transactional-id", id]);
    shown.lines().last().and_then(|line| line.split_whitespace().next()?.parse().ok()).expect(&shown)
}

/// A broker takes a record whose number it knows for one that it has. So a record that has arrived, but was not
/// acknowledged before its transaction failed, must not give its number to one of the next transaction.
#[test]
fn rows_that_arrived_in_a_failed_transaction_are_written_again() {
    // Where one broker stands still, rows and offsets wait for it, but not what transactions themselves need.
    let broker = Broker::cluster(
        3,
        &[
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "broker.session.timeout.ms=60000",
        ],
    );
    let kafka = Kafka::at(&broker.address);
    let (input, output) = (kafka.topic(1), kafka.topic(3));
    let (group, job) = (unique(), unique());
    let settings = settings(&input.address, &[("socket.timeout.ms", "1000")]);
    let mut run = Run::open(&settings, &group, &input, &[&output]);
    assert_eq!(run.resume(&run.ledger(&job, 0, 0)).expect("it goes on"), 0);
    let coordinators = [0, 1].map(|turn| coordinator(&kafka, &format!("cutwater-{job}-{turn}")));
    let other = (1..=3).find(|id| !coordinators.contains(id)).expect("one of three");
    run.publish(1, 60).expect("epoch");
    broker.signal_one(other, SIGSTOP);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // This is what is tested, nothing is waited for: longer than committing offsets may take.
            std::thread::sleep(Duration::from_secs(13));
            broker.signal_one(other, SIGCONT);
        });
        run.publish(2, 60).expect("it is retried");
    });
    run.publish(3, 60).expect("epoch");
    assert_epochs(&output, 3, 60);
    assert_held(&input, &group, &job, 3);
}

#[test]
fn a_record_that_can_never_be_written_is_an_error() {
    let (input, output) = (real().topic(1), real().topic(1));
    // The client takes it, the broker does not.
    let settings = settings(&input.address, &[("message.max.bytes", "4000000")]);
    let mut run = Run::open(&settings, &unique(), &input, &[&output]);
    assert_eq!(run.resume(&run.ledger(&unique(), 0, 0)).expect("it goes on"), 0);
    run.write_large(1, 3_000_000).expect("a row");
    let error = format!("{:#}", run.commit(1).expect_err("it is too large"));
    assert!(error.contains("too large") && error.contains(&output.name), "{error}");
}

fn counts(records: &[Seen]) -> Counts {
    let row = |value: &String| serde_json::from_str::<Row>(value).expect("a row");
    latest(records).values().map(|value| (row(value).word, row(value).count)).collect()
}

#[test]
fn the_groups_offsets_move_with_the_rows() {
    let (topic, output) = (real().topic(3), real().topic(2));
    let load = Load::start(&topic);
    let group = unique();
    let to =
        ["-o".to_owned(), format!("kafka:{}", output.name), "-X".to_owned(), format!("group.id={group}")];
    let run = word_count(&topic.address, &topic.name).with("-e 10ms -w 2").args(&to).start();
    let mut watch = Watch::default();
    let mut epoch = 0;
    wait_for("twenty epochs", || {
        let records = read(&output);
        epoch = watch.look(&topic, &group);
        // Rows of no epoch after the one that the group holds were there before.
        assert!(records.iter().all(|record| record.epoch <= Some(epoch)), "rows before their offsets");
        epoch > 20
    });
    let lines = load.finish();
    let sizes: BTreeMap<i32, i64> = (0..).zip(lines.iter().map(|lines| lines.len() as i64)).collect();
    wait_for("all is read", || topic.committed(&group) == sizes);
    run.signal(SIGTERM);
    run.wait().expect(0);
    settle(&output);
    assert_counts(&counts(&read(&output)), &recount(lines.iter().flatten()));
    let (job, last) =
        held(&topic, &group).values().map(|held| held.mark()).max_by_key(|mark| mark.1).expect("marks");
    assert!(job.starts_with("run-"), "{job}");
    assert_eq!(read(&output).iter().filter_map(|record| record.epoch).max(), Some(last));
    // It starts over in the same group, with a name of its own.
    let output = real().topic(1);
    let program = word_count(&topic.address, &topic.name).args(["-X", &format!("group.id={group}")]);
    program.with("--until-end --emit final").args(["-o", &format!("kafka:{}", output.name)]).run().expect(0);
    settle(&output);
    let records = read(&output);
    assert!(records.iter().all(|record| record.epoch.is_none()));
    assert_counts(&counts(&records), &recount(lines.iter().flatten()));
}

#[test]
fn a_process_that_stood_still_for_longer_than_its_transaction_goes_on() {
    let (topic, output) = (real().topic(2), real().topic(2));
    let load = Load::start(&topic);
    let group = unique();
    let run = word_count(&topic.address, &topic.name)
        .with("-e 1ms -X transaction.timeout.ms=1000 --log info,librdkafka=error")
        .args(["-o", &format!("kafka:{}", output.name), "-X", &format!("group.id={group}")])
        .start();
    let (mut seen, mut stops) = (0, 0);
    // Until a stop has met an open transaction, which is short.
    while !run.has_said("; writing epoch") {
        stops += 1;
        // On most machines it takes one to three.
        assert!(stops <= 250, "no stop met an open transaction");
        wait_for("more rows", || {
            let now = read(&output).len();
            now > seen + 300 && {
                seen = now;
                true
            }
        });
        run.signal(SIGSTOP);
        // This is what is tested, nothing is waited for: the time-out passes, and the broker notices.
        std::thread::sleep(Duration::from_millis(2500));
        run.signal(SIGCONT);
    }
    let lines = load.finish();
    let sizes: BTreeMap<i32, i64> = (0..).zip(lines.iter().map(|lines| lines.len() as i64)).collect();
    wait_for("all is read", || topic.committed(&group) == sizes);
    run.signal(SIGTERM);
    run.wait().expect(0);
    settle(&output);
    assert_counts(&counts(&read(&output)), &recount(lines.iter().flatten()));
}
