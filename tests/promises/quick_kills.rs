//! How long a kill run goes on: until enough has happened, on however slow a machine, and not for ever.

use std::collections::HashMap;
use std::panic::catch_unwind;

use crate::support::kills::course::Course;
use crate::support::kills::plan::{Crash, End, Plan, Trouble};
use crate::support::kills::quotas::{
    BACK, BLACKOUTS, DEAD, EPOCHS, FREEZES, JUMPS, KILLS, OUTAGES, RECORDS, REPLAYED, RESUMED, SHAPES,
    reached,
};
use crate::support::kills::tally::Tally;

/// A machine on which nothing happens but what is said here.
struct Machine {
    /// How often a crash point must have been armed until the program comes there in time.
    tries: u32,
    /// How often a thing happens within ten lives.
    in_ten: HashMap<&'static str, u64>,
}

/// A machine that does about a third of what is wanted, in the lives that are planned.
fn slow() -> Machine {
    let in_ten = [
        (SHAPES, 2),
        (RESUMED, 2),
        (REPLAYED, 1),
        (RECORDS, 3000),
        (EPOCHS, 12),
        (DEAD, 3),
        // Not in the planned lives.
        (BACK, 0),
    ];
    Machine { tries: 3, in_ten: in_ten.into() }
}

/// Leads all lives of a seed on a machine. Returns what has happened, and how many lives it took.
fn lead(seed: u64, kills: usize, machine: &Machine) -> (Tally, usize) {
    let mut course = Course::new(Plan::new(seed, kills));
    let (planned, mut lives) = (course.plan().lives.len(), 0);
    let (mut tally, mut armed) = (Tally::default(), HashMap::new());
    while let Some(life) = course.next(|| tally.clone()) {
        lives += 1;
        match life.trouble {
            Some(Trouble::Outage(_)) => tally.note(OUTAGES),
            Some(Trouble::Freeze(_)) => tally.note(FREEZES),
            Some(Trouble::Jumps(offsets)) => {
                tally.add(JUMPS, offsets.len() as u64);
                tally.add(BACK, u64::from(lives > planned));
            }
            None => {}
        }
        match life.end {
            End::Stop => {}
            End::Crash(crash) => {
                tally.note(KILLS);
                let armed = armed.entry(crash.point).or_insert(0);
                *armed += 1;
                if *armed >= machine.tries { tally.note(reached(crash.point)) } else { course.missed(crash) }
            }
            End::Blackout(_) => {
                tally.note(KILLS);
                tally.note(BLACKOUTS);
            }
            // One of them ends by itself before it can be killed.
            _ if lives == planned => {}
            _ => tally.note(KILLS),
        }
        for (what, often) in &machine.in_ten {
            let by = |lives: usize| often * lives as u64 / 10;
            tally.add(*what, by(lives) - by(lives - 1));
        }
    }
    course.quotas().check(&tally);
    (tally, lives)
}

#[test]
fn a_kill_run_goes_on_until_its_quotas_are_met() {
    for kills in [1, 10, 40, 100] {
        for seed in 0..20 {
            let (tally, lives) = lead(seed, kills, &slow());
            assert!(lives > kills, "seed {seed}: {lives} lives");
            assert!(tally.of(EPOCHS) >= 4 * kills as u64, "{tally}");
        }
    }
    // From a hundred kills on, every crash point is reached.
    let (tally, _) = lead(7, 100, &slow());
    let points: Vec<_> = crate::support::kills::plan::points().collect();
    points.iter().for_each(|point| assert!(tally.of(&reached(point)) > 0, "{point}\n{tally}"));
}

#[test]
fn a_kill_run_in_which_nothing_happens_ends_as_too_peaceful() {
    let nothing = Machine { tries: u32::MAX, in_ten: HashMap::new() };
    let panic = catch_unwind(|| lead(1, 20, &nothing)).err().expect("it ends");
    let said = panic.downcast::<String>().expect("a text");
    assert!(said.starts_with("too peaceful after 220 lives instead of 22"), "{said}");
    assert!(said.contains("epochs: 0 of 80") && said.contains("crash point"), "{said}");
}

#[test]
fn a_crash_that_is_tried_again_is_nearer_and_has_more_time() {
    let crash = Crash { point: "published", count: 5, within: std::time::Duration::from_secs(6) };
    let counts = |n| std::iter::successors(Some(crash), |crash| Some(crash.nearer())).take(n);
    assert_eq!(counts(5).map(|crash| crash.count).collect::<Vec<_>>(), [5, 3, 2, 1, 1]);
    assert_eq!(counts(4).map(|crash| crash.within.as_secs()).collect::<Vec<_>>(), [6, 12, 24, 48]);
    assert_eq!(counts(20).last().expect("the last").within, crate::support::DEADLINE);
}
