//! Topics and partitions: those that are missing, those that come later, those without records.

use nix::sys::signal::Signal::SIGTERM;

use crate::support::broker::real;
use crate::support::program::{Running, word_count};
use crate::support::rows::{Change, Replay, assert_counts, finals, recount};
use crate::support::unique;

/// Waits until the rows add up to the recount of `lines`.
fn until_counted(run: &mut Running, replay: &mut Replay, lines: &[&str]) {
    let expected = recount(lines);
    let total: i64 = expected.values().sum();
    run.rows_until(|line| {
        replay.apply(Change::parse(line));
        replay.total() >= total
    });
    assert_counts(replay.counts(), &expected);
}

#[test]
fn a_missing_topic_is_an_error_that_names_close_ones() {
    let name = unique();
    let close = format!("{name}-lines");
    real().named_topic(&close, 1);
    for shape in ["-w 1", "-w 2 --until-end"] {
        let ended = word_count(&real().address, &format!("{name}-line")).with(shape).run();
        ended.fails(1, &["there is no topic", &format!("{name}-line"), &format!("did you mean {close:?}")]);
    }
    let ended = word_count(&real().address, &format!("{name}-line")).with("-n 2").run().expect(1);
    ended.says(&["there is no topic", "did you mean"]);
}

#[test]
fn an_expression_reads_topics_that_match_now_and_later() {
    let prefix = unique();
    real().named_topic(&format!("not-{prefix}-a"), 1).send(["wrong"]);
    let mut run = word_count(&real().address, &format!("^{prefix}-.*")).with("-w 2 -e 10ms").start();
    run.wait_stderr("no topic matches");
    let mut replay = Replay::default();
    real().named_topic(&format!("{prefix}-a"), 2).send(["a b", "b"]);
    until_counted(&mut run, &mut replay, &["a b", "b"]);
    real().named_topic(&format!("{prefix}-b"), 3).send(["b c", "d", "d"]);
    until_counted(&mut run, &mut replay, &["a b", "b", "b c", "d", "d"]);
    run.signal(SIGTERM);
    let ended = run.wait().expect(0);
    assert_counts(Replay::of(&ended.stdout).counts(), &recount(["a b", "b", "b c", "d", "d"]));

    let rows = word_count(&real().address, &format!("^{prefix}-.")).with("--until-end --emit final").rows();
    assert_counts(&finals(&rows), &recount(["a b", "b", "b c", "d", "d"]));
}

#[test]
fn several_topics_are_one_input() {
    let (first, second) = (real().topic(1), real().topic(3));
    first.send(["a b", "c"]);
    second.send(["a", "a d", "e"]);
    let rows = word_count(&first.address, &first.name)
        .args(["-t", &format!("lines={}", second.name), "--until-end", "--emit", "final", "-w", "2"])
        .rows();
    assert_counts(&finals(&rows), &recount(["a b", "c", "a", "a d", "e"]));
}

#[test]
fn new_partitions_are_read_from_their_first_record() {
    let mut topic = real().topic(1);
    topic.send(["a b"]);
    let mut runs: Vec<(Running, Replay)> = ["-w 1", "-w 2 -n 2"]
        .into_iter()
        .map(|shape| word_count(&topic.address, &topic.name).with("-e 10ms").with(shape).start())
        .map(|run| (run, Replay::default()))
        .collect();
    for (run, replay) in &mut runs {
        until_counted(run, replay, &["a b"]);
    }
    topic.grow(5);
    // Before any run can know of them.
    topic.send(["a", "b", "c", "d", "e"]);
    for (mut run, mut replay) in runs {
        until_counted(&mut run, &mut replay, &["a b", "a", "b", "c", "d", "e"]);
        run.signal(SIGTERM);
        run.wait().expect(0);
    }
}

#[test]
fn workers_without_partitions_hold_nothing_back() {
    let topic = real().topic(1);
    topic.send(["a b", "c"]);
    let mut run = word_count(&topic.address, &topic.name).with("-w 3 -n 2 -e 10ms").start();
    let mut replay = Replay::default();
    until_counted(&mut run, &mut replay, &["a b", "c"]);
    topic.send(["d"]);
    until_counted(&mut run, &mut replay, &["a b", "c", "d"]);
    run.signal(SIGTERM);
    run.wait().expect(0);
}

#[test]
fn an_empty_topic_ends_at_once() {
    let topic = real().topic(3);
    for shape in ["-w 1", "-w 4", "-w 2 -n 2"] {
        for emit in ["changes", "final"] {
            let program = word_count(&topic.address, &topic.name).with("--until-end --emit").args([emit]);
            let ended = program.with(shape).run().expect(0);
            assert!(ended.stdout.is_empty(), "{:?}", ended.stdout);
            ended.says(&["done: 0 records"]);
        }
    }
}
