//! From records to rows.

use std::marker::PhantomData;

use crate::Diff;
use crate::combine::Combiner;
use crate::record::{Malformed, Record};
use crate::rows::{Row, Timestamp};

/// Turns records into rows, inside the source operator, on the borrowed record.
pub trait Decode: 'static {
    /// The rows it makes.
    type Row: Row;

    /// Appends the rows of one record.
    ///
    /// # Errors
    /// A record that can't be read is [`Malformed`]: it becomes a dead letter and the rest goes on. A record's rows count
    /// all or not at all: those that were pushed before the error don't.
    ///
    /// # Panics
    /// A panic is caught: the record becomes a dead letter with the panic's message. The decoder is used for the next
    /// record as the panic left it.
    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Self::Row>) -> Result<(), Malformed>;

    /// The name of the format that it reads, where it is one that has a name: `--format` may say that name, which changes
    /// nothing, and no other.
    fn format(&self) -> Option<&'static str> {
        None
    }
}

/// Takes the rows of a record and sums equal ones. They count when the whole record has been decoded.
pub struct Rows<'a, R> {
    combiner: &'a mut Combiner,
    event_time: Option<Timestamp>,
    is_early: bool,
    row: PhantomData<R>,
}

impl<'a, R: Row> Rows<'a, R> {
    /// Rows that are summed in `combiner`.
    pub fn new(combiner: &'a mut Combiner) -> Self {
        Rows { combiner, event_time: None, is_early: false, row: PhantomData }
    }

    /// Adds a row once.
    #[inline]
    pub fn push(&mut self, row: R::Ref<'_>) {
        self.push_diff(row, 1);
    }

    /// Adds a row so many times; withdraws it where that is negative.
    #[inline]
    pub fn push_diff(&mut self, row: R::Ref<'_>, diff: Diff) {
        self.combiner.stage_row::<R>(row, diff);
    }

    /// Adds the row that `write` encodes, so many times; none, if it fails.
    ///
    /// What it writes must be the encoding of such a row.
    #[inline]
    pub(crate) fn push_written<T, E>(
        &mut self,
        diff: Diff,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.combiner.stage_written(diff, write)
    }

    /// Says when what the record tells of took place: without it, that is the record's timestamp. The watermark of its
    /// partition is the largest of these. It counts as the rows do: when the whole record has been decoded.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// Lines that begin with the second in which they were written.
    /// struct Seconds;
    ///
    /// impl Decode for Seconds {
    ///     type Row = Text;
    ///     fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Text>) -> Result<(), Malformed> {
    ///         let line = std::str::from_utf8(record.value.unwrap_or_default());
    ///         let (second, text) = line.ok().and_then(|line| line.split_once(' ')).ok_or(Malformed::because("no time"))?;
    ///         let second: i64 = second.parse().map_err(|_| Malformed::because("no number"))?;
    ///         rows.event_time(Timestamp::from_micros(second * 1_000_000));
    ///         rows.push(text);
    ///         Ok(())
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn event_time(&mut self, time: Timestamp) {
        self.event_time = Some(time);
    }

    /// Says that the record can't be decoded yet: whatever was pushed of it does not count, and it comes once more, before
    /// all others of its partition. What it takes must be on its way by then, in another thread.
    pub fn not_yet(&mut self) {
        self.is_early = true;
    }

    /// True iff that was said.
    pub(crate) fn is_early(&self) -> bool {
        self.is_early
    }

    /// What was said of it.
    pub(crate) fn told_event_time(&self) -> Option<Timestamp> {
        self.event_time
    }
}
