//! Histograms with fixed bounds, as Prometheus has them.

use std::time::Duration;

/// Bounds of latencies, in seconds: a millisecond to ten minutes.
pub const LATENCIES: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0,
    300.0, 600.0,
];
/// Bounds of what takes seconds.
pub const DURATIONS: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0];
/// Bounds of ages, in seconds: as latencies, and up to a week. Records that waited in their topic are so old.
pub const AGES: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0,
    21600.0, 86400.0, 604800.0,
];
/// Bounds of numbers of records.
pub const RECORDS: &[f64] = &[1.0, 10.0, 100.0, 1e3, 5e3, 1e4, 5e4, 1e5, 5e5, 1e6, 5e6, 1e7];

/// How many values lie below each bound.
#[derive(Clone, Debug)]
pub struct Buckets {
    bounds: &'static [f64],
    /// Of each bound, and of the values above the last: those that no bound before holds.
    counts: Vec<u64>,
    sum: f64,
}

impl Buckets {
    /// Without values.
    pub fn new(bounds: &'static [f64]) -> Self {
        Buckets { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Counts a value.
    pub fn observe(&mut self, value: f64) {
        let place = self.bounds.partition_point(|&bound| bound < value);
        self.counts[place] += 1;
        self.sum += value;
    }

    /// Counts a time.
    pub fn took(&mut self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    /// The sum of all values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bound with the number of values that it holds and no bound before; the last one is infinite.
    pub fn each(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_holds_it() {
        let mut buckets = Buckets::new(&[1.0, 2.0]);
        [0.0, 1.0, 1.5, 2.0, 2.1, 1e9].into_iter().for_each(|value| buckets.observe(value));
        assert_eq!(buckets.each(), [(1.0, 2), (2.0, 2), (f64::INFINITY, 2)]);
        assert_eq!(buckets.count(), 6);
        assert!((buckets.sum() - 1_000_000_006.6).abs() < 1e-3);
    }

    #[test]
    fn bounds_rise() {
        for bounds in [LATENCIES, DURATIONS, AGES, RECORDS] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{bounds:?}");
        }
    }
}
