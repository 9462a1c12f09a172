//! Rows as JSON objects.

use std::fmt;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::decimal;
use crate::order::Damaged;
use crate::schema::Schema;
use crate::value::{Value, each};

/// Shows rows of a schema as JSON objects.
pub struct Json {
    schema: Schema,
    /// What comes before each column's value.
    names: Vec<Vec<u8>>,
}

impl Json {
    /// For rows of this schema.
    pub fn new(schema: Schema) -> Self {
        let name = |(index, name): (usize, &str)| {
            let mut text = vec![if index == 0 { b'{' } else { b',' }];
            write_text(name, &mut text);
            text.push(b':');
            text
        };
        let names = schema.columns.iter().map(|column| column.name.as_str()).enumerate().map(name).collect();
        Json { schema, names }
    }

    /// Appends a row. Returns where in `out` its key's columns end: what is before that, and a brace, is the key.
    ///
    /// # Errors
    /// If the bytes are not those of such a row; `out` holds the beginning of it then.
    pub fn write(&self, row: &[u8], out: &mut Vec<u8>) -> Result<usize, Damaged> {
        let mut keyed = out.len();
        for (index, (value, name)) in self.schema.values(row).zip(&self.names).enumerate() {
            out.extend_from_slice(name);
            write_json(value?, out)?;
            if index + 1 == self.schema.key {
                keyed = out.len();
            }
        }
        if self.names.is_empty() {
            out.push(b'{');
        }
        out.push(b'}');
        Ok(keyed)
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text is JSON, and memory takes all that is written");
}

/// Appends a value as JSON: integers and finite numbers as numbers, decimals as strings with their scale, timestamps as
/// RFC 3339 in UTC, bytes in base 64, structs as objects, tuples as arrays.
///
/// # Errors
/// If the bytes of a struct or tuple are damaged.
pub fn write_json(value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Damaged> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        // Memory takes all that is written, and these have no keys: they can't fail.
        Value::Int(value) => serde_json::to_writer(out, &value).expect("an integer is JSON"),
        Value::Float(value) => serde_json::to_writer(out, &value.0).expect("a number is JSON, or null"),
        Value::Text(text) => write_text(text, out),
        Value::Timestamp(time) => quoted(&time, out),
        Value::Decimal(units, scale) => quoted(&Shown(units, scale), out),
        Value::Bytes(bytes) => quoted(&Base64Display::new(bytes, &STANDARD), out),
        Value::Dynamic(row) => {
            out.push(b'[');
            for (index, value) in row.values().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_json(value, out)?;
            }
            out.push(b']');
        }
        Value::Struct(schema, mut bytes, place) => {
            out.push(b'{');
            let kinds = schema.columns.iter().map(|column| &column.kind);
            each(kinds, &mut bytes, place, |index, value| {
                if index > 0 {
                    out.push(b',');
                }
                write_text(&schema.columns[index].name, out);
                out.push(b':');
                write_json(value, out)
            })?;
            out.push(b'}');
        }
        Value::Tuple(parts, mut bytes, place) => {
            out.push(b'[');
            each(parts.iter(), &mut bytes, place, |index, value| {
                if index > 0 {
                    out.push(b',');
                }
                write_json(value, out)
            })?;
            out.push(b']');
        }
    }
    Ok(())
}

/// Appends what needs no escapes, in quotes.
fn quoted(value: &dyn fmt::Display, out: &mut Vec<u8>) {
    use std::io::Write as _;
    write!(out, "\"{value}\"").expect("memory takes all that is written");
}

struct Shown(i128, u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal::show(self.0, self.1, f)
    }
}
