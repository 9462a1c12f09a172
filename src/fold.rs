//! Warnings that come again and again, folded: the first at once, then one line in ten seconds that says how many more
//! there were.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two lines of one kind.
const EVERY: Duration = Duration::from_secs(10);

/// Folds the warnings of one kind. Share it, for instance in an `Arc`, between all that warn of that kind in a process.
#[derive(Debug)]
pub struct Folded {
    /// What is counted, in the plural: `dead letters`.
    what: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the last line was written.
    last: Option<Instant>,
    /// How many there were since.
    more: u64,
}

impl Folded {
    /// For warnings of `what`, in the plural.
    pub const fn new(what: &'static str) -> Self {
        Folded { what, state: Mutex::new(State { last: None, more: 0 }) }
    }

    /// Warns with the line that `line` makes, or counts: see [`Folded::note`].
    pub fn warn(&self, line: impl FnOnce() -> String) {
        if let Some(rest) = self.note(Instant::now()) {
            tracing::warn!("{}{rest}", line());
        }
    }

    /// Something of this kind happened `now`. Returns what to add to the line about it, where one is due: nothing the
    /// first time, then ` (3,412 more in 10 s)`; `None` where it is only counted.
    pub fn note(&self, now: Instant) -> Option<String> {
        let mut state = self.lock();
        let since = state.last.map(|last| now.saturating_duration_since(last));
        if since.is_some_and(|since| since < EVERY) {
            state.more += 1;
            return None;
        }
        state.last = Some(now);
        let more = std::mem::take(&mut state.more);
        Some(match since {
            Some(since) if more > 0 => format!(" ({} more in {})", count(more), seconds(since)),
            _ => String::new(),
        })
    }

    /// Says how many were only counted, if there are some and ten seconds have passed since the last line. To be called
    /// now and then, where what is folded may cease.
    pub fn tick(&self) {
        if let Some(line) = self.due(Instant::now(), EVERY) {
            tracing::warn!("{line}");
        }
    }

    fn due(&self, now: Instant, after: Duration) -> Option<String> {
        let mut state = self.lock();
        let since = now.saturating_duration_since(state.last?);
        if state.more == 0 || since < after {
            return None;
        }
        state.last = Some(now);
        let more = std::mem::take(&mut state.more);
        Some(format!("{}: {} more in {}", self.what, count(more), seconds(since)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Folded {
    /// Says how many were only counted since the last line.
    fn drop(&mut self) {
        if let Some(line) = self.due(Instant::now(), Duration::ZERO) {
            tracing::warn!("{line}");
        }
    }
}

fn count(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64().round().max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_others_are_counted() {
        let folded = Folded::new("dead letters");
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(folded.note(start).as_deref(), Some(""));
        for _ in 0..3412 {
            assert_eq!(folded.note(at(3)), None);
        }
        assert_eq!(folded.note(at(10)).as_deref(), Some(" (3,412 more in 10 s)"));
        assert_eq!(folded.note(at(25)).as_deref(), Some(""), "there were no more");
    }

    #[test]
    fn what_is_only_counted_is_said_in_time() {
        let folded = Folded::new("dead letters");
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(folded.due(at(99), EVERY), None, "there was none");
        folded.note(start);
        assert_eq!(folded.due(at(99), EVERY), None, "all was said");
        folded.note(at(1));
        assert_eq!(folded.due(at(9), EVERY), None, "too early");
        assert_eq!(folded.due(at(12), EVERY).as_deref(), Some("dead letters: 1 more in 12 s"));
        assert_eq!(folded.note(at(13)), None);
        assert_eq!(folded.due(at(13), Duration::ZERO).as_deref(), Some("dead letters: 1 more in 1 s"));
    }
}
