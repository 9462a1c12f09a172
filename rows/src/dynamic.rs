//! Rows whose columns are known at run time: from a file of rules, or from a query.
//!
//! Each value says itself of what type it is, by a byte before it; so values of different types are ordered too, those of one
//! type together, and a missing one first. The columns' names are the affair of who makes the rows.

use std::fmt;

use crate::order::{self, Damaged, Place};
use crate::row::Row;
use crate::schema::Kind;
use crate::timestamp::Timestamp;
use crate::value::Value;

/// A row of values of any type.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DynRow(Vec<u8>);

/// A borrowed [`DynRow`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DynRef<'a>(&'a [u8]);

const NULL: u8 = 1;
const BOOL: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const DECIMAL: u8 = 5;
const TIMESTAMP: u8 = 6;
const TEXT: u8 = 7;
const BYTES: u8 = 8;
/// After the last value: a row comes before those that it begins.
const END: u8 = 0;

impl DynRow {
    /// A row of these values.
    ///
    /// # Panics
    /// If one is a struct or a tuple: their columns are values of their own here.
    pub fn new<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Self {
        let mut row = DynRow::default();
        values.into_iter().for_each(|value| row.push(value));
        row
    }

    /// Appends a value; of a dynamic row, its values.
    ///
    /// # Panics
    /// If it is a struct or a tuple.
    pub fn push(&mut self, value: Value<'_>) {
        write_tagged(value, &mut self.0);
    }
}

/// Appends a value of a dynamic row, with the tag that says its type; of a dynamic row, its values.
///
/// # Panics
/// If it is a struct or a tuple: their columns are values of their own there.
pub fn write_tagged(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(value) => out.extend_from_slice(&[BOOL, value.into()]),
        Value::Int(value) => {
            out.push(INT);
            order::write_i64(value, out);
        }
        Value::Float(value) => {
            out.push(FLOAT);
            order::write_f64(value.0, out);
        }
        Value::Decimal(units, scale) => {
            out.extend_from_slice(&[DECIMAL, scale]);
            order::write_i128(units, out);
        }
        Value::Timestamp(time) => {
            out.push(TIMESTAMP);
            order::write_i64(time.micros(), out);
        }
        Value::Text(text) => {
            out.push(TEXT);
            order::write_bytes(text.as_bytes(), Place::Inner, out);
        }
        Value::Bytes(bytes) => {
            out.push(BYTES);
            order::write_bytes(bytes, Place::Inner, out);
        }
        Value::Dynamic(row) => out.extend_from_slice(row.0),
        Value::Struct(..) | Value::Tuple(..) => panic!("a value of a dynamic row is one column"),
    }
}

/// Takes a value with its tag.
pub(crate) fn read_tagged<'a>(bytes: &mut &'a [u8]) -> Result<Value<'a>, Damaged> {
    let [tag] = order::take_array(bytes)?;
    Ok(match tag {
        NULL => Value::Null,
        BOOL => Value::Bool(order::read_flag(bytes)?),
        INT => Value::Int(order::read_i64(bytes)?),
        FLOAT => Value::Float(ordered_float::OrderedFloat(order::read_f64(bytes)?)),
        DECIMAL => {
            let [scale] = order::take_array(bytes)?;
            if scale > 38 {
                return Err(Damaged::Tag(scale));
            }
            Value::Decimal(order::read_i128(bytes)?, scale)
        }
        TIMESTAMP => Value::Timestamp(Timestamp::from_micros(order::read_i64(bytes)?)),
        TEXT => {
            let text = order::read_bytes(bytes, Place::Inner)?;
            Value::Text(std::str::from_utf8(text).map_err(|_| Damaged::Text)?)
        }
        BYTES => Value::Bytes(order::read_bytes(bytes, Place::Inner)?),
        tag => return Err(Damaged::Tag(tag)),
    })
}

impl<'a> DynRef<'a> {
    /// The values, in order.
    pub fn values(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| read_tagged(&mut rest).expect("checked when it was read"))
        })
    }

    /// The value of column `index`; `None` if the row has no such column. Costs time in the bytes before it.
    pub fn get(self, index: usize) -> Option<Value<'a>> {
        self.values().nth(index)
    }
}

impl fmt::Debug for DynRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

impl fmt::Debug for DynRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}

impl Row for DynRow {
    type Ref<'a> = DynRef<'a>;
    fn borrow(&self) -> DynRef<'_> {
        DynRef(&self.0)
    }
    fn to_owned(row: DynRef<'_>) -> Self {
        DynRow(row.0.to_vec())
    }
    fn write(row: DynRef<'_>, place: Place, out: &mut Vec<u8>) {
        out.extend_from_slice(row.0);
        if place == Place::Inner {
            out.push(END);
        }
    }
    fn read<'a>(bytes: &mut &'a [u8], place: Place) -> Result<DynRef<'a>, Damaged> {
        let all = *bytes;
        loop {
            let row = &all[..all.len() - bytes.len()];
            match (bytes.first(), place) {
                (None, Place::Last) => return Ok(DynRef(row)),
                (Some(&END), Place::Inner) => {
                    *bytes = &bytes[1..];
                    return Ok(DynRef(row));
                }
                _ => drop(read_tagged(bytes)?),
            }
        }
    }
    fn kind() -> Kind {
        Kind::Dynamic
    }
}

crate::serialize_as_encoding!([] DynRow);
