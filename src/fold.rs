//! Warnings that come again and again, folded: the first at once, then one line in ten seconds that says how many more
//! there were.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two lines of one kind.
const EVERY: Duration = Duration::from_secs(10);

/// Those that live as long as the program: what they have only counted is said by [`tick`] and [`finish`].
static LASTING: LazyLock<Mutex<Vec<&'static Folded>>> = LazyLock::new(Mutex::default);

fn lasting() -> Vec<&'static Folded> {
    LASTING.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// As [`Folded::tick`], for all that live as long as the program.
pub fn tick() {
    lasting().into_iter().for_each(Folded::tick);
}

/// Says how many were only counted, for all that live as long as the program: it is about to end.
pub fn finish() {
    lasting().into_iter().for_each(Folded::finish);
}

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
        Folded { what, state: Mutex::new(State::new()) }
    }

    /// Warns with the line that `line` makes, or counts: see [`Folded::note`].
    pub fn warn(&self, line: impl FnOnce() -> String) {
        if let Some(rest) = self.note(Instant::now()) {
            tracing::warn!("{}{rest}", line());
        }
    }

    /// As [`Folded::warn`], for one that lives as long as the program.
    pub fn warn_always(&'static self, line: impl FnOnce() -> String) {
        let mut lasting = LASTING.lock().unwrap_or_else(PoisonError::into_inner);
        if !lasting.iter().any(|folded| std::ptr::eq(*folded, self)) {
            lasting.push(self);
        }
        drop(lasting);
        self.warn(line);
    }

    /// Something of this kind happened `now`. Returns what to add to the line about it, where one is due: nothing the
    /// first time, then ` (3,412 more in 10 s)`; `None` where it is only counted.
    pub fn note(&self, now: Instant) -> Option<String> {
        self.lock().note(now)
    }

    /// Says how many were only counted, if there are some and ten seconds have passed since the last line. To be called
    /// now and then, where what is folded may cease.
    pub fn tick(&self) {
        if let Some(line) = self.due(Instant::now(), EVERY) {
            tracing::warn!("{line}");
        }
    }

    fn finish(&self) {
        if let Some(line) = self.due(Instant::now(), Duration::ZERO) {
            tracing::warn!("{line}");
        }
    }

    fn due(&self, now: Instant, after: Duration) -> Option<String> {
        let (more, since) = self.lock().due(now, after)?;
        Some(format!("{}: {} more in {}", self.what, count(more), seconds(since)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn new() -> Self {
        State { last: None, more: 0 }
    }

    fn note(&mut self, now: Instant) -> Option<String> {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        if since.is_some_and(|since| since < EVERY) {
            self.more += 1;
            return None;
        }
        self.last = Some(now);
        let more = std::mem::take(&mut self.more);
        Some(match since {
            Some(since) if more > 0 => format!(" ({} more in {})", count(more), seconds(since)),
            _ => String::new(),
        })
    }

    /// How many were only counted, and since when.
    fn due(&mut self, now: Instant, after: Duration) -> Option<(u64, Duration)> {
        let since = now.saturating_duration_since(self.last?);
        if self.more == 0 || since < after {
            return None;
        }
        self.last = Some(now);
        Some((std::mem::take(&mut self.more), since))
    }
}

/// Folds warnings of many kinds, each by itself, by what `key` says of them.
#[derive(Debug)]
pub struct FoldedBy(Mutex<BTreeMap<String, State>>);

/// Kinds that are told apart; those beyond are one.
const KINDS: usize = 64;

impl FoldedBy {
    /// For warnings of kinds that are not known yet.
    pub const fn new() -> Self {
        FoldedBy(Mutex::new(BTreeMap::new()))
    }

    /// As [`Folded::note`], for something of this kind.
    pub fn note(&self, key: &str, now: Instant) -> Option<String> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if kinds.contains_key(key) || kinds.len() < KINDS { key } else { "" };
        kinds.entry(key.to_owned()).or_insert(State::new()).note(now)
    }
}

impl Default for FoldedBy {
    fn default() -> Self {
        FoldedBy::new()
    }
}

impl Drop for Folded {
    /// Says how many were only counted since the last line.
    fn drop(&mut self) {
        self.finish();
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
    fn kinds_are_folded_each_by_itself() {
        let folded = FoldedBy::new();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(folded.note("a", start).as_deref(), Some(""));
        assert_eq!(folded.note("b", start).as_deref(), Some(""));
        assert_eq!(folded.note("a", at(1)), None);
        assert_eq!(folded.note("b", at(12)).as_deref(), Some(""));
        assert_eq!(folded.note("a", at(12)).as_deref(), Some(" (1 more in 12 s)"));
        (0..100).for_each(|kind| drop(folded.note(&kind.to_string(), start)));
        assert_eq!(folded.note("of yet another kind", start), None, "they are bounded");
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
