//! Windows of so many rows of a key.

use std::num::NonZeroU32;

use crate::arrangement::Arrangement;
use crate::collection::Collection;
use crate::operators::reduce::Reduce;
use crate::rows::Row;

/// Windows of so many rows of a key.
pub trait CountWindows<'s, K: Row, V: Row> {
    /// Each row with the number of its window before it, from 0: of a key's rows in their order, the first `size` are in window 0,
    /// the next `size` in window 1, and so on. A row that is there several times is as many rows, one that is there less than
    /// once is none. For windows by time, the time comes first in the row.
    ///
    /// The answer is that of the rows that are there: one that comes late, or is withdrawn, moves those behind it. A key costs
    /// its rows in each epoch in which one of them changes; what is handed on are those that have moved.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// use std::num::NonZeroU32;
    /// /// Of each sensor, ten readings at a time.
    /// fn tens<'s>(readings: Collection<'s, (Text, (Timestamp, i64))>) -> Collection<'s, (Text, (i64, (Timestamp, i64)))> {
    ///     let ten = NonZeroU32::new(10).expect("ten is not none");
    ///     readings.persist("readings").arrange("readings").count_windows("tens", ten)
    /// }
    /// ```
    fn count_windows(self, name: &str, size: NonZeroU32) -> Collection<'s, (K, (i64, V))>;
}

impl<'s, K: Row, V: Row> CountWindows<'s, K, V> for Arrangement<'s, K, V> {
    fn count_windows(self, name: &str, size: NonZeroU32) -> Collection<'s, (K, (i64, V))> {
        let size = i64::from(size.get());
        self.reduce::<(i64, V)>(name, move |_key, rows, out| {
            // How many rows come before this one.
            let mut place = 0;
            for (row, mut times) in rows {
                while times > 0 {
                    let (window, room) = (place / size, size - place % size);
                    out.push_diff((window, row), times.min(room));
                    (place, times) = (place + times.min(room), times - room);
                }
            }
        })
    }
}
