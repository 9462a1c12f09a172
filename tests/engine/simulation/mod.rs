//! The whole runtime, one step at a time: workers, ledger, sinks, checkpoints, storage, feed and time are all moved by
//! one seeded hand. It is crashed between any two steps or within any operation of the disk, started again in another
//! shape, and compared with a plain recount at every epoch.
//!
//! `CUTWATER_SIMULATE=SEED` runs one seed, `CUTWATER_SIMULATE=FIRST..END` many.

mod held;
mod life;
mod steps;
mod time;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use life::Job;

/// Seeds that are run where nothing else is said.
const SEEDS: u64 = 400;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("CUTWATER_SIMULATE") else { return 0..SEEDS };
    let number = |text: &str| text.parse().expect("CUTWATER_SIMULATE is SEED or FIRST..END");
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&text)..number(&text) + 1,
    }
}

#[test]
fn crashed_anywhere_and_started_again_in_another_shape_it_is_exact() {
    let seeds = seeds();
    let start = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let totals = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut totals = life::Totals::default();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.end {
                            return totals;
                        }
                        // What fails says so with this in its output.
                        let replay = Replay(seed);
                        totals.add(&Job::new(seed).run());
                        std::mem::forget(replay);
                    }
                })
            })
            .collect();
        threads.into_iter().fold(life::Totals::default(), |mut totals, thread| {
            totals.add(&thread.join().expect("no seed fails"));
            totals
        })
    });
    let count = seeds.end - seeds.start;
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    println!("{count} seeds, {:.0} a minute: {totals:?}", count as f64 / minutes);
    if count >= 100 {
        totals.check(count);
    }
}

/// Says how to see it again when it is dropped by a panic.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        eprintln!(
            "seed {0} failed; again: CUTWATER_SIMULATE={0} cargo test --release --test engine simulation",
            self.0
        );
    }
}
