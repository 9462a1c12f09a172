//! The value of a column, and its JSON.

use std::fmt;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::decimal;
use crate::dynamic::{DynRef, DynRow};
use crate::order::{self, Damaged, Place};
use crate::row::Row;
use crate::scalar::Float;
use crate::schema::{Kind, Schema};
use crate::timestamp::Timestamp;

/// The value of a column, borrowed from its row's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing: JSON's `null`.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number. JSON has none that is not finite: those are `null` there.
    Float(Float),
    /// Text.
    Text(&'a str),
    /// A point in time: RFC 3339 in JSON.
    Timestamp(Timestamp),
    /// So many units of the last of so many digits after the point: a string in JSON.
    Decimal(i128, u8),
    /// Bytes: base 64 in JSON.
    Bytes(&'a [u8]),
    /// A row of values that say their types: an array in JSON.
    Dynamic(DynRef<'a>),
    /// A struct, with its columns' names and its bytes, where it stands.
    Struct(&'a Schema, &'a [u8], Place),
    /// Rows side by side, likewise.
    Tuple(&'a [Kind], &'a [u8], Place),
}

/// Takes a value of this type from the front of `bytes`.
///
/// # Errors
/// If the bytes are not those of one.
pub fn read_value<'a>(kind: &'a Kind, bytes: &mut &'a [u8], place: Place) -> Result<Value<'a>, Damaged> {
    let before = *bytes;
    Ok(match kind {
        Kind::Text => {
            let text = order::read_bytes(bytes, place)?;
            Value::Text(std::str::from_utf8(text).map_err(|_| Damaged::Text)?)
        }
        Kind::Int => Value::Int(order::read_i64(bytes)?),
        Kind::Float => Value::Float(ordered_float::OrderedFloat(order::read_f64(bytes)?)),
        Kind::Bool => Value::Bool(order::read_flag(bytes)?),
        Kind::Timestamp => Value::Timestamp(Timestamp::from_micros(order::read_i64(bytes)?)),
        Kind::Decimal(scale) => Value::Decimal(order::read_i128(bytes)?, *scale),
        Kind::Bytes => Value::Bytes(order::read_bytes(bytes, place)?),
        Kind::Any => crate::dynamic::read_tagged(bytes)?,
        Kind::Dynamic => Value::Dynamic(DynRow::read(bytes, place)?),
        Kind::Option(kind) => match order::read_flag(bytes)? {
            true => read_value(kind, bytes, place)?,
            false => Value::Null,
        },
        Kind::Struct(schema) => {
            let kinds = schema.columns.iter().map(|column| &column.kind);
            Value::Struct(schema, skip(kinds, before, bytes, place)?, place)
        }
        Kind::Tuple(parts) => Value::Tuple(parts, skip(parts.iter(), before, bytes, place)?, place),
    })
}

/// Passes over values; returns their bytes.
fn skip<'a>(
    kinds: impl ExactSizeIterator<Item = &'a Kind>,
    before: &'a [u8],
    bytes: &mut &'a [u8],
    place: Place,
) -> Result<&'a [u8], Damaged> {
    each(kinds, bytes, place, |_, _| Ok(()))?;
    Ok(&before[..before.len() - bytes.len()])
}

/// Reads values that stand side by side.
fn each<'a>(
    kinds: impl ExactSizeIterator<Item = &'a Kind>,
    bytes: &mut &'a [u8],
    place: Place,
    mut take: impl FnMut(usize, Value<'a>) -> Result<(), Damaged>,
) -> Result<(), Damaged> {
    let count = kinds.len();
    for (index, kind) in kinds.enumerate() {
        let place = if index + 1 == count { place } else { Place::Inner };
        take(index, read_value(kind, bytes, place)?)?;
    }
    Ok(())
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
        Value::Text(text) => serde_json::to_writer(out, text).expect("text is JSON"),
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
                write_json(Value::Text(&schema.columns[index].name), out)?;
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

/// Bytes in base 64, as JSON shows them.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
