//! Rows with a schema, read in place, in an encoding whose bytes sort as the rows do.
//!
//! A [`Row`] is one value ([`Text`], `i64`, [`Float`], `bool`, [`Timestamp`], [`Decimal`], [`Bytes`]), an `Option` of a row,
//! a tuple of rows, or a struct that derives it:
//!
//! ```
//! use cutwater_rows::{Decimal, Json, Row, Schema, Text, Timestamp, decode, encode};
//!
//! /// What a shop has sold.
//! #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
//! struct Order {
//!     #[row(key)]
//!     id: Text,
//!     price: Decimal<2>,
//!     at: Option<Timestamp>,
//! }
//!
//! let order = Order { id: "o-1".into(), price: "12.50".parse()?, at: None };
//! let bytes = encode(&order);
//! // Read in place: `read.id` lies in `bytes`.
//! let read = decode::<Order>(&bytes)?;
//! assert_eq!((read.id, read.price), ("o-1", order.price));
//!
//! let schema = Schema::of::<Order>();
//! assert_eq!(schema.to_string(), "Order(id: text key, price: decimal(2), at: timestamp?)");
//! let mut json = Vec::new();
//! Json::new(schema).write(&bytes, &mut json)?;
//! assert_eq!(json, br#"{"id":"o-1","price":"12.50","at":null}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//! In reading order: [`mod@row`], the trait; [`order`], the bytes of its values; `scalar`, `text`, `timestamp`, `decimal`,
//! `compose`: the rows there are; [`schema`]: what columns a row has; [`value`], [`json`]: a column's value, and rows as JSON;
//! [`dynamic`]: rows whose columns are known at run time only. `docs/formats.md` of the repository specifies the encoding.

mod compose;
mod decimal;
pub mod dynamic;
pub mod json;
pub mod order;
pub mod row;
mod scalar;
pub mod schema;
mod text;
mod timestamp;
pub mod value;

pub use cutwater_rows_derive::Row;
pub use decimal::{Decimal, NotDecimal, decimal_text, decimal_units};
pub use dynamic::{DynRef, DynRow};
pub use json::Json;
pub use order::{Damaged, Place};
pub use row::{Row, decode, encode, encode_into, to_row};
pub use scalar::Float;
pub use schema::{Column, Kind, Schema};
pub use text::{Bytes, Text};
pub use timestamp::Timestamp;
pub use value::{Value, read_value};

#[doc(hidden)]
pub use serde as __serde;
