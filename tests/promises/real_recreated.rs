//! Topics that are deleted and recreated under the same name: their offsets mean other records, and no run mixes the two.

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use crate::support::broker::real;
use crate::support::kafka::Topic;
use crate::support::program::{Program, Running, cutwater, word_count};
use crate::support::rows::{Change, Replay, assert_counts, finals, recount};
use crate::support::unique;

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

/// Deletes a topic and makes another of the same name.
fn recreate(topic: &Topic) {
    topic.delete();
    real().named_topic(&topic.name, topic.partitions);
}

/// Waits until the rows add up to the recount of these lines.
fn until_counted<S: AsRef<str>>(run: &mut Running, replay: &mut Replay, lines: &[S]) {
    let total: i64 = recount(lines).values().sum();
    run.rows_until(|line| {
        replay.apply(Change::parse(line));
        replay.total() >= total
    });
    assert_counts(replay.counts(), &recount(lines));
}

/// As soon as it is recreated, the new topic has more records than were read of the old one: the client, which notices
/// only that it has to ask for the topic's leader again, would go on where it was. Nothing of the new one may be published.
#[test]
fn a_topic_that_is_recreated_while_it_is_read_ends_the_run_before_its_records_are_published() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state");
    let state = state.to_str().expect("text");
    for (shape, matched) in
        [("-w 1", false), ("-w 2 -n 2", false), ("-w 1", true), (&format!("-w 1 --state {state}"), false)]
    {
        let topic = real().topic(1);
        let old = numbered("old", 10);
        topic.send(&old);
        let name = if matched { format!("^{}", topic.name.replace('.', "\\.")) } else { topic.name.clone() };
        let start = || word_count(&topic.address, &name).with("-e 10ms").with(shape);
        let mut run = start().start();
        until_counted(&mut run, &mut Replay::default(), &old);
        recreate(&topic);
        topic.send(numbered("new", 20));
        let ended = run.wait().expect(1);
        ended.says(&[&topic.name, "was deleted and recreated"]);
        assert_counts(Replay::of(&ended.stdout).counts(), &recount(&old));
        if shape.contains("--state") {
            start().run().fails(1, &["doesn't fit this run", &topic.name, "was deleted and recreated"]);
        }
    }
}

#[test]
fn a_topic_that_joins_a_running_job_is_told_from_a_later_one_of_its_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state");
    let prefix = unique();
    real().named_topic(&format!("{prefix}-a"), 1).send(["a"]);
    let start =
        || word_count(&real().address, &format!("^{prefix}-.*")).with("-e 10ms --state").args([&state]);
    let mut run = start().start();
    let mut replay = Replay::default();
    until_counted(&mut run, &mut replay, &["a"]);
    let joining = real().named_topic(&format!("{prefix}-b"), 1);
    joining.send(["b"]);
    until_counted(&mut run, &mut replay, &["a", "b"]);
    // Its rows have left, so its id is stored, whatever becomes of the run.
    run.signal(SIGKILL);
    drop(run.wait());
    let shown = cutwater(["state"]).args([&state]).rows();
    let line = shown.iter().find(|line| line.contains(&joining.name)).expect("the state names the topic");
    assert!(line.starts_with("topic ") && line.contains(", id "), "{line}");
    recreate(&joining);
    joining.send(["c"]);
    start().run().fails(1, &["doesn't fit this run", &joining.name, "was deleted and recreated"]);
}

/// A job with two outputs to topics: rows, and dead letters.
fn job(input: &Topic, output: &Topic, dead: &Topic, group: &str) -> Program {
    let sinks = [format!("kafka:{}", output.name), format!("kafka:{}", dead.name)];
    word_count(&input.address, &input.name).args([
        "-X",
        &format!("group.id={group}"),
        "-e",
        "10ms",
        "-o",
        &sinks[0],
        "--dead-letter",
        &sinks[1],
    ])
}

#[test]
fn an_output_topic_that_is_recreated_between_two_runs_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for recreated in [0, 1] {
        let (input, topics, group) = (real().topic(1), [real().topic(1), real().topic(1)], unique());
        let state = folder.path().join(recreated.to_string());
        let start = || job(&input, &topics[0], &topics[1], &group).with("--until-end --state").args([&state]);
        input.send(["a b"]);
        start().run().expect(0);
        assert_eq!(topics[0].records().len(), 2);
        input.send(["c"]);
        recreate(&topics[recreated]);
        let name = &topics[recreated].name;
        start().run().fails(1, &["doesn't fit this run", "output topic", name, "recreated", "lacks"]);
        assert_eq!(topics[recreated].records().len(), 0);
    }
}

#[test]
fn an_output_topic_that_is_recreated_during_a_run_ends_it() {
    let (input, output, dead) = (real().topic(1), real().topic(1), real().topic(1));
    for recreated in [&output, &dead] {
        let run = job(&input, &output, &dead, &unique()).start();
        run.wait_stderr("1 partition");
        recreate(recreated);
        let ended = run.wait().expect(1);
        ended.says(&[&recreated.name, "was deleted and recreated"]);
    }
}

#[test]
fn a_topic_that_is_named_and_deleted_ends_the_run() {
    let topic = real().topic(1);
    topic.send(["a"]);
    let mut run = word_count(&topic.address, &topic.name).with("-e 10ms").start();
    until_counted(&mut run, &mut Replay::default(), &["a"]);
    topic.delete();
    run.wait().fails(1, &[&topic.name, "was the topic deleted?"]);
}

#[test]
fn a_running_job_survives_that_one_topic_of_an_expression_is_deleted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state");
    let prefix = unique();
    let [old, new] = ["old", "new"].map(|name| real().named_topic(&format!("{prefix}-{name}"), 2));
    old.send(["a", "b"]);
    new.send(["a", "c"]);
    let start =
        || word_count(&real().address, &format!("^{prefix}-.*")).with("-e 10ms -w 2 --state").args([&state]);
    let mut run = start().start();
    let mut replay = Replay::default();
    until_counted(&mut run, &mut replay, &["a", "b", "a", "c"]);
    old.delete();
    run.wait_stderr(&format!("topic {} was deleted", old.name));
    new.send(["d"]);
    until_counted(&mut run, &mut replay, &["a", "b", "a", "c", "d"]);
    run.signal(SIGTERM);
    let ended = run.wait().expect(0);
    let warnings = ended.stderr.iter().filter(|line| line.contains(&old.name) && line.contains("WARN"));
    assert_eq!(warnings.count(), 1, "{:?}", ended.stderr);

    // All that was read of it lies below the checkpoint.
    new.send(["e"]);
    let mut run = start().start();
    run.wait_stderr("the checkpoint of epoch");
    until_counted(&mut run, &mut replay, &["a", "b", "a", "c", "d", "e"]);
    run.signal(SIGTERM);
    let ended = run.wait().expect(0);
    let warnings = ended.stderr.iter().filter(|line| line.contains(&old.name) && line.contains("WARN"));
    assert_eq!(warnings.count(), 1, "{:?}", ended.stderr);
}

#[test]
fn records_that_would_have_to_be_replayed_are_missed_with_their_topic() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for shape in ["-w 1", "-w 1 -n 2"] {
        let state = folder.path().join(shape.replace(' ', ""));
        let prefix = unique();
        let [old, new] = ["old", "new"].map(|name| real().named_topic(&format!("{prefix}-{name}"), 2));
        let start = |more: &str| {
            word_count(&real().address, &format!("^{prefix}-.*"))
                .with(&format!("-e 10ms --checkpoint 1h {shape} {more} --state"))
                .args([&state])
        };
        old.send(["a", "b", "c"]);
        new.send(["a", "d"]);
        let mut run = start("").start();
        until_counted(&mut run, &mut Replay::default(), &["a", "b", "c", "a", "d"]);
        run.signal(SIGKILL);
        drop(run.wait());
        old.delete();
        let ended = start("").run().expect(1);
        ended.says(&[&old.name, "was deleted", "3 records", "--on-data-loss continue"]);
        new.send(["e"]);
        let ended = start("--until-end --emit final --on-data-loss continue").run().expect(0);
        ended.says(&[&old.name, "was deleted", "resuming without 3 records"]);
        assert_counts(&finals(&ended.stdout), &recount(["a", "d", "e"]));
        // The checkpoint at the end needs nothing of it.
        let ended = start("--until-end --emit final").run().expect(0);
        assert_counts(&finals(&ended.stdout), &recount(["a", "d", "e"]));
    }
}
