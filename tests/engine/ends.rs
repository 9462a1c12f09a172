//! How runs end: by themselves, when asked to, and by errors.

use std::collections::BTreeMap;
use std::sync::Arc;

use cutwater::feed::Place;
use cutwater::feed::seeded::{Cut, Handed, Manner, Seeded, World};
use cutwater::sink::Emit;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::word_count::Tokenizer;

use crate::harness::{DEADLINE, Published, Run, Trouble, add, advance, recount};

#[test]
fn a_world_without_records_ends_at_once() {
    for workers in 1..=3 {
        for partitions in [0, 3] {
            let feeds = Seeded::new(World::even(0, "lines", partitions, 0), Manner::default());
            let published = Run::of(&feeds, workers).published();
            assert!(published.epochs.iter().all(|epoch| epoch.rows.is_empty()));
            assert_eq!(published.check(feeds.world(), recount), feeds.handed().cut);
        }
    }
}

#[test]
fn a_feed_that_fails_ends_the_run_with_its_error() {
    for seed in 0..10 {
        for workers in 1..=3 {
            let world = World::even(seed, "lines", 5, 10);
            let fails_after = seed as usize * 5;
            let manner = Manner { fails_after: Some(fails_after), ..Manner::default() };
            let feeds = Seeded::new(world, manner);
            let (result, events) = Run::of(&feeds, workers).start().end();
            let error = result.expect_err("the feed has failed").to_string();
            assert!(error.contains("even partition") && error.contains("failed at offset"), "{error}");
            // What was published before is right, and the record that failed is not in it.
            Published::of(&events).check(feeds.world(), recount);
            assert_eq!(feeds.handed().records, fails_after, "nothing is read after a failure");
        }
    }
}

#[test]
fn a_sink_that_fails_ends_the_run_with_its_error() {
    for workers in 1..=3 {
        let feeds = Seeded::new(World::even(3, "lines", 5, 50), Manner::default());
        let mut run = Run { trouble: Trouble::FailAt(3), ..Run::of(&feeds, workers) };
        run.epochs.max_records = 5;
        let (result, events) = run.start().end();
        let error = result.expect_err("the sink has failed").to_string();
        assert!(error.contains("the sink of"), "{error}");
        let published = Published::of(&events);
        assert_eq!(published.epochs.len(), 2, "nothing comes out after the error: {events:?}");
        published.epochs.iter().for_each(|epoch| assert!(!epoch.rows.is_empty()));
    }
}

#[test]
fn a_cut_that_is_refused_ends_the_run_before_its_rows() {
    for workers in 1..=3 {
        let feeds = Seeded::new(World::even(3, "lines", 5, 50), Manner::default());
        let mut run = Run { trouble: Trouble::RefuseCut(2), ..Run::of(&feeds, workers) };
        run.epochs.max_records = 5;
        let (result, events) = run.start().end();
        let error = result.expect_err("the cut is refused").to_string();
        assert!(error.contains("cut of epoch 2"), "{error}");
        // The epoch before may have been about to come out.
        assert!(Published::of(&events).epochs.len() <= 1);
    }
}

#[test]
fn a_sink_that_hangs_hides_no_error() {
    for workers in 1..=3 {
        let feeds = Seeded::new(World::even(3, "lines", 5, 50), Manner::default());
        let mut run = Run { trouble: Trouble::RefuseCutAndHang(2), ..Run::of(&feeds, workers) };
        run.epochs.max_records = 5;
        let (result, _) = run.start().end();
        let error = result.expect_err("the cut is refused").to_string();
        assert!(error.contains("cut of epoch 2"), "{error}");
    }
}

/// Panics on a row
#[derive(clap::Args, Debug)]
struct Panics {}

impl Dataflow for Panics {
    const NAME: &'static str = "panics";
    fn build(&self, flow: &Flow<'_>) {
        let words = flow.input("lines").decode(Tokenizer::Whitespace);
        words.map::<Text>(|_| panic!("no such word")).output("never", &["word"], &[]);
    }
}

#[test]
fn a_panic_ends_the_run_as_an_error() {
    for workers in 1..=3 {
        let feeds = Seeded::new(World::even(3, "lines", 5, 50), Manner::default());
        let (result, _) = Run { trouble: Trouble::PanicAt(1), ..Run::of(&feeds, workers) }.start().end();
        let error = result.expect_err("the sink has panicked").to_string();
        assert!(error.contains("panic") && error.contains("as was asked for"), "{error}");

        let feeds = Seeded::new(World::even(3, "lines", 5, 50), Manner::default());
        let (result, _) = Run { dataflow: Arc::new(Panics {}), ..Run::of(&feeds, workers) }.start().end();
        let error = result.expect_err("the dataflow has panicked").to_string();
        assert!(error.contains("panic") && error.contains("no such word"), "{error}");
    }
}

#[test]
fn what_was_read_before_a_stop_is_published() {
    for seed in 0..60 {
        let (processes, workers) = [(1, 1), (1, 2), (1, 3), (2, 1)][seed as usize % 4];
        let manner = Manner { endless: seed % 2 == 0, ..Manner::default() };
        let feeds = Seeded::new(World::random(seed, &["lines"]), manner);
        let all = feeds.world().records();
        let running = Run { processes, ..Run::of(&feeds, workers) }.start();
        feeds.wait_until(DEADLINE, |handed| handed.records >= all * (seed as usize % 7) / 6);
        running.stop();
        let (result, events) = running.end();
        result.expect("the run ends well");
        let cut = Published::of(&events).check(feeds.world(), recount);
        assert_eq!(cut, feeds.handed().cut, "seed {seed}");
    }
}

#[test]
fn a_process_that_has_nothing_left_to_read_can_stop_the_others() {
    let feeds = Seeded::new(World::even(0, "lines", 1, 100), Manner::default());
    let reader = (0..2)
        .find(|&worker| Place { worker, workers: 2 }.owns("even", 0))
        .expect("every partition has an owner");
    let (open, gate) = crossbeam_channel::unbounded();
    let mut run = Run { processes: 2, trouble: Trouble::Gate(gate), ..Run::of(&feeds, 1) };
    run.epochs.max_records = 1;
    let in_flight = run.epochs.in_flight;
    let running = run.start();
    let closed = |handed: &Handed, worker: usize| {
        handed.workers.get(&("lines".to_owned(), worker)).map_or(0, |worker| worker.closed)
    };
    // The other one ends its input at once. The reader can close no more epochs while the gate is shut ...
    feeds.wait_until(DEADLINE, |handed| {
        handed.workers.values().any(|worker| worker.held > 0) && closed(handed, 1 - reader) == 1
    });
    assert_eq!(closed(&feeds.handed(), reader), in_flight);
    running.stops[1 - reader].request();
    // ... but for the last.
    feeds.wait_until(DEADLINE, |handed| closed(handed, reader) == in_flight + 1);
    drop(open);
    let (result, events) = running.end();
    result.expect("the run ends well");
    assert_eq!(Published::of(&events).check(feeds.world(), recount), feeds.handed().cut);
    assert_eq!(feeds.handed().records, in_flight + 1);
}

#[test]
fn the_final_rows_come_once() {
    for seed in 0..30 {
        for (processes, workers) in [(1, 1), (1, 3), (2, 1)] {
            let feeds = Seeded::new(World::random(seed, &["lines"]), Manner::default());
            let published = Run { emit: Emit::Final, processes, ..Run::of(&feeds, workers) }.published();
            let mut cut = Cut::new();
            for epoch in &published.epochs {
                assert!(!epoch.rows.contains_key("counts"), "no changes on the way");
                advance(&mut cut, &epoch.reports);
            }
            assert_eq!(cut, feeds.handed().cut);
            let nothing: Vec<Change> = Vec::new();
            let counts = published.end.get("counts").unwrap_or(&nothing);
            let mut sum = BTreeMap::new();
            add(&mut sum, "counts", counts);
            assert_eq!(sum.len(), counts.len(), "every row comes once");
            assert_eq!(sum, recount(feeds.world(), &cut)["counts"], "seed {seed}");
        }
    }
}
