//! Pairs of rows with the same key whose times are near each other.
//!
//! Time is cut into pieces as long as the interval. A row on the right is in one of them, one on the left looks into the one
//! or two that its interval touches: a join by key and piece, of which what is outside of the interval is dropped. The pieces
//! of a key are spread over the workers.

use std::ops::RangeInclusive;

use crate::collection::Collection;
use crate::operators::map::Map;
use crate::rows::{Row, Timestamp};

/// A row with its time.
pub type At<V> = (Timestamp, V);

/// A row of a key, and one of the other side that is near it.
pub type Near<K, V, W> = (K, (At<V>, At<W>));

/// Pairs of rows with the same key whose times are near each other.
pub trait IntervalJoin<'s, K: Row, V: Row> {
    /// The pairs of rows with the same key of which the time of `other` minus that of this one is in `interval`, in
    /// microseconds: `-MINUTE..=0` for what came up to a minute before. Each as often as the two are there, multiplied;
    /// withdrawals on either side withdraw pairs.
    ///
    /// An epoch costs two probes for each row that changes on this side and one for each on the other, and the pairs in the
    /// pieces of time that are looked at, of which about half are in the interval: not the rows of a key. An arrangement holds
    /// the rows of this side up to twice, another one those of the other.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// const MINUTE: i64 = 60_000_000;
    ///
    /// /// Clicks with the advertisements that the user was shown in the ten minutes before.
    /// fn led<'s>(
    ///     clicks: Collection<'s, (Text, (Timestamp, Text))>,
    ///     shown: Collection<'s, (Text, (Timestamp, Text))>,
    /// ) -> Collection<'s, (Text, ((Timestamp, Text), (Timestamp, Text)))> {
    ///     clicks.persist("clicks").interval_join(shown.persist("shown"), -10 * MINUTE..=0)
    /// }
    /// ```
    ///
    /// # Panics
    /// If the interval is empty.
    #[track_caller]
    fn interval_join<W: Row>(
        self,
        other: Collection<'s, (K, At<W>)>,
        interval: RangeInclusive<i64>,
    ) -> Collection<'s, Near<K, V, W>>;
}

impl<'s, K: Row, V: Row> IntervalJoin<'s, K, V> for Collection<'s, (K, At<V>)> {
    #[track_caller]
    fn interval_join<W: Row>(
        self,
        other: Collection<'s, (K, At<W>)>,
        interval: RangeInclusive<i64>,
    ) -> Collection<'s, Near<K, V, W>> {
        assert!(
            !interval.is_empty(),
            "no time is in the interval from {} to {}",
            interval.start(),
            interval.end()
        );
        let (from, to) = interval.into_inner();
        let piece = to.saturating_sub(from).max(1);
        let pieces = self.flat_map::<((K, i64), At<V>)>(move |(key, (at, value)), out| {
            let first = at.micros().saturating_add(from).div_euclid(piece);
            let last = at.micros().saturating_add(to).div_euclid(piece);
            (first..=last).for_each(|piece| out.push(((key, piece), (at, value))));
        });
        let others = other.flat_map::<((K, i64), At<W>)>(move |(key, (at, value)), out| {
            out.push(((key, at.micros().div_euclid(piece)), (at, value)));
        });
        let near = i128::from(from)..=i128::from(to);
        pieces.arrange("interval join").join_core(
            others.arrange("interval join with"),
            move |(key, _piece), one, other, out| {
                if near.contains(&(i128::from(other.0.micros()) - i128::from(one.0.micros()))) {
                    out.push((key, (one, other)));
                }
            },
        )
    }
}
