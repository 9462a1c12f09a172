//! Formats and envelopes: how a record's bytes become values, and what a record means.
//!
//! An input that is read with [`Input::rows`](crate::Input::rows) does not say how its records are written: that is the
//! affair of `--format`. A format outside this crate implements [`Format`] and [`Decoder`], and is registered with
//! [`Entry::format`](crate::Entry::format), or bound in code with [`Input::format`](crate::Input::format):
//!
//! ```
//! use cutwater_dataflows::format::{Decoder, Format, RowWriter, Undecoded};
//! use cutwater_dataflows::prelude::*;
//! use cutwater_dataflows::testing::Test;
//!
//! /// Values between semicolons, in the order of the columns.
//! struct Semicolons;
//!
//! impl Format for Semicolons {
//!     fn name(&self) -> &str {
//!         "semicolons"
//!     }
//!     fn open(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
//!         match schema.columns.iter().find(|column| !matches!(column.kind, Kind::Text | Kind::Int)) {
//!             Some(column) => Err(format!("column {:?} is neither text nor an integer", column.name)),
//!             None => Ok(Box::new(Fields(schema.clone()))),
//!         }
//!     }
//! }
//!
//! struct Fields(Schema);
//!
//! impl Decoder for Fields {
//!     fn decode(&mut self, payload: &[u8], _: &Record<'_>, row: &mut RowWriter<'_>) -> Result<(), Undecoded> {
//!         let line = std::str::from_utf8(payload).map_err(|_| Malformed::because("not UTF-8"))?;
//!         let mut fields = line.split(';');
//!         for column in &self.0.columns {
//!             let field = fields.next().ok_or(Malformed(format!("{}: missing", column.name).into()))?;
//!             row.push(match column.kind {
//!                 Kind::Text => Value::Text(field),
//!                 _ => Value::Int(field.parse().map_err(|_| Malformed(format!("{}: no integer", column.name).into()))?),
//!             })?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let test = Test::building("stock", |flow| {
//!     let stock = flow.input("stock").format(Semicolons).rows::<(Text, i64)>();
//!     stock.output("stock", &["product"], &["pieces"]);
//! });
//! let outcome = test.epoch([("stock", "bolt;7"), ("stock", "nut;many")]).check();
//! assert_eq!(outcome.rows("stock"), [r#"{"product":"bolt","pieces":7}"#]);
//! assert!(outcome.dead_letters().first().unwrap().contains("1: no integer"));
//! ```
//!
//! # What the seam allows for
//! - A format sees a schema and bytes, and [`RowWriter`] knows the encoding: one decoder serves structs, tuples and
//!   [`DynRow`](crate::rows::DynRow).
//! - An envelope that has rows within, as `debezium` has, opens the format with a schema of its own, and makes rows of what
//!   that decodes to. Columns that are the record's own (`_topic`, `_partition`, `_offset`, `_timestamp`, `_key`,
//!   `_headers.NAME`) are left out of the schema with which the format is opened, and filled in by [`RowWriter`].
//! - A record may be no row and no mistake ([`Undecoded::NoRow`]), and a dataflow may refuse rows that a format has decoded
//!   ([`Input::refined`](crate::Input::refined)).
//! - A decoder that lacks something, a schema of [`Avro`] say, answers [`Undecoded::NotYet`]: the source then holds the
//!   partition before that record, and hands the record over once more a moment later. It must have seen to it that what it
//!   lacks is fetched, by a thread of its own: a worker never waits.

pub mod avro;
mod bound;
pub mod csv;
pub(crate) mod debezium;
mod fields;
pub mod json;
mod own;
pub mod protobuf;
mod raw;
mod read;
mod row_writer;
pub(crate) mod scalar;
pub mod text;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::record::{Malformed, Record};
use crate::rows::{Kind, Schema, Value};

pub use avro::Avro;
pub use bound::bound;
pub use csv::Csv;
pub use json::Json;
pub(crate) use own::{is_own, without};
pub use protobuf::Protobuf;
pub(crate) use read::{Append, Payload, Refine, Upserts};
pub use row_writer::{Layout, RowWriter};
pub use text::Text;

/// The value that `text` is in a column of this type, as formats read it in which all is text: a timestamp in RFC 3339 or in
/// whole milliseconds, bytes in base 64, which are decoded into `bytes`.
///
/// # Errors
/// If it is none: why, in words.
pub fn value_of<'a>(kind: &Kind, text: &'a str, bytes: &'a mut Vec<u8>) -> Result<Value<'a>, String> {
    scalar::parse(kind, text, bytes).map_err(|why| why.to_string())
}

/// How the bytes of a record become the values of a row's columns.
///
/// The name is part of a job's identity: a state that was made with another format is refused. So a format that reads the
/// same bytes as other values has another name.
pub trait Format: Send + Sync + 'static {
    /// The name by which `--format` knows it: without `+` and `=`.
    fn name(&self) -> &str;

    /// A decoder for rows of this schema. Called on every worker, and at other times to see whether it can be: it must
    /// depend on the schema alone, and take no time.
    ///
    /// # Errors
    /// If no record of this format could fill the columns: in words that name the column.
    fn open(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String>;

    /// As [`Format::open`], but columns of text take whatever is one value, as it would be written: a number with all its
    /// digits, a truth value, a time. For dataflows that look at values before they know their type.
    ///
    /// # Errors
    /// As [`Format::open`].
    fn open_as_text(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        self.open(schema)
    }

    /// Looks at the first record of each partition, before a run reads any, for formats in which a mistake of the command line
    /// shows there. Where it does, the run does not begin: what comes later than that, a decoder can make a dead letter of, and
    /// no more.
    fn look(&self, _schema: &Schema) -> Option<Look> {
        None
    }

    /// The format with what `--format` says of it after a colon, `csv:id,price`. Its name has that in it.
    ///
    /// # Errors
    /// If it can't be, or the format takes nothing of that kind: in words.
    fn with(&self, arguments: &str) -> Result<Arc<dyn Format>, String> {
        Err(format!("format {} takes nothing after a colon, but {arguments:?} is there", self.name()))
    }
}

/// Looks at the first record of a partition: an error says what is wrong with how it is to be read, and what to write instead.
pub type Look = Box<dyn FnMut(&[u8]) -> Result<(), String>>;

/// Decodes records of a format to rows of a schema, inside the source operator, on the borrowed record.
pub trait Decoder: 'static {
    /// Writes the values of all columns of `payload`, in order. `record` is what that is part of, for formats that go by its
    /// headers, say.
    ///
    /// # Errors
    /// A payload that can't be read becomes a dead letter; what was written of it is dropped. The reason names the column and
    /// says what is wrong with it, without quoting what people sent: reasons are logged.
    ///
    /// # Panics
    /// A panic is caught, as that of [`Decode::decode`](crate::decode::Decode::decode).
    fn decode(
        &mut self,
        payload: &[u8],
        record: &Record<'_>,
        row: &mut RowWriter<'_>,
    ) -> Result<(), Undecoded>;

    /// What is within a key or value that the writer may have put into another: that of Kafka Connect's
    /// `{"schema": …, "payload": …}`. Asked for where Kafka Connect has written the records, with `debezium`.
    fn unwrapped<'p>(&self, payload: &'p [u8]) -> &'p [u8] {
        payload
    }

    /// What of a record's key tells it from others, with `debezium`: what is left of [`Decoder::unwrapped`] without what may
    /// differ between equal keys, the id of a schema say.
    fn key<'p>(&self, key: &'p [u8]) -> &'p [u8] {
        self.unwrapped(key)
    }
}

/// Why a payload was not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecoded {
    /// It can't be: the record becomes a dead letter.
    Malformed(Malformed),
    /// It is none, and no mistake: the header of a file, say. With `upsert`, its key has no row then.
    NoRow,
    /// What it takes is being fetched: the record, and those after it in its partition, wait and are decoded later.
    NotYet,
}

impl From<Malformed> for Undecoded {
    fn from(why: Malformed) -> Self {
        Undecoded::Malformed(why)
    }
}

/// What a record means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Envelope {
    /// Each record is a row. A record with a null value is a dead letter.
    #[default]
    Append,
    /// The newest value of a record key stands, a null value deletes it. A record without a key is a dead letter.
    Upsert,
    /// Each record is a change of a database's table, as Debezium writes them; the newest row of a record key stands. An
    /// event that comes once more is not applied once more, also where newer ones of its key have come.
    Debezium,
}

impl Envelope {
    /// All there are.
    pub const ALL: [Envelope; 3] = [Envelope::Append, Envelope::Upsert, Envelope::Debezium];

    /// The name by which `--format` knows it.
    pub fn name(self) -> &'static str {
        match self {
            Envelope::Append => "append",
            Envelope::Upsert => "upsert",
            Envelope::Debezium => "debezium",
        }
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Envelope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Envelope::ALL.into_iter().find(|envelope| envelope.name() == text).ok_or_else(|| {
            format!("there is no envelope {text:?}, but {}", Envelope::ALL.map(Envelope::name).join(", "))
        })
    }
}

/// How an input is read: what `--format` binds.
#[derive(Clone)]
pub struct Binding {
    /// The format.
    pub format: Arc<dyn Format>,
    /// The envelope; `None` where nothing is said, which leaves it to the dataflow.
    pub envelope: Option<Envelope>,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Binding").field(&self.format.name()).field(&self.envelope).finish()
    }
}

impl Binding {
    /// A format, with the envelope that the dataflow says.
    pub fn new(format: impl Format) -> Self {
        Binding { format: Arc::new(format), envelope: None }
    }

    /// With this envelope.
    pub fn envelope(self, envelope: Envelope) -> Self {
        Binding { envelope: Some(envelope), ..self }
    }

    /// Reads `FORMAT[:ARGUMENTS][+ENVELOPE]`, where the format is one of `known`.
    ///
    /// # Errors
    /// Names the formats or envelopes that there are.
    pub fn parse(text: &str, known: &[Arc<dyn Format>]) -> Result<Self, String> {
        let (format, envelope) = match text.rsplit_once('+') {
            Some((format, envelope)) => (format, Some(envelope.parse()?)),
            None => (text, None),
        };
        let (name, arguments) = match format.split_once(':') {
            Some((name, arguments)) => (name, Some(arguments)),
            None => (format, None),
        };
        // One that is registered goes before one that comes with Cutwater.
        let format = known.iter().rev().find(|format| format.name() == name).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|format| format.name()).collect();
            format!("there is no format {name:?}, but {}", names.join(", "))
        })?;
        let format = match arguments {
            Some(arguments) => format.with(arguments)?,
            None => Arc::clone(format),
        };
        Ok(Binding { format, envelope })
    }
}

impl Binding {
    /// Looks at first records of an input of this shape: [`Format::look`].
    pub fn look(&self, input: &InputShape) -> Option<Look> {
        self.format.look(&without(&input.schema))
    }

    /// Whether an input of this shape can be read so.
    ///
    /// # Errors
    /// If the format can't fill the columns: in words.
    pub fn check(&self, input: &InputShape) -> Result<(), String> {
        let filled = without(&input.schema);
        self.format.open(&filled)?;
        if self.envelope.unwrap_or(input.envelope) == Envelope::Debezium {
            let why = |why| format!("as a part of debezium's events: {why}");
            self.format.open(&debezium::schema(&filled)).map_err(why)?;
        }
        Ok(())
    }
}

/// How an input of a dataflow is read by its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputShape {
    /// The name of the format.
    pub format: String,
    /// The envelope.
    pub envelope: Envelope,
    /// The columns that the format fills.
    pub schema: Schema,
    /// True iff the dataflow's code binds the format: nothing else can be bound then.
    pub in_code: bool,
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.format, self.envelope)
    }
}

/// The formats that come with Cutwater.
pub fn formats() -> Vec<Arc<dyn Format>> {
    vec![
        Arc::new(Text),
        Arc::new(Json),
        Arc::new(Csv::default()),
        Arc::new(Avro::default()),
        Arc::new(Protobuf::default()),
    ]
}

/// The format of rows of this type where none is bound: `text` for one text, `json` for others.
pub(crate) fn usual(kind: &Kind) -> Arc<dyn Format> {
    match kind {
        Kind::Text => Arc::new(Text),
        _ => Arc::new(Json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_a_format_and_an_envelope_or_names_what_there_is() {
        let parse = |text: &str| Binding::parse(text, &formats());
        let bound = |text: &str| parse(text).map(|binding| format!("{binding:?}")).unwrap();
        assert_eq!(bound("json"), "Binding(\"json\", None)");
        assert_eq!(bound("text+append"), "Binding(\"text\", Some(Append))");
        assert_eq!(bound("json+upsert"), "Binding(\"json\", Some(Upsert))");
        let refused = |text: &str| parse(text).unwrap_err();
        assert_eq!(bound("csv:a,b+upsert"), "Binding(\"csv:a,b\", Some(Upsert))");
        assert_eq!(refused("jsno"), "there is no format \"jsno\", but text, json, csv, avro, protobuf");
        assert_eq!(refused(""), "there is no format \"\", but text, json, csv, avro, protobuf");
        assert_eq!(refused("json+"), "there is no envelope \"\", but append, upsert, debezium");
        assert_eq!(refused("json+upsrt"), "there is no envelope \"upsrt\", but append, upsert, debezium");
        assert_eq!(refused("json:a"), "format json takes nothing after a colon, but \"a\" is there");
    }
}
