//! How long something has taken, all times together: also while it still does.

use std::time::{Duration, Instant};

/// Measures what begins and ends again and again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopwatch {
    before: Duration,
    since: Option<Instant>,
}

impl Stopwatch {
    /// It begins, unless it goes on.
    pub fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// It ends, if it goes on.
    pub fn end(&mut self, now: Instant) {
        self.before = self.total(now);
        self.since = None;
    }

    /// How long it has taken by now.
    pub fn total(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_counted_while_it_does() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Stopwatch::default();
        watch.end(at(1));
        assert_eq!(watch.total(at(2)), Duration::ZERO);
        watch.begin(at(2));
        watch.begin(at(3));
        assert_eq!(watch.total(at(5)), Duration::from_secs(3));
        watch.end(at(6));
        assert_eq!(watch.total(at(9)), Duration::from_secs(4));
        watch.begin(at(9));
        watch.end(at(10));
        assert_eq!(watch.total(at(12)), Duration::from_secs(5));
    }
}
