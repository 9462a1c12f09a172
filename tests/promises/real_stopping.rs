//! Stopping: the open epoch is finished, what was read is published, and the group's offsets say what that was.

use std::io::Read;

use nix::sys::signal::Signal::{self, SIGINT, SIGTERM};

use crate::support::broker::real;
use crate::support::load::Load;
use crate::support::program::word_count;
use crate::support::rows::{Change, Replay, assert_counts, recount};
use crate::support::unique;

/// Stops a run under load: its rows are the recount of all records below the offsets that it has committed.
fn stop_under_load(signal: Signal, shape: &str, group: Option<&str>) {
    let topic = real().topic(4);
    let load = Load::start(&topic);
    let mut program = word_count(&topic.address, &topic.name).with("-e 20ms").with(shape);
    if let Some(group) = group {
        program = program.args(["-X", &format!("group.id={group}")]);
    }
    let mut run = program.start();
    run.rows_until(|line| Change::parse(line).epoch > 5);
    run.signal(signal);
    let ended = run.wait().expect(0);
    let written = load.finish();
    let committed = topic.committed(group.unwrap_or("cutwater-word-count"));
    assert_eq!(committed.len(), 4, "{committed:?}");
    let read = written.iter().zip(committed.values()).flat_map(|(lines, &end)| &lines[..end as usize]);
    assert_counts(Replay::of(&ended.stdout).counts(), &recount(read));
    ended.says(&["done: ", " records"]);
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("done: ")).count(), 1, "one summary");
}

#[test]
fn sigterm_finishes_what_was_read() {
    stop_under_load(SIGTERM, "-w 2", None);
}

#[test]
fn sigint_finishes_what_was_read() {
    stop_under_load(SIGINT, "", Some(&unique()));
}

#[test]
fn sigterm_to_the_supervisor_finishes_what_all_processes_read() {
    stop_under_load(SIGTERM, "-w 2 -n 2", Some(&unique()));
}

#[test]
fn sigint_to_the_supervisor_finishes_what_all_processes_read() {
    stop_under_load(SIGINT, "-n 2", Some(&unique()));
}

/// The first signal can't be obeyed, for nobody reads the rows. The second is.
fn stop_twice(shape: &str) {
    let topic = real().topic(2);
    let words: Vec<String> = (0..20_000).map(|number| format!("word{number}")).collect();
    topic.send_to(0, Some(words.join(" ").as_bytes()));
    let mut run = word_count(&topic.address, &topic.name).with("-e 1ms").with(shape).start_unread();
    let mut stdout = run.child.stdout.take().expect("a pipe");
    // The first of many rows: the pipe can't take them all.
    stdout.read_exact(&mut [0]).expect("a row");
    run.signal(SIGTERM);
    run.wait_stderr("once more to stop at once");
    run.signal(SIGTERM);
    let ended = run.wait().expect(1);
    ended.says(&["second signal: stopping now"]);
}

#[test]
fn a_second_signal_stops_at_once() {
    stop_twice("-w 2");
}

#[test]
fn a_second_signal_stops_all_processes_at_once() {
    stop_twice("-n 2");
}
