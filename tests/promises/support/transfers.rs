//! Transactions between accounts, as Jamie Brandon's "Internal consistency in streaming systems" describes those that it
//! shows systems with: a minute of them, each of the amount 1 and between two of ten accounts, and each comes up to ten
//! seconds late. Money only moves, so the sum of all balances is 0, and an answer that says otherwise is of no one cut.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Accounts, each of which has a digit.
pub const ACCOUNTS: usize = 10;
/// The event time of all transactions.
const MINUTE: u64 = 60_000;
/// By how much the latest one comes late.
const LATE: u32 = 10_000;

/// Transactions in the order in which they come.
pub struct Transfers {
    /// Their ids, from the last one that comes to the first.
    left: Vec<u32>,
    all: u64,
    random: StdRng,
    /// The plain recount: what each account has after those that have come.
    pub balances: [i64; ACCOUNTS],
}

impl Transfers {
    /// So many, drawn from a seed.
    pub fn new(all: u64, seed: u64) -> Transfers {
        let mut random = StdRng::seed_from_u64(seed);
        let mut arrivals: Vec<(u32, u32)> = (0..u32::try_from(all).expect("no more than 32 bits tell apart"))
            .map(|id| (millis(id, all) as u32 + random.random_range(0..LATE), id))
            .collect();
        arrivals.sort_unstable_by(|a, b| b.cmp(a));
        let left = arrivals.into_iter().map(|(_, id)| id).collect();
        Transfers { left, all, random, balances: [0; ACCOUNTS] }
    }

    /// Writes the next one over what is in the line.
    pub fn next(&mut self, line: &mut String) {
        let id = self.left.pop().expect("there are more");
        let mut account = || self.random.random_range(0..ACCOUNTS);
        let (from, to) = (account(), account());
        self.balances[from] -= 1;
        self.balances[to] += 1;
        let second = millis(id, self.all) / 1000;
        line.clear();
        write!(
            line,
            r#"{{"id":{id},"from":"{from}","to":"{to}","amount":1,"at":"2021-01-01T00:00:{second:02}Z"}}"#
        )
        .expect("memory takes all");
    }
}

/// The event time of a transaction, from the first one's on.
fn millis(id: u32, all: u64) -> u64 {
    MINUTE * u64::from(id) / all
}
