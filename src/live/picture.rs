//! What the demo shows at a moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::counts::Top;
use crate::status::Figures;

/// The time over which the current rate is taken.
const CURRENT: Duration = Duration::from_secs(1);

/// All that is shown.
pub(super) struct Picture {
    /// What stays the same.
    pub(super) title: String,
    /// What the demo is about to do.
    pub(super) phase: Phase,
    /// Since the first record was to be generated.
    pub(super) elapsed: Duration,
    /// How long to generate.
    pub(super) length: Duration,
    /// The run's figures.
    pub(super) figures: Figures,
    /// Over the last second.
    pub(super) now: Rate,
    /// Since the first record.
    pub(super) mean: Rate,
    /// Records a second, for each second so far.
    pub(super) history: Vec<u64>,
    /// The most frequent words.
    pub(super) top: Top,
}

/// Where the demo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Text is generated and counted.
    Generating,
    /// All is generated; the rest is being counted.
    Draining,
    /// All is counted.
    Done,
}

/// What is published, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    /// Records.
    pub(super) records: f64,
    /// Words.
    pub(super) words: f64,
}

impl Rate {
    fn of(records: u64, words: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        // Of shorter times nothing can be said.
        if seconds < 0.05 {
            return Rate::default();
        }
        Rate { records: records as f64 / seconds, words: words as f64 / seconds }
    }
}

/// Makes rates of figures.
pub(super) struct Rates {
    start: Instant,
    /// When, and how many records and words by then; the first one a second before the last.
    recent: VecDeque<(Instant, u64, u64)>,
    /// Records at the end of each second so far.
    seconds: Vec<u64>,
}

impl Rates {
    /// Rates from `start`.
    pub(super) fn new(start: Instant) -> Self {
        Rates { start, recent: VecDeque::from([(start, 0, 0)]), seconds: Vec::new() }
    }

    /// Takes in what has been published by `now`.
    pub(super) fn update(&mut self, now: Instant, figures: &Figures) {
        let since = now.saturating_duration_since(self.start);
        self.seconds.resize(since.as_secs() as usize, figures.records);
        self.recent.push_back((now, figures.records, figures.rows));
        while self.recent.get(1).is_some_and(|&(at, ..)| now.saturating_duration_since(at) >= CURRENT) {
            self.recent.pop_front();
        }
    }

    /// Over the last second.
    pub(super) fn now(&self) -> Rate {
        self.since(self.recent[0])
    }

    /// Since the start.
    pub(super) fn mean(&self) -> Rate {
        self.since((self.start, 0, 0))
    }

    fn since(&self, (then, records, words): (Instant, u64, u64)) -> Rate {
        let &(now, records_now, words_now) = self.recent.back().expect("the start, at least");
        Rate::of(records_now - records, words_now - words, now.saturating_duration_since(then))
    }

    /// Records of each second so far.
    pub(super) fn history(&self) -> Vec<u64> {
        let before = std::iter::once(0).chain(self.seconds.iter().copied());
        self.seconds.iter().zip(before).map(|(now, before)| now - before).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_rate_is_of_the_last_second_and_the_mean_of_all() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let mut figures = Figures::default();
        for tenth in 1..=40 {
            // A hundred records a second, and three hundred in the last one.
            figures.records += if tenth <= 30 { 10 } else { 30 };
            figures.rows = figures.records * 8;
            rates.update(start + Duration::from_millis(tenth * 100), &figures);
        }
        assert_eq!(rates.now(), Rate { records: 300.0, words: 2400.0 });
        assert_eq!(rates.mean(), Rate { records: 150.0, words: 1200.0 });
        assert_eq!(rates.history(), [100, 100, 100, 300]);
    }
}
