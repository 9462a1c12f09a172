//! A run that disturbed nothing proves nothing: it must have done what was planned.

use super::plan::{End, Plan, Trouble, points};
use super::tally::Tally;

/// What is counted, where a check wants it.
pub const KILLS: &str = "kills";
pub const SHAPES: &str = "restarts in another shape";
pub const OUTAGES: &str = "a broker killed, the program went on";
pub const BLACKOUTS: &str = "kill: all processes and a broker";
pub const FREEZES: &str = "a process stopped for longer than the transactions' time-out";
pub const JUMPS: &str = "the wall clock jumped, the program went on";
pub const BACK: &str = "the clock went back between two epochs";
pub const RESUMED: &str = "starts from a checkpoint";
pub const REPLAYED: &str = "starts that read records again";
pub const RECORDS: &str = "records of the input";
pub const EPOCHS: &str = "epochs";
pub const DEAD: &str = "dead letters";
const REACHED: &str = "kill: crash point ";

/// The name of a death at a crash point.
pub fn reached(point: &str) -> String {
    format!("{REACHED}{point}")
}

/// From so many kills on, all crash points must have been reached but for a few.
const MANY: u64 = 100;
/// So many: each is armed two or three times in a hundred, and may be further away than the program lives.
const FEW: usize = 2;

/// Fails if a run was more peaceful than its plan.
pub fn check(plan: &Plan, tally: &Tally) {
    let count = |wanted: &dyn Fn(&Trouble) -> bool| {
        plan.lives.iter().filter_map(|life| life.trouble.as_ref()).filter(|trouble| wanted(trouble)).count()
            as u64
    };
    let ends =
        |wanted: &dyn Fn(&End) -> bool| plan.lives.iter().filter(|life| wanted(&life.end)).count() as u64;
    let kills = ends(&|end| !matches!(end, End::Stop));
    // A few may stop before they are killed, or give up after they were frozen.
    tally.expect(KILLS, kills - kills / 10);
    tally.expect(BLACKOUTS, ends(&|end| matches!(end, End::Blackout(_))));
    tally.expect(OUTAGES, count(&|trouble| matches!(trouble, Trouble::Outage(_))));
    tally.expect(FREEZES, count(&|trouble| matches!(trouble, Trouble::Freeze(_))));
    tally.expect(JUMPS, 3 * count(&|trouble| matches!(trouble, Trouble::Jumps(_))));
    tally.expect(SHAPES, kills / 2);
    tally.expect(RESUMED, kills / 2);
    tally.expect(REPLAYED, kills / 4);
    tally.expect(RECORDS, kills * 1000);
    tally.expect(EPOCHS, kills * 4);
    tally.expect(DEAD, kills);
    if kills > 10 {
        tally.expect(BACK, 1);
    }
    let all: u64 = points().map(|point| tally.of(&reached(point))).sum();
    assert!(all * 2 >= ends(&|end| matches!(end, End::Crash { .. })), "half of the crash points\n{tally}");
    if kills >= MANY {
        let missed: Vec<&str> = points().filter(|point| tally.of(&reached(point)) == 0).collect();
        assert!(missed.len() <= FEW, "never reached: {}\n{tally}", missed.join(", "));
    }
}
