//! Work in flight is bounded, and an idle worker holds nothing back.

use std::sync::Arc;
use std::time::Duration;

use cutwater::epoch::EpochOptions;
use cutwater::feed::seeded::{Manner, Seeded, World};
use cutwater_dataflows::Build;

use crate::harness::{DEADLINE, Event, Published, Run, Trouble, eager, recount, word_count};
use crate::inputs::Together;

#[test]
fn a_slow_sink_holds_the_readers_within_bounds() {
    for workers in 1..=3 {
        for in_flight in 1..=2 {
            let max_records = 3;
            let feeds = Seeded::new(World::even(7, "lines", 6, 20), Manner::default());
            let (open, gate) = crossbeam_channel::unbounded();
            let running = Run {
                epochs: EpochOptions { max_records, in_flight, ..eager() },
                trouble: Trouble::Gate(gate),
                ..Run::of(&feeds, workers)
            }
            .start();
            // Every worker is told to hold its partitions in the end, which comes of a full epoch that may not be
            // closed. Nothing is published meanwhile: the gate of the first epoch is shut.
            feeds.wait_until(DEADLINE, |handed| {
                handed.workers.len() == workers && handed.workers.values().all(|worker| worker.held > 0)
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

/// The records in the cut of an epoch.
fn read(event: &Event) -> u64 {
    match event {
        Event::Cut(_, reports) => reports.iter().map(|report| report.records).sum(),
        Event::Rows(..) | Event::Committed(..) => 0,
    }
}

#[test]
fn idle_workers_and_empty_partitions_hold_nothing_back() {
    const BYTES: usize = 1 << 10;
    let epochs = EpochOptions { shortest: Duration::from_secs(3600), max_bytes: BYTES, ..eager() };
    for (partitions, processes, workers) in [(1, 1, 4), (2, 1, 5), (1, 2, 2)] {
        // Epoch after epoch: nothing is ever handed over for the next before this one is closed.
        let batches = 5;
        let world = World::script(u64::from(partitions as u32), "lines", partitions, batches, BYTES);
        let feeds = Seeded::new(world, Manner { endless: true, ..Manner::default() });
        let running = Run { epochs, processes, ..Run::of(&feeds, workers) }.start();
        let mut events = running.until_committed(batches as u64, "counts");
        running.stop();
        let (result, rest) = running.end();
        result.expect("the run ends well");
        events.extend(rest);
        assert_eq!(Published::of(&events).check(feeds.world(), recount), feeds.handed().cut);
    }
}

#[test]
fn one_record_is_published_while_all_else_is_idle() {
    for workers in 1..=4 {
        // Three partitions without records, and one with one.
        let mut world = World::even(1, "lines", 4, 1);
        for log in &mut world.logs[1..] {
            log.records.clear();
            log.end = log.start;
        }
        let feeds = Seeded::new(world, Manner { endless: true, ..Manner::default() });
        let running = Run::of(&feeds, workers).start();
        let events = running.until_committed(1, "counts");
        assert_eq!(events.iter().map(read).sum::<u64>(), 1);
        running.stop();
        running.end().0.expect("the run ends well");
    }
}

#[test]
fn what_an_input_read_last_is_published_while_others_still_wait() {
    // Two workers with a partition each; then one worker with two inputs. One of the two ends after a few
    // records, the other waits for a partition that never comes.
    let of_partitions = World::even(2, "lines", 2, 3);
    let mut of_inputs = World::even(2, "left", 1, 3);
    of_inputs.logs.extend(World::even(2, "right", 1, 3).logs);
    let together: Arc<dyn Build> = Arc::new(Together {});
    for (mut world, workers, dataflow, output) in
        [(of_partitions, 2, word_count(), "counts"), (of_inputs, 1, together, "both")]
    {
        world.logs[1].appears_after = usize::MAX;
        let feeds = Seeded::new(world, Manner::default());
        let running = Run { dataflow, ..Run::of(&feeds, workers) }.start();
        let mut records = 0;
        for epoch in 1.. {
            let events = running.until_committed(epoch, output);
            records += events.iter().map(read).sum::<u64>();
            if records == 3 {
                break;
            }
        }
        running.stop();
        running.end().0.expect("the run ends well");
    }
}
