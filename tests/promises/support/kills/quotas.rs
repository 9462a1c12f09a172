//! A run that disturbed nothing proves nothing: how much of everything there must have been.

use super::plan::{End, Plan, Trouble};
use super::tally::Tally;

/// What is counted, where a quota wants it.
pub const KILLS: &str = "kills";
pub const SHAPES: &str = "restarts in another shape";
pub const OUTAGES: &str = "a broker killed, the program went on";
pub const BLACKOUTS: &str = "kill: all processes and a broker";
pub const FREEZES: &str = "a process stopped for longer than the transactions' time-out";
pub const JUMPS: &str = "the wall clock jumped, the program went on";
pub const BACK: &str = "the clock went back between two epochs";
pub const RESUMED: &str = "starts from a checkpoint";
pub const REPLAYED: &str = "starts that replayed records";
pub const RECORDS: &str = "records of the input";
pub const EPOCHS: &str = "epochs";
pub const DEAD: &str = "dead letters";
const REACHED: &str = "kill: crash point ";

/// The name of a death at a crash point.
pub fn reached(point: &str) -> String {
    format!("{REACHED}{point}")
}

/// What there must have been, and how often at least. How many lives that takes is a matter of the machine's speed.
pub struct Quotas(Vec<(String, u64)>);

impl Quotas {
    /// Those of a plan: all that was planned has happened, and the program has worked meanwhile.
    pub fn of(plan: &Plan) -> Quotas {
        let troubles = |wanted: fn(&Trouble) -> bool| {
            plan.lives.iter().filter(|life| life.trouble.as_ref().is_some_and(wanted)).count() as u64
        };
        let ends =
            |wanted: fn(&End) -> bool| plan.lives.iter().filter(|life| wanted(&life.end)).count() as u64;
        let kills = ends(|end| !matches!(end, End::Stop));
        let mut quotas = vec![
            (KILLS.to_owned(), kills),
            (BLACKOUTS.to_owned(), ends(|end| matches!(end, End::Blackout(_)))),
            (OUTAGES.to_owned(), troubles(|trouble| matches!(trouble, Trouble::Outage(_)))),
            (FREEZES.to_owned(), troubles(|trouble| matches!(trouble, Trouble::Freeze(_)))),
            (JUMPS.to_owned(), 3 * troubles(|trouble| matches!(trouble, Trouble::Jumps(_)))),
            (BACK.to_owned(), u64::from(kills > 10)),
            (SHAPES.to_owned(), kills / 2),
            (RESUMED.to_owned(), kills / 2),
            (REPLAYED.to_owned(), kills / 4),
            (RECORDS.to_owned(), kills * 1000),
            (EPOCHS.to_owned(), kills * 4),
            (DEAD.to_owned(), kills),
        ];
        for life in &plan.lives {
            let End::Crash(crash) = &life.end else { continue };
            let name = reached(crash.point);
            match quotas.iter_mut().find(|(what, _)| *what == name) {
                Some((_, least)) => *least += 1,
                None => quotas.push((name, 1)),
            }
        }
        Quotas(quotas)
    }

    /// What there has been too little of, with how often it was and is to be.
    pub fn unmet<'a>(&'a self, tally: &Tally) -> Vec<(&'a str, u64, u64)> {
        let found = self.0.iter().map(|(what, least)| (what.as_str(), tally.of(what), *least));
        found.filter(|(_, found, least)| found < least).collect()
    }

    /// # Panics
    /// If any is not met.
    pub fn check(&self, tally: &Tally) {
        let unmet = self.unmet(tally);
        assert!(unmet.is_empty(), "{}\n{tally}", show(&unmet));
    }
}

/// Quotas that are not met, for people.
pub fn show(unmet: &[(&str, u64, u64)]) -> String {
    let lines = unmet.iter().map(|(what, found, least)| format!("{what}: {found} of {least}"));
    lines.collect::<Vec<_>>().join(", ")
}
