//! Every answer belongs to a cut, and the same cuts give the same answers.

use std::time::Duration;

use cutwater::epoch::EpochOptions;
use cutwater::feed::seeded::{Manner, Seeded, World};

use crate::harness::{OfEpoch, Run, eager, recount};

#[test]
fn after_each_epoch_the_output_is_the_recount_below_its_cut() {
    let mut epochs = 0;
    for seed in 0..200 {
        for workers in 1..=3 {
            let feeds = Seeded::new(World::random(seed, &["lines"]), Manner::default());
            let mut run = Run::of(&feeds, workers);
            // Some seeds close epochs by time, some by a cap, with more or less room in flight.
            run.epochs.shortest = Duration::from_micros([0, 100, 2000][seed as usize % 3]);
            run.epochs.max_records = [usize::MAX, 7, 1][seed as usize / 3 % 3];
            run.epochs.max_bytes = [usize::MAX, 100][seed as usize / 9 % 2];
            run.epochs.in_flight = 1 + seed as usize / 18 % 3;
            let published = run.published();
            let cut = published.check(feeds.world(), recount);
            assert_eq!(cut, feeds.handed().cut, "seed {seed}: the last cut is what was handed over");
            assert_eq!(feeds.handed().records, feeds.world().records(), "seed {seed}: all was read");
            epochs += published.epochs.len();
        }
    }
    assert!(epochs > 2000, "there were enough epochs to tell: {epochs}");
}

#[test]
fn two_processes_are_as_exact_as_one() {
    for seed in 0..20 {
        let feeds = Seeded::new(World::random(seed, &["lines"]), Manner::default());
        let published = Run { processes: 2, ..Run::of(&feeds, 1 + seed as usize % 2) }.published();
        let cut = published.check(feeds.world(), recount);
        assert_eq!(cut, feeds.handed().cut, "seed {seed}");
    }
}

#[test]
fn the_same_cuts_give_the_same_rows_in_every_shape() {
    const BYTES: usize = 1 << 16;
    for seed in 0..20 {
        let batches = 5;
        let rows = |processes, workers| {
            let feeds = Seeded::new(World::script(seed, "lines", 5, batches, BYTES), Manner::default());
            // Nothing but the cap on bytes closes an epoch.
            let epochs = EpochOptions { shortest: Duration::from_secs(3600), max_bytes: BYTES, ..eager() };
            let published = Run { epochs, processes, ..Run::of(&feeds, workers) }.published();
            published.check(feeds.world(), recount);
            published.epochs.into_iter().map(|OfEpoch { rows, .. }| rows).collect::<Vec<_>>()
        };
        let expected = rows(1, 1);
        // The last epoch may hold what was learnt of gaps after the last batch, but no rows.
        assert_eq!(expected.iter().filter(|rows| !rows.is_empty()).count(), batches, "a batch is an epoch");
        for (processes, workers) in [(1, 2), (1, 3), (2, 1), (2, 2)] {
            let rows = rows(processes, workers);
            assert_eq!(rows, expected, "seed {seed}: {processes} processes of {workers} workers");
        }
    }
}
