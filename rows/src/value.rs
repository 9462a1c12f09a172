//! The value of a column.

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
pub(crate) fn each<'a>(
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
