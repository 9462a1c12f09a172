//! The rows of an output that come first: those with the most in its first number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use cutwater_dataflows::rows::json::write_json;
use cutwater_dataflows::rows::{Kind, Schema, Value, decimal_text};
use cutwater_dataflows::{Diff, Epoch, OutputShape};
use indicatif::HumanCount;

use super::picture::TopRow;
use crate::shown::shown;

/// How the rows of an output are ordered, and shown.
pub(crate) struct Order {
    output: String,
    schema: Schema,
    /// The column by which they are; the key where there is none.
    by: Option<usize>,
}

/// A row's number, its place, itself, and how often it is there.
type Ranked<'a> = (i128, Reverse<u64>, &'a [u8], Diff);

impl Order {
    /// By the first whole number that is no key, else by the first other number, else by the key.
    pub(crate) fn of(output: &OutputShape) -> Self {
        let schema = output.schema.clone();
        let values = || schema.columns.iter().enumerate().skip(schema.key);
        let whole = values().find(|(_, column)| *bare(&column.kind) == Kind::Int);
        let number = || values().find(|(_, c)| matches!(bare(&c.kind), Kind::Decimal(_) | Kind::Float));
        let by = whole.or_else(number).map(|(index, _)| index);
        Order { output: output.name.clone(), schema, by }
    }

    /// What the rows are of, of which there are so many, as of an epoch.
    pub(crate) fn title(&self, rows: u64, epoch: Epoch) -> String {
        let (output, rows, epoch) = (&self.output, HumanCount(rows), HumanCount(epoch));
        match self.by.map(|by| &self.schema.columns[by].name) {
            Some(by) => format!("{output}, most {by} first, of {rows}, as of epoch {epoch}"),
            None => format!("{output}, by key, of {rows}, as of epoch {epoch}"),
        }
    }

    /// The first `most` of these rows, which are encoded and in the order of their keys, and how many there are in all.
    pub(crate) fn first<'a>(
        &self,
        rows: impl Iterator<Item = (&'a [u8], Diff)>,
        most: usize,
    ) -> (Vec<TopRow>, u64) {
        // The least on top; of equal ones the last that came.
        let mut first: BinaryHeap<Reverse<Ranked<'a>>> = BinaryHeap::new();
        let (mut count, mut place) = (0, 0);
        for (row, times) in rows {
            count += times.unsigned_abs();
            place += 1;
            let rank = self.by.map_or(0, |by| rank(self.value(row, by)));
            if first.len() == most && first.peek().is_some_and(|Reverse((least, ..))| rank <= *least) {
                continue;
            }
            first.push(Reverse((rank, Reverse(place), row, times)));
            if first.len() > most {
                first.pop();
            }
        }
        // The largest are behind the others, in the order of `Reverse`.
        let sorted = first.into_sorted_vec();
        (sorted.into_iter().map(|Reverse((_, _, row, times))| self.shown(row, times)).collect(), count)
    }

    fn value<'a>(&'a self, row: &'a [u8], column: usize) -> Value<'a> {
        self.schema.values(row).nth(column).and_then(Result::ok).unwrap_or(Value::Null)
    }

    fn shown(&self, row: &[u8], times: Diff) -> TopRow {
        let mut texts: Vec<String> =
            self.schema.values(row).map(|value| text(value.unwrap_or(Value::Null))).collect();
        let values = texts.split_off(self.schema.key.min(texts.len()));
        let more = if times == 1 { String::new() } else { format!("  × {times}") };
        TopRow {
            name: texts.join(", "),
            value: values.join("  ") + &more,
            size: self.by.map_or(0.0, |by| size(self.value(row, by))),
        }
    }
}

/// The type without `Option`.
fn bare(kind: &Kind) -> &Kind {
    if let Kind::Option(inner) = kind { bare(inner) } else { kind }
}

/// Numbers of a column in their order; what is none comes last.
fn rank(value: Value<'_>) -> i128 {
    match value {
        Value::Int(number) => number.into(),
        Value::Decimal(units, _) => units,
        Value::Float(number) => {
            // The bits of floats are in their order, those of negative ones the other way round.
            let bits = number.0.to_bits().cast_signed();
            i128::from(if bits < 0 { bits ^ i64::MAX } else { bits })
        }
        _ => i128::MIN,
    }
}

fn size(value: Value<'_>) -> f64 {
    match value {
        Value::Int(number) => number as f64,
        Value::Decimal(units, scale) => units as f64 / 10f64.powi(scale.into()),
        Value::Float(number) if number.0.is_finite() => number.0,
        _ => 0.0,
    }
}

fn text(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => shown(text).into_owned(),
        Value::Int(number) if number < 0 => format!("-{}", HumanCount(number.unsigned_abs())),
        Value::Int(number) => HumanCount(number.unsigned_abs()).to_string(),
        Value::Decimal(units, scale) => decimal_text(units, scale),
        Value::Timestamp(time) => time.to_string(),
        value => {
            let mut json = Vec::new();
            // What can't be written as JSON has no text.
            let _ = write_json(value, &mut json);
            shown(&String::from_utf8_lossy(&json)).into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::Unique;
    use cutwater_dataflows::rows::{Decimal, Row, Text, encode};

    use super::*;

    fn order<R: Row>(key: &[&str], value: &[&str]) -> Order {
        let schema = Schema::of::<R>().named(key, value).unwrap();
        Order::of(&OutputShape {
            name: "o".into(),
            schema,
            restorable: true,
            unique: Unique::ByKey,
            appends: false,
            with_offsets: false,
        })
    }

    fn names(order: &Order, rows: &[Vec<u8>], most: usize) -> Vec<(String, String)> {
        let (first, count) = order.first(rows.iter().map(|row| (&row[..], 1)), most);
        assert_eq!(count, rows.len() as u64);
        first.into_iter().map(|row| (row.name, row.value)).collect()
    }

    #[test]
    fn rows_with_most_of_the_first_whole_number_come_first_and_ties_by_key() {
        let order = order::<(Text, Text, i64)>(&["word"], &["kind", "count"]);
        assert_eq!(order.title(3, 1234), "o, most count first, of 3, as of epoch 1,234");
        let row = |word: &str, count: i64| encode(&(Text::from(word), Text::from("k"), count));
        let rows = [row("a", 5), row("b", -7), row("c", 1_000_000), row("d\u{1b}", 5), row("e", 5)];
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            names(&order, &rows, 3),
            [pair("c", "k  1,000,000"), pair("a", "k  5"), pair("d\\u{1b}", "k  5")]
        );
        assert_eq!(names(&order, &rows, 9).last(), Some(&pair("b", "k  -7")));
        assert_eq!(order.first([(&rows[0][..], 3)].into_iter(), 1).0[0].value, "k  5  × 3");
    }

    #[test]
    fn without_a_whole_number_it_is_another_one_or_the_key() {
        let order_of_decimals = order::<(i64, Decimal<2>)>(&["rank"], &["share"]);
        assert_eq!(order_of_decimals.by, Some(1));
        let row = |rank: i64, units: i128| encode(&(rank, Decimal::<2>::from_units(units)));
        let (first, _) =
            order_of_decimals.first([(&row(1, 50)[..], 1), (&row(2, 250)[..], 1)].into_iter(), 5);
        assert_eq!((first[0].value.as_str(), first[0].size), ("2.50", 2.5));

        let by_key = order::<(Text, Text)>(&["a"], &["b"]);
        assert_eq!(by_key.title(1234, 5), "o, by key, of 1,234, as of epoch 5");
        let rows: Vec<_> = ["x", "y", "z"].map(|key| encode(&(Text::from(key), Text::from("v")))).into();
        assert_eq!(
            names(&by_key, &rows, 2).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["x", "y"]
        );
    }

    #[test]
    fn floats_are_in_their_order() {
        let floats = [f64::NEG_INFINITY, -2.5, -0.5, 0.0, 0.5, 2.5, f64::INFINITY];
        let ranks = floats.map(|number| rank(Value::Float(number.into())));
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    }
}
