//! The first rows of each key, with their ranks.
//!
//! In two stages, so that no key is one worker's alone, however many rows it has: each worker holds the rows that are there
//! already, wherever their own hash says, and finds the first of each key among them; these alone go to the key's worker,
//! which ranks them. Both look at the first rows of an ordered arrangement, and at no others.

use crate::arrange::arrange;
use crate::collection::Collection;
use crate::flat::FlatBuilder;
use crate::key::First;
use crate::operators::exchange::Exchange;
use crate::operators::reduce_ordered::reduce_views;
use crate::ordered::View;
use crate::rows::{Row, Schema, order};

/// The first rows of each key, with their ranks.
pub trait TopK<'s, K: Row, V: Row> {
    /// The `most` greatest rows of each key, each with its rank, from 1 and without gaps. A row that is there several times
    /// has as many ranks.
    ///
    /// A key costs `most` steps before and after in each epoch in which it changes, each a logarithm of the number of its rows:
    /// half of that where what changes is behind those that are ranked. Each worker holds its part of all rows, and the key's
    /// worker up to `most` rows of each worker. A rank costs its rows, so one that comes in at the front moves all.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// The three longest words of each language.
    /// fn longest<'s>(words: Collection<'s, (Text, (i64, Text))>) -> Collection<'s, (Text, (i64, (i64, Text)))> {
    ///     words.persist("words").greatest("longest", 3)
    /// }
    /// ```
    fn greatest(self, name: &str, most: u32) -> Collection<'s, (K, (i64, V))>;

    /// As [`TopK::greatest`], of the least rows. A column to be ranked from the greatest down before others from the least up
    /// is inverted: `!count`, say, which is the other way about the same.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// The ten products of which most were sold, and those of the same number by name.
    /// fn sellers<'s>(sold: Collection<'s, (Text, (i64, Text))>) -> Collection<'s, (Text, i64, Text, i64)> {
    ///     let ranked = sold.map::<(Text, (i64, Text))>(|&(shop, (pieces, product))| (shop, (!pieces, product)));
    ///     let ranked = ranked.persist("sold").least("sellers", 10);
    ///     ranked.map::<(Text, i64, Text, i64)>(|&(shop, (rank, (pieces, product)))| (shop, rank, product, !pieces))
    /// }
    /// ```
    fn least(self, name: &str, most: u32) -> Collection<'s, (K, (i64, V))>;
}

impl<'s, K: Row, V: Row> TopK<'s, K, V> for Collection<'s, (K, V)> {
    fn greatest(self, name: &str, most: u32) -> Collection<'s, (K, (i64, V))> {
        top::<K, V, false>(self, name, most)
    }

    fn least(self, name: &str, most: u32) -> Collection<'s, (K, (i64, V))> {
        top::<K, V, true>(self, name, most)
    }
}

fn top<'s, K: Row, V: Row, const UP: bool>(
    rows: Collection<'s, (K, V)>,
    name: &str,
    most: u32,
) -> Collection<'s, (K, (i64, V))> {
    let columns = Schema::of::<K>().columns.len();
    // One worker has all of a key's rows as it is.
    let rows = if rows.flow().workers() > 1 { candidates::<K, V, UP>(rows, name, most) } else { rows };
    let ranked = rows.arrange(name);
    let flow = ranked.flow().clone();
    let name = format!("TopK: {name}");
    let ranked = reduce_views::<K, (i64, V)>(&flow, ranked.into_arranged(), &name, move |key, rows, out| {
        let mut rank = 0;
        first::<UP>(rows, most, |row, times| {
            for _ in 0..times {
                rank += 1;
                write_row(out, 1, key, |bytes| order::write_i64(rank, bytes), row);
            }
        });
    });
    ranked.unique_by(columns + 1)
}

/// The first rows of each key among those of each worker: all that can be among the first of all.
fn candidates<'s, K: Row, V: Row, const UP: bool>(
    rows: Collection<'s, (K, V)>,
    name: &str,
    most: u32,
) -> Collection<'s, (K, V)> {
    rows.remembered_by(name);
    let flow = rows.flow().clone();
    // By their own hash, so that equal rows meet; by key on each worker.
    let arranged =
        arrange::<First<K>>(rows.exchange().changes(), &format!("Arrange: {name}, of each worker"));
    let name = format!("TopK: {name}, of each worker");
    reduce_views::<K, V>(&flow, arranged, &name, move |key, rows, out| {
        first::<UP>(rows, most, |row, times| write_row(out, times, key, |_| {}, row));
    })
}

/// Shows the first rows that are there, each with how often it counts: `most` in all.
fn first<const UP: bool>(rows: View<'_>, most: u32, each: impl FnMut(&[u8], i64)) {
    fn take<'a>(rows: impl Iterator<Item = (&'a [u8], i64)>, most: u32, mut each: impl FnMut(&[u8], i64)) {
        let mut left = i64::from(most);
        let mut rows = rows.filter(|(_, times)| *times > 0);
        while left > 0 {
            let Some((row, times)) = rows.next() else { return };
            let times = times.min(left);
            each(row, times);
            left -= times;
        }
    }
    if UP { take(rows.up(), most, each) } else { take(rows.down(), most, each) }
}

/// Writes a row: the key, what `between` writes, and the value.
fn write_row(
    out: &mut FlatBuilder,
    times: i64,
    key: &[u8],
    between: impl FnOnce(&mut Vec<u8>),
    value: &[u8],
) {
    out.push_with(times, |bytes| {
        bytes.extend_from_slice(key);
        between(bytes);
        bytes.extend_from_slice(value);
    });
}
