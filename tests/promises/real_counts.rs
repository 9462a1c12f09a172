//! Counts equal a recount, for every number of workers and processes.

use crate::support::broker::real;
use crate::support::kafka::Topic;
use crate::support::program::word_count;
use crate::support::rows::{Replay, assert_counts, finals, recount};
use crate::support::text::{licenses, zipf};

/// Workers and processes.
pub const SHAPES: [(usize, usize); 6] = [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)];

fn check(lines: &[String], check: impl Fn(&Topic, &str)) {
    let topic = real().topic(4);
    topic.send(lines);
    for (workers, processes) in SHAPES {
        check(&topic, &format!("--until-end -w {workers} -n {processes}"));
    }
}

fn check_final(lines: &[String]) {
    let expected = recount(lines);
    check(lines, |topic, shape| {
        let rows = word_count(&topic.address, &topic.name).with(shape).with("--emit final").rows();
        assert_counts(&finals(&rows), &expected);
    });
}

fn check_changes(lines: &[String]) {
    let expected = recount(lines);
    check(lines, |topic, shape| {
        let rows =
            word_count(&topic.address, &topic.name).with(shape).with("-e 20ms --max-records 20000").rows();
        assert_counts(Replay::of(&rows).counts(), &expected);
    });
}

#[test]
fn final_rows_of_real_text() {
    check_final(licenses());
}

#[test]
fn final_rows_of_a_million_words() {
    check_final(zipf());
}

#[test]
fn changes_of_real_text_add_up() {
    check_changes(licenses());
}

#[test]
fn changes_of_a_million_words_add_up() {
    check_changes(zipf());
}
