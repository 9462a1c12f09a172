//! Work in flight is bounded, and an idle worker holds nothing back.

use std::time::Duration;

use cutwater::epoch::EpochOptions;
use cutwater::feed::seeded::{Manner, Seeded, World};

use crate::harness::{DEADLINE, Event, Published, Run, Trouble, eager, recount};

/// A world in which every one of three workers has many records to read.
fn plenty(seed: u64) -> Seeded {
    let world = World::script(seed, "lines", 12, 1, 1);
    Seeded::new(world, Manner::default())
}

#[test]
fn a_slow_sink_holds_the_readers_within_bounds() {
    for workers in 1..=3 {
        for in_flight in 1..=2 {
            let max_records = 3;
            let feeds = plenty(workers as u64);
            let (open, gate) = crossbeam_channel::unbounded();
            let running = Run {
                epochs: EpochOptions { max_records, in_flight, ..eager() },
                trouble: Trouble::Gate(gate),
                ..Run::of(&feeds, workers)
            }
            .start();
            // Until every worker has been told to hold its partitions, which comes of a full epoch that may not
            // be closed. Nothing is published meanwhile: the gate of the first epoch is shut.
            feeds.wait_until(DEADLINE, |handed| {
                handed.workers.len() == workers && handed.workers.values().any(|worker| worker.held > 0)
            });
            let handed = feeds.handed();
            for (worker, of) in &handed.workers {
                assert!(of.closed <= in_flight, "{worker:?} closed {} epochs", of.closed);
                assert!(of.records <= (in_flight + 1) * max_records, "{worker:?} read {}", of.records);
            }
            drop(open);
            let (result, events) = running.end();
            result.expect("the run ends well");
            let published = Published::of(&events);
            assert_eq!(published.check(feeds.world(), recount), feeds.handed().cut);
            assert_eq!(feeds.handed().records, feeds.world().records());
        }
    }
}
