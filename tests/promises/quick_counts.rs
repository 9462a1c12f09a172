//! Counts equal a recount, on the in-process broker.

use crate::support::broker::mock;
use crate::support::program::word_count;
use crate::support::rows::{Replay, assert_counts, finals, recount};
use crate::support::text::{licenses, zipf_lines};

#[test]
fn of_real_text() {
    let topic = mock().topic(4);
    topic.send(licenses());
    let expected = recount(licenses());
    for shape in ["-w 1", "-w 3", "-w 2 -n 2"] {
        let rows =
            word_count(&topic.address, &topic.name).with("--until-end --emit final").with(shape).rows();
        assert_counts(&finals(&rows), &expected);
    }
}

#[test]
fn of_changes_that_add_up() {
    let topic = mock().topic(3);
    let lines = zipf_lines(2, 100_000);
    topic.send(&lines);
    let expected = recount(&lines);
    for shape in ["-w 2", "-w 1 -n 2"] {
        // Small epochs, so that there are some.
        let rows = word_count(&topic.address, &topic.name)
            .with("--until-end -e 1ms --max-records 500")
            .with(shape)
            .rows();
        let mut replay = Replay::of(&rows);
        assert_counts(replay.counts(), &expected);
        assert!(replay.epoch > 3, "{} epochs", replay.epoch);
    }
}
