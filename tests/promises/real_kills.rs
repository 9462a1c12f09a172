//! Nothing lost, nothing doubled: whatever is killed, whenever.
//!
//! `scripts/kills` does the same for longer, and with other seeds.

use crate::support::kills::tally::Tally;
use crate::support::{env_number, kills};

/// How often the program is killed in every run of the tests.
const KILLS: u64 = 40;
/// The seed of that.
const SEED: u64 = 1;
/// The most kills in one run: more are several runs, each with a seed and a broker of its own.
const RUN: u64 = 100;

#[test]
fn what_comes_out_is_exact_whatever_is_killed() {
    let mut left = env_number("CUTWATER_KILLS").unwrap_or(KILLS);
    let mut seed = env_number("CUTWATER_KILLS_SEED").unwrap_or(SEED);
    let mut tally = Tally::default();
    while left > 0 {
        let kills = left.min(RUN);
        tally.merge(&kills::run(seed, kills as usize));
        (left, seed) = (left - kills, seed + 1);
    }
    println!("survived {} kills:\n{tally}", tally.of("kills"));
}
