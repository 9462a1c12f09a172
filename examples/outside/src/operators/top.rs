//! A keyed operator: it looks at all rows of a key, which an arrangement holds. The library's own `greatest` looks at the first
//! ones alone, by `reduce_ordered`, and needs no worker that has all rows of a key.

use cutwater::prelude::*;

/// The greatest rows of each key.
pub trait Top<'s, K: Row, V: Row> {
    /// The `most` greatest rows of each key, each with its rank, from 1; of equal ones, as many as there are.
    ///
    /// A key costs its rows in each epoch in which one of them changes. What is held is the arrangement, which other operators
    /// may read as well.
    fn top(self, most: i64) -> Collection<'s, (K, (i64, V))>;
}

impl<'s, K: Row, V: Row> Top<'s, K, V> for Arrangement<'s, K, V> {
    fn top(self, most: i64) -> Collection<'s, (K, (i64, V))> {
        self.reduce("Top", move |_key, rows, out| {
            // They are given in order, each with how often it is there: with none that is there less than once.
            let rows = rows.iter().rev().flat_map(|(row, times)| (0..times).map(move |_| row));
            (1..=most).zip(rows).for_each(|(rank, row)| out.push((rank, row)));
        })
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::{Given, Test, given};

    use super::*;

    #[test]
    fn who_leaves_makes_room_for_the_next() {
        let test = Test::building("top", |flow| {
            let bids = flow.input("bids").decode(Given::<(Text, i64)>::new());
            let top = bids.persist("bids").arrange("bids").top(2);
            let rows = top.map::<(Text, i64, i64)>(|&(item, (rank, bid))| (item, rank, bid));
            rows.output("top", &["item", "rank"], &["bid"]);
        });
        let bid = |bid: i64, diff| ("bids", given(&(Text::from("vase"), bid), diff));
        let outcome = test
            .epoch([bid(10, 1), bid(30, 1), bid(20, 1)])
            .restart()
            .epoch([bid(30, -1)])
            .epoch([bid(20, 1)])
            .check();
        let row = |rank, bid| format!(r#"{{"item":"vase","rank":{rank},"bid":{bid}}}"#);
        assert_eq!(outcome.changes_of("top", 1).len(), 2);
        assert_eq!(outcome.changes_of("top", 2).len(), 4);
        assert_eq!(outcome.rows("top"), [row(1, 20), row(2, 20)]);
    }
}
