//! The rows of a key in order, read where they are, as far as somebody looks.
//!
//! An arrangement holds the rows of a key side by side, in the order of their values, in each of its few batches. A walk
//! merges those as it goes, so the least ten of a million rows cost ten steps, and a row in the middle a search by halves.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::arrange::Batch;
use crate::group::compare;
use crate::rows::{Place, Row};
use crate::{Diff, Epoch};

/// The rows of a key: in order, net, each with its difference. Nothing is read before it is looked at.
///
/// A step costs a comparison for each batch that has rows of the key: a logarithm of their number. Rows that were withdrawn
/// are passed over until the batches that have both are merged; those at the ends once, not each time.
pub struct Ordered<'a, V: Row> {
    rows: View<'a>,
    row: PhantomData<fn() -> V>,
}

impl<V: Row> Clone for Ordered<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: Row> Copy for Ordered<'_, V> {}

impl<'a, V: Row> Ordered<'a, V> {
    pub(crate) fn new(rows: View<'a>) -> Self {
        Ordered { rows, row: PhantomData }
    }

    /// The rows from the least on.
    pub fn iter(&self) -> impl Iterator<Item = (V::Ref<'a>, Diff)> + use<'a, V> {
        self.rows.up().map(read::<V>)
    }

    /// The rows from the greatest on.
    pub fn rev(&self) -> impl Iterator<Item = (V::Ref<'a>, Diff)> + use<'a, V> {
        self.rows.down().map(read::<V>)
    }

    /// The rows whose first columns are not less than `columns`, from the least on. `P` is the type of the first columns of
    /// `V`, which has more of them, or of all, where they are no text and no bytes.
    pub fn from<P: Row>(
        &self,
        columns: P::Ref<'_>,
    ) -> impl Iterator<Item = (V::Ref<'a>, Diff)> + use<'a, V, P> {
        self.rows.up_from(&prefix::<P>(columns)).map(read::<V>)
    }

    /// The rows whose first columns are not greater than `columns`, from the greatest on: see [`Ordered::from`].
    pub fn until<P: Row>(
        &self,
        columns: P::Ref<'_>,
    ) -> impl Iterator<Item = (V::Ref<'a>, Diff)> + use<'a, V, P> {
        self.rows.down_from(&prefix::<P>(columns)).map(read::<V>)
    }

    /// The least row that is there at least once.
    pub fn first(&self) -> Option<V::Ref<'a>> {
        self.iter().find(|(_, diff)| *diff > 0).map(|(row, _)| row)
    }

    /// The greatest row that is there at least once.
    pub fn last(&self) -> Option<V::Ref<'a>> {
        self.rev().find(|(_, diff)| *diff > 0).map(|(row, _)| row)
    }
}

fn read<V: Row>((mut row, diff): (&[u8], Diff)) -> (V::Ref<'_>, Diff) {
    (V::read(&mut row, Place::Last).expect("rows of a collection are encoded rows"), diff)
}

fn prefix<P: Row>(columns: P::Ref<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    P::write(columns, Place::Inner, &mut bytes);
    bytes
}

/// Rows of a key in a batch.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) batch: &'a Batch,
    /// Where they are there.
    pub(crate) range: (usize, usize),
    /// Only those of epochs before it.
    pub(crate) before: Epoch,
}

/// How far rows were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach<'a> {
    /// From the least to this one.
    up: Option<&'a [u8]>,
    /// From the greatest to this one.
    down: Option<&'a [u8]>,
    /// All of them, or somewhere in the middle.
    all: bool,
    /// The least row, or the last of those that were withdrawn if there is none, and how many of these came before.
    pub(crate) low: Option<(&'a [u8], u32)>,
    /// As much from the greatest on.
    pub(crate) high: Option<(&'a [u8], u32)>,
}

impl Reach<'_> {
    /// True iff a row was seen at an end.
    pub(crate) fn has_seen(self) -> bool {
        self.up.is_some() || self.down.is_some()
    }

    /// True iff what was seen is not changed by rows from `first` to `last`.
    pub(crate) fn is_short_of(self, first: &[u8], last: &[u8]) -> bool {
        let short = self.up.is_none_or(|up| up < first) && self.down.is_none_or(|down| last < down);
        short && !self.all && self.has_seen()
    }
}

/// The rows of a key, encoded, without the key.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    parts: &'a [Part<'a>],
    /// Bytes of the key.
    key: usize,
    reach: &'a Cell<Reach<'a>>,
    low: Option<&'a [u8]>,
    high: Option<&'a [u8]>,
}

impl<'a> View<'a> {
    pub(crate) fn new(parts: &'a [Part<'a>], key: usize, reach: &'a Cell<Reach<'a>>) -> Self {
        View { parts, key, reach, low: None, high: None }
    }

    /// The same rows, of which none is below `low` or above `high`.
    pub(crate) fn within(self, low: Option<&'a [u8]>, high: Option<&'a [u8]>) -> Self {
        View { low, high, ..self }
    }

    /// Rows from the least on.
    pub(crate) fn up(self) -> Walk<'a, true> {
        let low = |part: &Part<'a>, (start, end)| match self.low {
            Some(low) => (self.find(part, (start, end), |row| row < low), end),
            None => (start, end),
        };
        Walk { passed: Some((&[], 0)), ..self.walk(low) }
    }

    /// Rows from the greatest on.
    pub(crate) fn down(self) -> Walk<'a, false> {
        let high = |part: &Part<'a>, (start, end)| match self.high {
            Some(high) => (start, self.find(part, (start, end), |row| row <= high)),
            None => (start, end),
        };
        Walk { passed: Some((&[], 0)), ..self.walk(high) }
    }

    /// Rows from the first on that is not less than these bytes.
    pub(crate) fn up_from(self, bytes: &[u8]) -> Walk<'a, true> {
        self.note_all();
        self.walk(|part, (start, end)| (self.find(part, (start, end), |row| row < bytes), end))
    }

    /// Rows from the last on that is less than these bytes, or begins with them.
    pub(crate) fn down_from(self, bytes: &[u8]) -> Walk<'a, false> {
        self.note_all();
        let before = |row: &[u8]| row < bytes || row.starts_with(bytes);
        self.walk(|part, (start, end)| (start, self.find(part, (start, end), before)))
    }

    fn note_all(self) {
        self.reach.set(Reach { all: true, ..self.reach.get() });
    }

    /// True iff there is no row.
    pub(crate) fn is_empty(self) -> bool {
        let seen = self.reach.get();
        let empty = self.up().next().is_none();
        self.reach.set(seen);
        empty
    }

    /// Where the first row of a part is that is not `before`.
    fn find(
        self,
        part: &Part<'a>,
        (mut start, mut end): (usize, usize),
        before: impl Fn(&[u8]) -> bool,
    ) -> usize {
        while start < end {
            let middle = start.midpoint(end);
            if before(&part.batch.update(middle).row[self.key..]) {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        start
    }

    fn walk<const UP: bool>(
        self,
        range: impl Fn(&Part<'a>, (usize, usize)) -> (usize, usize),
    ) -> Walk<'a, UP> {
        let cursor = |part: &Part<'a>| {
            let mut cursor = Cursor { part: *part, row: &[], diff: 0 };
            cursor.part.range = range(part, part.range);
            cursor.step::<UP>(self.key).then_some(cursor)
        };
        Walk { cursors: self.parts.iter().filter_map(cursor).collect(), view: self, passed: None }
    }
}

/// Where a walk is in a part: at a row, which is not part of the range any more.
struct Cursor<'a> {
    part: Part<'a>,
    row: &'a [u8],
    diff: Diff,
}

impl Cursor<'_> {
    /// Goes to the next row. False if there is none.
    #[inline]
    fn step<const UP: bool>(&mut self, key: usize) -> bool {
        let Part { batch, range: (start, end), before } = &mut self.part;
        while start < end {
            let index = if UP { *start } else { *end - 1 };
            if UP {
                *start += 1
            } else {
                *end -= 1
            }
            let update = batch.update(index);
            if update.time < *before {
                (self.row, self.diff) = (&update.row[key..], update.diff);
                return true;
            }
        }
        false
    }
}

/// Rows of a key in order, or in the opposite one.
pub(crate) struct Walk<'a, const UP: bool> {
    cursors: Vec<Cursor<'a>>,
    view: View<'a>,
    /// From an end, until the first row: the last one that was passed over, and how many were.
    passed: Option<(&'a [u8], u32)>,
}

impl<'a, const UP: bool> Iterator for Walk<'a, UP> {
    type Item = (&'a [u8], Diff);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(row) = self.head() else {
                self.note_end(None);
                self.view.note_all();
                return None;
            };
            let diff = self.take(row);
            if diff != 0 {
                self.note_end(Some(row));
                self.note(row);
                return Some((row, diff));
            }
            self.passed = self.passed.map(|(_, count)| (row, count.saturating_add(1)));
        }
    }
}

impl<'a, const UP: bool> Walk<'a, UP> {
    /// The row that is next.
    #[inline]
    fn head(&self) -> Option<&'a [u8]> {
        let (first, rest) = self.cursors.split_first()?;
        let mut head = first.row;
        for cursor in rest {
            let order = compare(cursor.row, head);
            if if UP { order.is_lt() } else { order.is_gt() } {
                head = cursor.row;
            }
        }
        Some(head)
    }

    /// What the differences of a row come to; all cursors go past it.
    #[inline]
    fn take(&mut self, row: &[u8]) -> Diff {
        let (mut sum, mut index) = (0, 0);
        while let Some(cursor) = self.cursors.get_mut(index) {
            let mut more = true;
            while more && cursor.row == row {
                sum += cursor.diff;
                more = cursor.step::<UP>(self.view.key);
            }
            if more {
                index += 1;
            } else {
                self.cursors.swap_remove(index);
            }
        }
        sum
    }

    /// Notes where the rows begin, when a walk from an end comes to the first one, or to none.
    #[inline]
    fn note_end(&mut self, row: Option<&'a [u8]>) {
        let Some((passed, count)) = self.passed.take() else { return };
        let mut reach = self.view.reach.get();
        let end = Some((row.unwrap_or(passed), count));
        if UP {
            reach.low = end;
        } else {
            reach.high = end;
        }
        self.view.reach.set(reach);
    }

    /// Notes that somebody looked at a row.
    #[inline]
    fn note(&self, row: &'a [u8]) {
        let mut reach = self.view.reach.get();
        if UP {
            reach.up = reach.up.max(Some(row));
        } else {
            reach.down = Some(reach.down.map_or(row, |down| down.min(row)));
        }
        self.view.reach.set(reach);
    }
}
