//! The operator `streak`: how many values in a row, the newest ones, were above a limit.

use cutwater::prelude::*;

/// How many values in a row were above a limit.
pub trait Streak<'s> {
    /// For each key, how many of its newest values were above `limit`, without one between them that was not. A key whose
    /// newest value was not above it has no row.
    ///
    /// A key costs its row, which survives under `name`, and its values in each epoch in which it has some. Values of an epoch
    /// are taken in the order of their times; one that comes in a later epoch is taken for newer.
    fn streak(self, name: &str, limit: i64) -> Collection<'s, (Text, i64)>;
}

impl<'s> Streak<'s> for Collection<'s, (Text, (Timestamp, i64))> {
    #[track_caller]
    fn streak(self, name: &str, limit: i64) -> Collection<'s, (Text, i64)> {
        self.stateful::<i64>(name, move |_key, state, values, out| {
            let mut streak = state.first().unwrap_or(0);
            for ((_at, value), count) in values {
                streak = if value > limit { streak + count } else { 0 };
            }
            out.extend((streak > 0).then_some(streak));
        })
    }
}
