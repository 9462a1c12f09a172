//! Columns of encoded rows: their bytes, which compare as their values do, and values as they are asked for.

use std::ops::Range;

use cutwater_dataflows::format::value_of;
use cutwater_dataflows::rows::json::write_json;
use cutwater_dataflows::rows::order::{write_bytes, write_f64, write_i64, write_i128};
use cutwater_dataflows::rows::{Kind, Place, Schema, Value, read_value};

/// Where the bytes of a column are in an encoded row, and its value.
pub(super) fn column<'a>(
    schema: &'a Schema,
    row: &'a [u8],
    index: usize,
) -> Option<(Range<usize>, Value<'a>)> {
    let mut rest = row;
    for (at, column) in schema.columns.iter().enumerate().take(index + 1) {
        let before = row.len() - rest.len();
        let value = read_value(&column.kind, &mut rest, place(schema, at)).ok()?;
        if at == index {
            return Some((before..row.len() - rest.len(), value));
        }
    }
    None
}

/// Where a column stands in a row.
pub(super) fn place(schema: &Schema, index: usize) -> Place {
    if index + 1 == schema.columns.len() { Place::Last } else { Place::Inner }
}

/// A value as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// Nothing.
    Null,
    /// What JSON shows of it, without quotes.
    Text(String),
}

impl Given {
    /// As it stands in a parameter, where `null` is nothing in a column that may have nothing.
    pub(super) fn parameter(text: &str, kind: &Kind) -> Self {
        match kind {
            Kind::Option(_) | Kind::Any if text == "null" => Given::Null,
            _ => Given::Text(text.to_owned()),
        }
    }

    /// As it stands in a JSON array.
    pub(super) fn json(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Given::Null,
            serde_json::Value::String(text) => Given::Text(text.clone()),
            value => Given::Text(value.to_string()),
        }
    }
}

/// What a column is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Its bytes are these.
    Bytes(Vec<u8>),
    /// JSON shows it so, without quotes around a text: of columns that have no type of their own, or several values.
    Shown(String),
}

impl Wanted {
    /// What a column of this type is compared with.
    ///
    /// # Errors
    /// If the column can't have such a value: why.
    pub(super) fn of(kind: &Kind, given: &Given, place: Place) -> Result<Self, String> {
        let mut bytes = Vec::new();
        match encode(kind, given, place, &mut bytes)? {
            true => Ok(Wanted::Bytes(bytes)),
            false => Ok(Wanted::Shown(match given {
                Given::Null => "null".to_owned(),
                Given::Text(text) => text.clone(),
            })),
        }
    }

    /// Does the column of this row have it?
    pub(super) fn is(&self, schema: &Schema, row: &[u8], index: usize) -> bool {
        let Some((bytes, value)) = column(schema, row, index) else { return false };
        match (self, value) {
            (Wanted::Bytes(wanted), _) => *wanted == row[bytes],
            (Wanted::Shown(wanted), Value::Text(text)) => wanted == text,
            (Wanted::Shown(wanted), value) => {
                let mut shown = Vec::new();
                let written = write_json(value, &mut shown).is_ok();
                let shown = shown.strip_prefix(b"\"").and_then(|s| s.strip_suffix(b"\"")).unwrap_or(&shown);
                written && shown == wanted.as_bytes()
            }
        }
    }
}

/// Appends a value's bytes. False if it has none of its own: then it is compared as it is shown.
///
/// # Errors
/// If a column of this type can't have such a value: why.
fn encode(kind: &Kind, given: &Given, place: Place, out: &mut Vec<u8>) -> Result<bool, String> {
    let text = match (kind, given) {
        (Kind::Any | Kind::Dynamic | Kind::Struct(_) | Kind::Tuple(_), _) => return Ok(false),
        (Kind::Option(_), Given::Null) => {
            out.push(0);
            return Ok(true);
        }
        (Kind::Option(kind), given) => {
            out.push(1);
            return encode(kind, given, place, out);
        }
        (_, Given::Null) => return Err("it is never null".to_owned()),
        (_, Given::Text(text)) => text,
    };
    let mut decoded = Vec::new();
    match value_of(kind, text, &mut decoded)? {
        Value::Text(text) => write_bytes(text.as_bytes(), place, out),
        Value::Bytes(bytes) => write_bytes(bytes, place, out),
        Value::Int(value) => write_i64(value, out),
        Value::Timestamp(time) => write_i64(time.micros(), out),
        Value::Decimal(units, _) => write_i128(units, out),
        Value::Float(value) => write_f64(value.0, out),
        Value::Bool(value) => out.push(value.into()),
        _ => return Ok(false),
    }
    Ok(true)
}

/// The bytes with which the texts begin that begin with this one, in a column of text; `None` if it is of another type.
pub(super) fn text_prefix(kind: &Kind, text: &str, place: Place) -> Option<Vec<u8>> {
    let (mut out, kind) = match kind {
        Kind::Option(kind) => (vec![1], &**kind),
        kind => (Vec::new(), kind),
    };
    if *kind != Kind::Text {
        return None;
    }
    let start = out.len();
    write_bytes(text.as_bytes(), place, &mut out);
    if place == Place::Inner {
        // Up to its end: the first zero, as those within are written otherwise.
        let end = out[start..].iter().position(|&byte| byte == 0)?;
        out.truncate(start + end);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::rows::{Column, Decimal, Float, Text, Timestamp, encode};

    use super::*;

    /// Text, a text that may be missing, a decimal, a time, a number.
    type All = (Text, (Option<Text>, (Decimal<2>, (Timestamp, Float))));

    #[test]
    fn values_are_found_as_what_they_are() {
        let mut schema = Schema::of::<All>();
        let names = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(schema.columns.len(), names.len());
        for (column, name) in schema.columns.iter_mut().zip(names) {
            *column = Column::new(name, column.kind.clone());
        }
        let time = Timestamp::from_micros(1_500_000);
        let row: All = ("a\u{0}b\u{1}".into(), (None, ("-12.50".parse().unwrap(), (time, 2.5.into()))));
        let row = encode(&row);
        let is = |index: usize, text: &str| {
            let kind = &schema.columns[index].kind;
            let wanted = Wanted::of(kind, &Given::parameter(text, kind), place(&schema, index));
            wanted.map(|wanted| wanted.is(&schema, &row, index))
        };
        for (index, text) in [
            (0, "a\u{0}b\u{1}"),
            (1, "null"),
            (2, "-12.50"),
            (2, "-12.5"),
            (3, "1970-01-01T00:00:01.5Z"),
            (3, "1970-01-01T01:00:01.5+01:00"),
            (4, "2.5"),
            (4, "25e-1"),
        ] {
            assert_eq!(is(index, text), Ok(true), "{index} {text}");
        }
        for (index, text) in [(0, "a"), (0, "null"), (1, ""), (2, "12.5"), (4, "2.50001")] {
            assert_eq!(is(index, text), Ok(false), "{index} {text}");
        }
        for (index, text) in [(2, "x"), (2, "0.001"), (3, "today"), (4, "NaN"), (4, "")] {
            assert!(is(index, text).is_err(), "{index} {text}");
        }
    }

    #[test]
    fn texts_begin_with_the_bytes_of_what_they_begin_with() {
        for (text, prefix, begins) in [
            ("then", "the", true),
            ("the", "the", true),
            ("th", "the", false),
            ("a\u{1}b", "a\u{1}", true),
            ("x", "", true),
        ] {
            for place in [Place::Inner, Place::Last] {
                let mut row = Vec::new();
                write_bytes(text.as_bytes(), place, &mut row);
                let found = row.starts_with(&text_prefix(&Kind::Text, prefix, place).unwrap());
                assert_eq!(found, begins, "{text:?} {prefix:?} {place:?}");
            }
        }
        assert_eq!(text_prefix(&Kind::Int, "1", Place::Inner), None);
    }
}
