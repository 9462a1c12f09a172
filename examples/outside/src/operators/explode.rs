//! A stateless operator: it makes rows of rows, batch by batch.

use cutwater::prelude::*;
use cutwater::rows::decode;

/// Rows as often as they say.
pub trait Explode<'s, R: Row> {
    /// Each row as often as the number beside it says; withdrawn where that is negative.
    ///
    /// Costs a decoding and an encoding a row. There is one change of a row and epoch at the most that leaves a worker, however
    /// large the number: so to sum numbers, `explode` and then `count` them.
    fn explode(self) -> Collection<'s, R>;
}

impl<'s, R: Row> Explode<'s, R> for Collection<'s, (R, i64)> {
    fn explode(self) -> Collection<'s, R> {
        // What `linear` gives is linear: a row's withdrawal takes away what the row had added.
        self.linear("Explode", |batch, out| {
            for (row, diff) in batch.iter() {
                let (row, times) = decode::<(R, i64)>(row).expect("rows of a collection are encoded rows");
                out.push::<R>(row, diff * times);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::{Given, Test, given};

    use super::*;

    #[test]
    fn rows_are_there_as_often_as_they_say_until_they_are_withdrawn() {
        let test = Test::building("explode", |flow| {
            let sold = flow.input("sold").decode(Given::<(Text, i64)>::new());
            sold.explode().persist("pieces").count().output("pieces", &["product"], &["pieces"]);
        });
        let sold = |product: &str, pieces, diff| ("sold", given(&(Text::from(product), pieces), diff));
        let outcome = test
            .epoch([sold("nut", 3, 2), sold("bolt", 1, 1), sold("bolt", -1, 1)])
            .restart()
            .epoch([sold("nut", 3, -1), sold("bolt", 5, 1)])
            .check();
        assert_eq!(outcome.changes_of("pieces", 1), [r#"+1 {"product":"nut","pieces":6}"#]);
        assert_eq!(
            outcome.rows("pieces"),
            [r#"{"product":"bolt","pieces":5}"#, r#"{"product":"nut","pieces":3}"#]
        );
    }
}
