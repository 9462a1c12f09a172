//! What columns a row has: names, types, key. A state keeps it, so that rows are never read as something else.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::order::{Damaged, Place};
use crate::row::Row;
use crate::value::{Value, read_value};

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Text, ordered by its bytes.
    Text,
    /// A 64-bit integer.
    Int,
    /// A floating-point number, see [`Float`](crate::Float).
    Float,
    /// True or false.
    Bool,
    /// A point in time, in microseconds.
    Timestamp,
    /// A decimal with so many digits after the point.
    Decimal(u8),
    /// Bytes.
    Bytes,
    /// A value that says itself of what type it is: a column of a [`DynRow`](crate::DynRow).
    Any,
    /// A whole [`DynRow`](crate::DynRow).
    Dynamic,
    /// One that may be missing.
    Option(Box<Kind>),
    /// A struct.
    Struct(Schema),
    /// Rows side by side.
    Tuple(Vec<Kind>),
}

/// The columns of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The name of the row's type, as its source has it.
    pub name: String,
    /// The columns, those of the key first.
    pub columns: Vec<Column>,
    /// How many columns are the key: they tell one row from another. 0 where no key is named.
    pub key: usize,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
}

impl Column {
    /// A column.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Column { name: name.into(), kind }
    }
}

impl Schema {
    /// The schema of a row type. A struct's columns are its fields. A tuple's are those of its parts, and the first part's
    /// are its key; a part that is no struct is one column, named by its place, from `0`.
    pub fn of<R: Row>() -> Self {
        match R::kind() {
            Kind::Struct(schema) => schema,
            Kind::Tuple(parts) => {
                let name = Kind::Tuple(parts.clone()).to_string();
                let mut columns: Vec<Column> = Vec::new();
                let mut key = 0;
                for (index, part) in parts.into_iter().enumerate() {
                    match part {
                        Kind::Struct(schema) => columns.extend(schema.columns),
                        Kind::Tuple(inner) => flatten(inner, &mut columns),
                        kind => columns.push(Column::new(columns.len().to_string(), kind)),
                    }
                    if index == 0 {
                        key = columns.len();
                    }
                }
                Schema { name, columns, key }
            }
            kind => Schema { name: kind.to_string(), columns: vec![Column::new("0", kind)], key: 1 },
        }
    }

    /// The same columns under other names, of which `key` are the key.
    ///
    /// # Errors
    /// If there are not as many names as columns, or one is there twice: in words.
    pub fn named(mut self, key: &[&str], value: &[&str]) -> Result<Self, String> {
        let (names, columns) = (key.len() + value.len(), self.columns.len());
        if names != columns {
            return Err(format!("{names} columns are named, but a row of {} has {columns}", self.name));
        }
        let all = || key.iter().chain(value);
        if let Some((index, twice)) = all().enumerate().find(|(i, name)| all().take(*i).any(|n| n == *name)) {
            return Err(format!("column {twice:?} is named twice, the second time as column {}", index + 1));
        }
        for (column, name) in self.columns.iter_mut().zip(all()) {
            (*name).clone_into(&mut column.name);
        }
        self.key = key.len();
        Ok(self)
    }

    /// The values of a row's columns, read in place.
    ///
    /// # Errors
    /// An item is an error if the bytes are not those of such a row; it is the last one.
    pub fn values<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Result<Value<'a>, Damaged>> {
        let (mut rest, last) = (bytes, self.columns.len().wrapping_sub(1));
        let mut failed = false;
        self.columns.iter().enumerate().map_while(move |(index, column)| {
            if failed {
                return None;
            }
            let place = if index == last { Place::Last } else { Place::Inner };
            let value = read_value(&column.kind, &mut rest, place);
            failed = value.is_err();
            Some(value)
        })
    }

    /// The first way in which the rows of `other` are not those of this schema, in words; `None` if they are.
    pub fn difference(&self, other: &Schema) -> Option<String> {
        if self.name != other.name {
            return Some(format!("the row type was {}, now it is {}", self.name, other.name));
        }
        for (index, (was, is)) in self.columns.iter().zip(&other.columns).enumerate() {
            if was.name != is.name {
                return Some(format!("column {} was {:?}, now it is {:?}", index + 1, was.name, is.name));
            }
            if was.kind != is.kind {
                return Some(format!("column {:?} was {}, now it is {}", was.name, was.kind, is.kind));
            }
        }
        let (was, is) = (self.columns.len(), other.columns.len());
        if was > is {
            return Some(format!("column {:?} is gone", self.columns[is].name));
        }
        if was < is {
            return Some(format!("column {:?} is new", other.columns[was].name));
        }
        (self.key != other.key)
            .then(|| format!("the key was the first {} columns, now it is the first {}", self.key, other.key))
    }
}

/// Adds the columns of a tuple within a tuple.
fn flatten(parts: Vec<Kind>, columns: &mut Vec<Column>) {
    for part in parts {
        match part {
            Kind::Struct(schema) => columns.extend(schema.columns),
            Kind::Tuple(inner) => flatten(inner, columns),
            kind => columns.push(Column::new(columns.len().to_string(), kind)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Text => f.write_str("text"),
            Kind::Int => f.write_str("i64"),
            Kind::Float => f.write_str("f64"),
            Kind::Bool => f.write_str("bool"),
            Kind::Timestamp => f.write_str("timestamp"),
            Kind::Decimal(scale) => write!(f, "decimal({scale})"),
            Kind::Bytes => f.write_str("bytes"),
            Kind::Any => f.write_str("any"),
            Kind::Dynamic => f.write_str("dynamic"),
            Kind::Option(kind) => write!(f, "{kind}?"),
            Kind::Struct(schema) => fmt::Display::fmt(schema, f),
            Kind::Tuple(parts) => {
                f.write_str("(")?;
                for (index, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (index, column) in self.columns.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let key = if index < self.key { " key" } else { "" };
            write!(f, "{comma}{}: {}{key}", column.name, column.kind)?;
        }
        f.write_str(")")
    }
}
