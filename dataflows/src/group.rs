//! The rows of a key, read in place.

use std::cmp::Ordering;
use std::marker::PhantomData;

use crate::Diff;
use crate::rows::{Place, Row};

/// An encoded row without its key, and its difference.
pub(crate) type Encoded<'a> = (&'a [u8], Diff);

/// Rows of a key: in order, net, each with its difference. A row is decoded when it is looked at, so a logic that looks at
/// the last ten of a thousand costs ten.
pub struct Group<'a, R: Row> {
    rows: &'a [Encoded<'a>],
    row: PhantomData<fn() -> R>,
}

impl<R: Row> Clone for Group<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: Row> Copy for Group<'_, R> {}

impl<'a, R: Row> Group<'a, R> {
    pub(crate) fn new(rows: &'a [Encoded<'a>]) -> Self {
        Group { rows, row: PhantomData }
    }

    /// How many rows there are, each counted once.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True iff there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The least row.
    pub fn first(&self) -> Option<R::Ref<'a>> {
        self.iter().next().map(|(row, _)| row)
    }

    /// The greatest row.
    pub fn last(&self) -> Option<R::Ref<'a>> {
        self.iter().next_back().map(|(row, _)| row)
    }

    /// The rows in order, each with its difference.
    pub fn iter(&self) -> Iter<'a, R> {
        Iter { rows: self.rows.iter(), row: PhantomData }
    }
}

impl<'a, R: Row> IntoIterator for Group<'a, R> {
    type Item = (R::Ref<'a>, Diff);
    type IntoIter = Iter<'a, R>;
    fn into_iter(self) -> Iter<'a, R> {
        self.iter()
    }
}

/// The rows of a [`Group`], from either end.
#[derive(Clone)]
pub struct Iter<'a, R> {
    rows: std::slice::Iter<'a, Encoded<'a>>,
    row: PhantomData<fn() -> R>,
}

#[inline]
fn read<'a, R: Row>(&(mut row, diff): &Encoded<'a>) -> (R::Ref<'a>, Diff) {
    (R::read(&mut row, Place::Last).expect("rows of a collection are encoded rows"), diff)
}

impl<'a, R: Row> Iterator for Iter<'a, R> {
    type Item = (R::Ref<'a>, Diff);
    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next().map(read::<R>)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rows.size_hint()
    }
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        self.rows.nth(n).map(read::<R>)
    }
}

impl<R: Row> DoubleEndedIterator for Iter<'_, R> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.rows.next_back().map(read::<R>)
    }
}

impl<R: Row> ExactSizeIterator for Iter<'_, R> {}

/// Sorts rows, sums equal ones, and drops those that come to nothing.
pub(crate) fn net(rows: &mut Vec<Encoded<'_>>) {
    // They come from batches that are in order: this sort finds such runs and merges them.
    rows.sort_by(|a, b| compare(a.0, b.0));
    rows.dedup_by(|next, sum| {
        let same = compare(next.0, sum.0).is_eq();
        if same {
            sum.1 += next.1;
        }
        same
    });
    rows.retain(|&(_, diff)| diff != 0);
}

/// Adds changes to rows that are net, and leaves them so. Good for few changes.
pub(crate) fn add<'a>(rows: &mut Vec<Encoded<'a>>, changes: impl IntoIterator<Item = Encoded<'a>>) {
    for (row, diff) in changes {
        match rows.binary_search_by(|other| compare(other.0, row)) {
            Ok(at) if rows[at].1 + diff == 0 => drop(rows.remove(at)),
            Ok(at) => rows[at].1 += diff,
            Err(at) => rows.insert(at, (row, diff)),
        }
    }
}

/// Compares bytes; the first eight as a number, which tells most rows apart without a call.
#[inline]
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    if let (Some(first), Some(other)) = (a.first_chunk(), b.first_chunk()) {
        let order = u64::from_be_bytes(*first).cmp(&u64::from_be_bytes(*other));
        if order.is_ne() {
            return order;
        }
    }
    a.cmp(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_net_however_they_came() {
        let texts = ["", "a", "abcdefgh", "abcdefgh\0", "abcdefgi", "abcdefg", "b", "\u{ff}zzzzzzzzz"];
        let mut all: Vec<Encoded<'_>> = Vec::new();
        for turn in 0..60i64 {
            all.push((texts[(turn * 5 % 8) as usize].as_bytes(), turn % 5 - 2));
        }
        let mut sums = std::collections::BTreeMap::new();
        all.iter().for_each(|&(row, diff)| *sums.entry(row).or_insert(0) += diff);
        let expected: Vec<_> = sums.into_iter().filter(|(_, diff)| *diff != 0).collect();
        let mut added = Vec::new();
        add(&mut added, all.iter().copied().filter(|(_, diff)| *diff != 0));
        assert_eq!(added, expected);
        net(&mut all);
        assert_eq!(all, expected);
    }
}
