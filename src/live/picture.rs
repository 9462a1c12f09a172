//! What is shown at a moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::status::Figures;

/// The time over which the current rate is taken.
const CURRENT: Duration = Duration::from_secs(1);
/// Seconds of history: more than a terminal has columns.
const SECONDS: usize = 1000;

/// All that is shown.
pub(crate) struct Picture {
    /// What draws it, and what it is about.
    pub(crate) name: &'static str,
    pub(crate) dataflow: String,
    /// What stays the same.
    pub(crate) title: String,
    /// How far it is.
    pub(crate) progress: Progress,
    /// Since it began.
    pub(crate) elapsed: Duration,
    /// What its rows are.
    pub(crate) rows: &'static str,
    /// The run's figures.
    pub(crate) figures: Figures,
    /// Over the last second.
    pub(crate) now: Rate,
    /// Since the first record.
    pub(crate) mean: Rate,
    /// Records a second, for each second so far.
    pub(crate) history: Vec<u64>,
    /// What is not published yet, and of which partitions, those first that matter most.
    pub(crate) lags: (&'static str, Vec<(String, i64)>),
    /// The rows that come first.
    pub(crate) top: Top,
}

/// How far it is.
pub(crate) struct Progress {
    /// The part that is done, where that is known.
    pub(crate) part: Option<f64>,
    /// The same in words.
    pub(crate) text: String,
}

/// The rows that come first.
#[derive(Clone, Default)]
pub(crate) struct Top {
    /// Of which they are.
    pub(crate) title: String,
    /// Those, in order.
    pub(crate) rows: Vec<TopRow>,
}

/// A row that comes first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopRow {
    /// What it is of.
    pub(crate) name: String,
    /// What it has, as text.
    pub(crate) value: String,
    /// The length of its bar, where all are of the same measure.
    pub(crate) size: f64,
}

/// What is published, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// Records.
    pub(crate) records: f64,
    /// Rows.
    pub(crate) rows: f64,
}

impl Rate {
    fn of(records: u64, rows: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        // Of shorter times nothing can be said.
        if seconds < 0.05 {
            return Rate::default();
        }
        Rate { records: records as f64 / seconds, rows: rows as f64 / seconds }
    }
}

/// Makes rates of figures.
pub(crate) struct Rates {
    start: Instant,
    /// When, and how many records and rows by then; the first one a second before the last.
    recent: VecDeque<(Instant, u64, u64)>,
    /// Records at the end of each of the last seconds, and of the second before them.
    seconds: VecDeque<u64>,
    /// Seconds that are over.
    over: u64,
}

impl Rates {
    /// Rates from `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Rates { start, recent: VecDeque::from([(start, 0, 0)]), seconds: VecDeque::from([0]), over: 0 }
    }

    /// Takes in what has been published by `now`.
    pub(crate) fn update(&mut self, now: Instant, figures: &Figures) {
        let since = now.saturating_duration_since(self.start);
        // A machine that has slept has missed many.
        let ended = since.as_secs().saturating_sub(self.over).min(SECONDS as u64);
        self.over = since.as_secs().max(self.over);
        self.seconds.extend(std::iter::repeat_n(figures.records, ended as usize));
        self.seconds.drain(..self.seconds.len().saturating_sub(SECONDS + 1));
        self.recent.push_back((now, figures.records, figures.rows));
        while self.recent.get(1).is_some_and(|&(at, ..)| now.saturating_duration_since(at) >= CURRENT) {
            self.recent.pop_front();
        }
    }

    /// Over the last second.
    pub(crate) fn now(&self) -> Rate {
        self.since(self.recent[0])
    }

    /// Since the start.
    pub(crate) fn mean(&self) -> Rate {
        self.since((self.start, 0, 0))
    }

    fn since(&self, (then, records, rows): (Instant, u64, u64)) -> Rate {
        let &(now, records_now, rows_now) = self.recent.back().expect("the start, at least");
        Rate::of(records_now - records, rows_now - rows, now.saturating_duration_since(then))
    }

    /// Records of each of the last seconds.
    pub(crate) fn history(&self) -> Vec<u64> {
        self.seconds.iter().zip(self.seconds.iter().skip(1)).map(|(before, now)| now - before).collect()
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
        assert_eq!(rates.now(), Rate { records: 300.0, rows: 2400.0 });
        assert_eq!(rates.mean(), Rate { records: 150.0, rows: 1200.0 });
        assert_eq!(rates.history(), [100, 100, 100, 300]);
        rates.update(start + Duration::from_secs(1_000_000), &figures);
        assert_eq!(rates.history(), [0; SECONDS]);
    }
}
