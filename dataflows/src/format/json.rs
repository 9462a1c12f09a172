//! JSON: an object a record, whose fields are the columns.

mod find;

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use self::find::{OBJECT, find};
use super::fields::{Field, Node, fields, places};
use super::text::utf8;
use super::{Decoder, Format, Layout, RowWriter, Undecoded};
use crate::record::{Malformed, Record};
use crate::rows::{self, DynRow, Kind, Row, Schema, Timestamp, Value, decimal_units};

/// `json`: an object a record, whose fields are the columns, by their names.
///
/// Numbers are read without loss: an integer has to be one of 64 bits, a decimal, which may also be a string, is never
/// rounded. Timestamps are RFC 3339 or integer milliseconds, bytes base 64. A struct within is an object, a tuple and a
/// dynamic row an array. Where a column may be missing, so may the field, or be null. Other fields are ignored; a field that
/// is there twice is not. Columns that say their own type get an integer or else a floating-point number, text, a truth
/// value, or null.
///
/// Costs two passes over what is read, one over the rest, and no allocation but for strings with escapes.
///
/// ```
/// use cutwater_dataflows::prelude::*;
/// use cutwater_dataflows::testing::Test;
///
/// #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// struct Order {
///     #[row(key)]
///     id: Text,
///     price: Decimal<2>,
/// }
///
/// let test = Test::building("orders", |flow| {
///     flow.input("orders").rows::<Order>().output("orders", &["id"], &["price"]);
/// });
/// let good = r#"{"price": 0.10, "id": "o-1", "colour": "red"}"#;
/// let bad = r#"{"price": 0.105, "id": "o-2"}"#;
/// let outcome = test.epoch([("orders", good), ("orders", bad)]).check();
/// assert_eq!(outcome.rows("orders"), [r#"{"id":"o-1","price":"0.10"}"#]);
/// assert!(outcome.dead_letters().first().unwrap().contains("price: it has more than 2 digits after the point"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Format for Json {
    fn name(&self) -> &str {
        "json"
    }

    fn open(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        Object::open(schema, false)
    }

    fn open_as_text(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        Object::open(schema, true)
    }
}

/// Decodes objects.
struct Object {
    fields: Vec<Field>,
    /// True iff columns of text take whatever is one value, as it is written.
    as_text: bool,
    /// The memory of [`Reading::found`] between records.
    found: Vec<Option<&'static str>>,
    bytes: Vec<u8>,
}

impl Object {
    fn open(schema: &Schema, as_text: bool) -> Result<Box<dyn Decoder>, String> {
        Layout::without_own(schema)?;
        let fields = fields(&schema.columns);
        Ok(Box::new(Object { fields, as_text, found: Vec::new(), bytes: Vec::new() }))
    }
}

impl Decoder for Object {
    fn decode(&mut self, payload: &[u8], _: &Record<'_>, row: &mut RowWriter<'_>) -> Result<(), Undecoded> {
        let text = utf8(payload)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let found = reused(std::mem::take(&mut self.found));
        let mut reading = Reading { found, bytes: &mut self.bytes, row, as_text: self.as_text };
        let result = reading.object(&self.fields, text, &Path::TOP);
        self.found = reused(reading.found);
        Ok(result?)
    }

    fn unwrapped<'p>(&self, payload: &'p [u8]) -> &'p [u8] {
        unwrapped(payload).unwrap_or(payload)
    }
}

/// The payload of what Kafka Connect's JSON converter has written with its schema.
fn unwrapped(payload: &[u8]) -> Option<&[u8]> {
    #[derive(serde::Deserialize)]
    struct Wrapped<'p> {
        #[serde(borrow, rename = "schema")]
        _schema: &'p RawValue,
        #[serde(borrow)]
        payload: &'p RawValue,
    }
    // The converter writes these two first: so others are not read twice.
    let first = payload.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    if !first.starts_with(b"\"schema\"") && !first.starts_with(b"\"payload\"") {
        return None;
    }
    let wrapped: Wrapped<'_> = serde_json::from_slice(payload).ok()?;
    Some(wrapped.payload.get().as_bytes())
}

/// The same memory, for texts of another lifetime.
fn reused<'a>(mut found: Vec<Option<&str>>) -> Vec<Option<&'a str>> {
    found.clear();
    found.into_iter().map(|_| None).collect()
}

/// Where a value stands.
struct Path<'a> {
    above: Option<&'a Path<'a>>,
    name: &'a str,
}

impl Path<'_> {
    const TOP: Path<'static> = Path { above: None, name: "" };

    #[cold]
    fn wrong(&self, why: impl fmt::Display) -> Malformed {
        Malformed(if self.above.is_some() { format!("{self}: {why}") } else { why.to_string() }.into())
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above.filter(|above| above.above.is_some()) {
            write!(f, "{above}.")?;
        }
        f.write_str(self.name)
    }
}

/// A record that is read.
struct Reading<'p, 'b, 'w> {
    /// The texts of the fields of an object, and behind them those of the object within that is being read.
    found: Vec<Option<&'p str>>,
    /// Where bytes are decoded.
    bytes: &'b mut Vec<u8>,
    row: &'b mut RowWriter<'w>,
    as_text: bool,
}

impl<'p> Reading<'p, '_, '_> {
    fn object(&mut self, fields: &[Field], text: &'p str, path: &Path<'_>) -> Result<(), Malformed> {
        let begin = self.found.len();
        self.found.resize(begin + places(fields), None);
        find(fields, text, &mut self.found[begin..], path)?;
        self.each(fields, begin, path)?;
        self.found.truncate(begin);
        Ok(())
    }

    fn array(&mut self, items: &[Field], text: &'p str, path: &Path<'_>) -> Result<(), Malformed> {
        let begin = self.found.len();
        let texts: Vec<&RawValue> = parsed(text, "an array", path)?;
        if texts.len() != items.len() {
            return Err(path.wrong(format_args!("expected {} items, found {}", items.len(), texts.len())));
        }
        self.found.extend(texts.iter().map(|text| Some(text.get())));
        self.each(items, begin, path)?;
        self.found.truncate(begin);
        Ok(())
    }

    /// Reads the fields whose texts were found, from `begin` on.
    fn each(&mut self, fields: &[Field], begin: usize, path: &Path<'_>) -> Result<(), Malformed> {
        for field in fields {
            let path = Path { above: Some(path), name: &field.name };
            let at = begin + field.at;
            match self.found[at] {
                None | Some("null") if field.optional => self.row.push(Value::Null)?,
                Some(text) => self.value(field, text, at, &path)?,
                None => return Err(path.wrong("it is missing")),
            }
        }
        Ok(())
    }

    /// Reads the field whose text was found at `at`.
    fn value(&mut self, field: &Field, text: &'p str, at: usize, path: &Path<'_>) -> Result<(), Malformed> {
        if field.optional && !matches!(field.node, Node::Column(_)) {
            self.row.present()?;
        }
        match &field.node {
            Node::Object(fields) if text == OBJECT => self.each(fields, at + 1, path),
            Node::Object(fields) => self.object(fields, text, path),
            Node::Array(items) => self.array(items, text, path),
            Node::Column(kind) => self.column(kind, text, path),
        }
    }

    fn column(&mut self, kind: &Kind, text: &'p str, path: &Path<'_>) -> Result<(), Malformed> {
        let owned;
        let value = match kind {
            Kind::Text if self.as_text && is_plain(text) => Value::Text(text),
            Kind::Text => {
                owned = string(text, kind, path)?;
                Value::Text(&owned)
            }
            Kind::Int => Value::Int(integer(text, kind, path)?),
            Kind::Float => Value::Float(float(text, kind, path)?),
            Kind::Bool => match text {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => return Err(unexpected(kind, text, path)),
            },
            Kind::Timestamp if is_string(text) => {
                let time: Result<Timestamp, _> = string(text, kind, path)?.parse();
                Value::Timestamp(time.map_err(|_| path.wrong("it is not an RFC 3339 time"))?)
            }
            Kind::Timestamp => {
                let time = Timestamp::from_millis(integer(text, kind, path)?);
                Value::Timestamp(time.ok_or_else(|| path.wrong("it is out of range"))?)
            }
            Kind::Decimal(scale) => {
                let digits = if is_string(text) {
                    string(text, kind, path)?
                } else {
                    number(text, kind, path)?.into()
                };
                Value::Decimal(decimal_units(&digits, *scale).map_err(|why| path.wrong(why))?, *scale)
            }
            Kind::Bytes => {
                self.bytes.clear();
                let decoded = STANDARD.decode_vec(&*string(text, kind, path)?, self.bytes);
                decoded.map_err(|_| path.wrong("it is not base 64"))?;
                Value::Bytes(self.bytes)
            }
            Kind::Any => {
                owned = if is_string(text) { string(text, kind, path)? } else { "".into() };
                any(text, &owned, path)?
            }
            Kind::Dynamic => {
                let row = dynamic(text, path)?;
                return self.row.push(Value::Dynamic(row.borrow()));
            }
            Kind::Option(_) | Kind::Struct(_) | Kind::Tuple(_) => unreachable!("these are no columns"),
        };
        self.row.push(value)
    }
}

/// Parses what has to be JSON of a kind.
fn parsed<'p, T: serde::Deserialize<'p>>(text: &'p str, kind: &str, path: &Path<'_>) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|error| not_json(&error, text, kind, path))
}

#[cold]
fn not_json(error: &serde_json::Error, text: &str, expected: &str, path: &Path<'_>) -> Malformed {
    // What serde says of data quotes it.
    if error.is_data() {
        unexpected(expected, text, path)
    } else {
        path.wrong(format_args!("not JSON: {error}"))
    }
}

fn is_string(text: &str) -> bool {
    text.starts_with('"')
}

/// True iff it is a number or a truth value.
fn is_plain(text: &str) -> bool {
    !text.starts_with(['"', '{', '[', 'n'])
}

/// The content of a string: borrowed, where nothing in it is escaped.
fn string<'p>(text: &'p str, kind: &Kind, path: &Path<'_>) -> Result<Cow<'p, str>, Malformed> {
    let Some(plain) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Err(unexpected(kind, text, path));
    };
    if plain.contains('\\') { parsed::<String>(text, "text", path).map(Cow::Owned) } else { Ok(plain.into()) }
}

/// The text of a number.
fn number<'p>(text: &'p str, kind: &Kind, path: &Path<'_>) -> Result<&'p str, Malformed> {
    if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Ok(text);
    }
    Err(unexpected(kind, text, path))
}

fn integer(text: &str, kind: &Kind, path: &Path<'_>) -> Result<i64, Malformed> {
    let number = number(text, kind, path)?;
    number.parse().map_err(|_| {
        let whole = !number.contains(['.', 'e', 'E']);
        path.wrong(if whole { "it is out of range of 64 bits" } else { "it is not a whole number" })
    })
}

fn float(text: &str, kind: &Kind, path: &Path<'_>) -> Result<rows::Float, Malformed> {
    let value: f64 = number(text, kind, path)?.parse().map_err(|_| unexpected(kind, text, path))?;
    if value.is_finite() { Ok(value.into()) } else { Err(path.wrong("it is out of range")) }
}

/// A value that says its own type. `owned` is its content, where it is a string.
fn any<'a>(text: &str, owned: &'a str, path: &Path<'_>) -> Result<Value<'a>, Malformed> {
    Ok(match text.as_bytes().first() {
        Some(b'"') => Value::Text(owned),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Null,
        Some(b'{' | b'[') => return Err(unexpected(&Kind::Any, text, path)),
        _ if text.contains(['.', 'e', 'E']) => Value::Float(float(text, &Kind::Any, path)?),
        _ => Value::Int(integer(text, &Kind::Any, path)?),
    })
}

fn dynamic(text: &str, path: &Path<'_>) -> Result<DynRow, Malformed> {
    let mut row = DynRow::default();
    for text in parsed::<Vec<&RawValue>>(text, "an array", path)?.iter().map(|text| text.get()) {
        let owned = if is_string(text) { string(text, &Kind::Any, path)? } else { "".into() };
        row.push(any(text, &owned, path)?);
    }
    Ok(row)
}

/// Says what was found, without quoting it.
#[cold]
fn unexpected(expected: impl fmt::Display, text: &str, path: &Path<'_>) -> Malformed {
    let found = match text.trim_start().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a truth value",
        Some(b'n') => "null",
        _ => "a number",
    };
    path.wrong(format_args!("expected {expected}, found {found}"))
}

#[cfg(test)]
mod tests;
