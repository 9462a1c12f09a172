//! Rows that are expected, and those that are found in their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::IgnoredAny;

use super::decoded_row;
use crate::format::{Decoder, Format as _, Json, Layout, Undecoded};
use crate::render::{Renderer, json};
use crate::rows::Schema;

/// Reads rows of an output, as `--emit final` writes them.
pub struct RowReader {
    schema: Schema,
    layout: Layout,
    decoder: Box<dyn Decoder>,
    renderer: Arc<dyn Renderer>,
}

/// A row, in an order and in a form that do not depend on how it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownRow {
    /// Its encoding: rows are ordered by it, and so by their key first.
    pub encoded: Vec<u8>,
    /// Its key as JSON.
    pub key: String,
    /// The row as JSON, as a sink has it.
    pub text: String,
}

impl RowReader {
    /// For rows of an output of this schema.
    ///
    /// # Errors
    /// If no JSON can be such a row.
    pub fn new(schema: &Schema) -> Result<Self, String> {
        // `_offset`, say, is a column here, and not of a record.
        let (layout, decoder) = (Layout::without_own(schema)?, Json.open(schema)?);
        Ok(RowReader { schema: schema.clone(), layout, decoder, renderer: json()(schema) })
    }

    /// The row that a line of JSON is: an object whose fields are the columns, in any order, each in any form in which an input
    /// may have it.
    ///
    /// ```
    /// use cutwater_dataflows::prelude::*;
    /// use cutwater_dataflows::testing::RowReader;
    ///
    /// let schema = Schema::of::<(Text, Decimal<2>)>().named(&["id"], &["price"]).unwrap();
    /// let mut rows = RowReader::new(&schema).unwrap();
    /// assert_eq!(rows.read(r#"{"price": 1.5, "id": "a"}"#).unwrap().text, r#"{"id":"a","price":"1.50"}"#);
    /// assert_eq!(rows.read(r#"{"price": 1.5, "di": "a"}"#).unwrap_err(), "there is no column \"di\", but id, price");
    /// ```
    ///
    /// # Errors
    /// If it is no row of the output: in words that name the column.
    pub fn read(&mut self, line: &str) -> Result<KnownRow, String> {
        let fields: BTreeMap<String, IgnoredAny> =
            serde_json::from_str(line).map_err(|error| format!("no JSON object: {error}"))?;
        let columns = || self.schema.columns.iter().map(|column| column.name.as_str());
        if let Some(unknown) = fields.keys().find(|field| !columns().any(|column| column == *field)) {
            let columns = columns().collect::<Vec<_>>().join(", ");
            return Err(format!("there is no column {unknown:?}, but {columns}"));
        }
        let encoded = decoded_row(&mut *self.decoder, &self.layout, line.as_bytes());
        let encoded = encoded.map_err(|why| match why {
            Undecoded::Malformed(why) => why.0.into_owned(),
            Undecoded::NoRow => "it is no row".to_owned(),
            Undecoded::NotYet => "it can't be decoded yet".to_owned(),
        })?;
        let (mut key, mut text) = (Vec::new(), Vec::new());
        self.renderer.render(&encoded, &mut key, &mut text);
        let shown = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(KnownRow { encoded, key: shown(key), text: shown(text) })
    }
}

/// What was expected and what was found, where they differ: the rows with a sign before each, `-` where only expected and `+`
/// where only found, by key. Rows count as often as they are there.
pub fn difference(
    expected: impl IntoIterator<Item = KnownRow>,
    found: impl IntoIterator<Item = KnownRow>,
) -> Vec<String> {
    let mut counts: BTreeMap<KnownRow, i64> = BTreeMap::new();
    expected.into_iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    found.into_iter().for_each(|row| *counts.entry(row).or_default() += 1);
    let differing: Vec<(KnownRow, i64)> = counts.into_iter().filter(|(_, count)| *count != 0).collect();
    let mut lines = Vec::new();
    for of_key in differing.chunk_by(|(one, _), (two, _)| one.key == two.key) {
        for (sign, wanted) in [("-", -1), ("+", 1)] {
            for (row, count) in of_key.iter().filter(|(_, count)| count.signum() == wanted) {
                let times = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
                lines.extend(std::iter::repeat_n(format!("{sign}{}", row.text), times));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn columns_may_have_the_names_of_what_is_a_records_own() {
        let schema = Schema::of::<(i64, Text)>().named(&["_offset"], &["_key"]).unwrap();
        let text = r#"{"_offset":7,"_key":"k"}"#;
        assert_eq!(RowReader::new(&schema).unwrap().read(text).unwrap().text, text);
    }

    #[test]
    fn rows_are_compared_by_value_and_differences_come_by_key() {
        let schema = Schema::of::<(i64, (Timestamp, Float))>().named(&["id"], &["at", "rate"]).unwrap();
        let mut reader = RowReader::new(&schema).unwrap();
        let mut rows = |lines: &[&str]| -> Vec<KnownRow> {
            lines.iter().map(|line| reader.read(line).unwrap()).collect()
        };
        let expected = rows(&[
            r#"{"id":10,"at":0,"rate":1}"#,
            r#"{"id":2,"at":0,"rate":1}"#,
            r#"{"id":3,"at":0,"rate":1}"#,
            r#"{"id":3,"at":0,"rate":1}"#,
        ]);
        let found = rows(&[
            r#"{"id":2,"rate":1.5,"at":"1970-01-01T00:00:00Z"}"#,
            r#"{"rate":1.0,"id":10,"at":"1970-01-01T00:00:00Z"}"#,
            r#"{"id":3,"at":0,"rate":1}"#,
            r#"{"id":-1,"at":0,"rate":1}"#,
        ]);
        assert!(difference(expected.clone(), expected.iter().rev().cloned()).is_empty());
        let differences = difference(expected, found);
        let shown: Vec<&str> = differences.iter().filter_map(|line| line.split(",\"at\"").next()).collect();
        assert_eq!(shown, ["+{\"id\":-1", "-{\"id\":2", "+{\"id\":2", "-{\"id\":3"]);
    }

    #[test]
    fn what_is_no_row_is_refused_with_the_column_named() {
        let schema = Schema::of::<(Text, i64)>().named(&["word"], &["count"]).unwrap();
        let mut reader = RowReader::new(&schema).unwrap();
        let mut refused = |line: &str| reader.read(line).unwrap_err();
        assert!(refused(r#"{"word":"a","count":"1"}"#).starts_with("count: expected i64"));
        assert!(refused(r#"{"word":"a"}"#).contains("count"));
        assert!(refused("[]").contains("no JSON object"));
        assert!(refused("").contains("no JSON object"));
    }
}
