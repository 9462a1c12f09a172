//! The course of a run: the lives of its plan, and then as many more as it takes until all quotas are met. A slow
//! machine leads more lives, which come to less each; what must have happened is the same everywhere.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::plan::{Crash, Life, Plan};
use super::quotas::{BACK, Quotas, show};
use super::tally::Tally;

/// A run that needs so many times the lives of its plan, and so many times the time, has something wrong with it.
const MOST: usize = 10;
/// How long a life usually takes.
const USUAL: Duration = Duration::from_secs(6);

/// Which lives are led.
pub struct Course {
    plan: Plan,
    quotas: Quotas,
    /// How many lives have been begun.
    begun: usize,
    /// Crashes that did not happen in the life that was to end so.
    owed: VecDeque<Crash>,
    start: Instant,
}

impl Course {
    /// That of a plan.
    pub fn new(plan: Plan) -> Course {
        let quotas = Quotas::of(&plan);
        Course { plan, quotas, begun: 0, owed: VecDeque::new(), start: Instant::now() }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How much there must have been of what.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The next life; `None` if it was enough. `so_far` is what has happened, and must not be more than it is in the
    /// end.
    ///
    /// # Panics
    /// If it was not enough, far beyond the plan.
    pub fn next(&mut self, so_far: impl FnOnce() -> Tally) -> Option<Life> {
        let planned = self.plan.lives.get(self.begun).cloned();
        let next = planned.or_else(|| self.more(&so_far()));
        self.begun += usize::from(next.is_some());
        next
    }

    /// The program was to die so, and did not come there in time.
    pub fn missed(&mut self, crash: Crash) {
        self.owed.push_back(crash.nearer());
    }

    fn more(&mut self, so_far: &Tally) -> Option<Life> {
        let unmet = self.quotas.unmet(so_far);
        if unmet.is_empty() {
            return None;
        }
        let (lives, time) = (self.plan.lives.len(), self.start.elapsed());
        let most = USUAL * (MOST * lives) as u32;
        if self.begun >= MOST * lives || time > most {
            let (begun, unmet) = (self.begun, show(&unmet));
            panic!("too peaceful after {begun} lives instead of {lives}, and {time:.0?}: {unmet}\n{so_far}");
        }
        println!("goes on after {} lives: {}", self.begun, show(&unmet));
        Some(match self.owed.pop_front() {
            Some(crash) => self.plan.crash(crash),
            None if unmet.iter().all(|(what, ..)| *what == BACK) => self.plan.jumps(),
            None => self.plan.kill(),
        })
    }
}
