//! Protobuf, by a set of descriptors, with or without Confluent's frame.

mod blame;
mod frame;

use std::borrow::Cow;
use std::sync::Arc;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value as Proto,
};

use super::fields::{Field, Node, fields};
use super::raw::{Raw, Slot};
use super::{Decoder, Format, Layout, RowWriter, Undecoded};
use crate::record::{Malformed, Record};
use crate::rows::{Kind, Schema, Timestamp, Value};
use frame::{Places, unframed};

/// `protobuf:MESSAGE`: a message of that name, by the descriptors of `--descriptor`.
///
/// Columns are the message's fields by their names, those of a struct within a message; others are skipped. A field that is
/// not there has its default value; where it can be told that it is not there (`optional`, messages, `oneof`), a column that is
/// `Option` is missing. Enums are text, `google.protobuf.Timestamp` is a time, and the wrappers (`StringValue` and the like)
/// are their values. A payload that begins with 0, which no message does, is in Confluent's frame: the id of a schema is passed
/// over, and one that is of another message of its file is a dead letter.
///
/// Costs a message of prost-reflect a record, with its allocations.
#[derive(Clone, Default)]
pub struct Protobuf {
    pool: Option<DescriptorPool>,
    message: Option<MessageDescriptor>,
    name: Option<String>,
}

impl Protobuf {
    /// With the descriptors of such a set, as `protoc --descriptor_set_out --include_imports` writes it.
    ///
    /// # Errors
    /// If it is none: in words.
    pub fn new(descriptors: &[u8]) -> Result<Self, String> {
        let pool = DescriptorPool::decode(descriptors)
            .map_err(|error| format!("it is no set of descriptors: {error}"))?;
        Ok(Protobuf { pool: Some(pool), message: None, name: None })
    }

    fn open_with(&self, schema: &Schema, as_text: bool) -> Result<Box<dyn Decoder>, String> {
        let Some(message) = &self.message else { return Err(self.which()) };
        Layout::new(schema)?;
        let columns = columns(&fields(&schema.columns), message, "")?;
        let places = Places::of(message);
        Ok(Box::new(Messages { message: message.clone(), places, columns, as_text }))
    }

    /// What is to be typed.
    fn which(&self) -> String {
        match &self.pool {
            None => "messages of protobuf are read by their descriptors: say where these are with --descriptor FILE".into(),
            Some(_) => format!("which message is it? Write protobuf:MESSAGE, of {}", self.messages()),
        }
    }

    fn messages(&self) -> String {
        let all = self.pool.iter().flat_map(|pool| {
            pool.all_messages()
                .filter(|message| !message.is_map_entry())
                .map(|message| message.full_name().to_owned())
        });
        let all: Vec<_> = all.filter(|name| !name.starts_with("google.protobuf.")).collect();
        all.join(", ")
    }
}

impl Format for Protobuf {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("protobuf")
    }

    fn with(&self, name: &str) -> Result<Arc<dyn Format>, String> {
        let Some(pool) = &self.pool else { return Err(self.which()) };
        let message = pool.get_message_by_name(name);
        let message = message
            .ok_or_else(|| format!("the descriptors have no message {name:?}, but {}", self.messages()))?;
        let name = Some(format!("protobuf:{}", message.full_name()));
        Ok(Arc::new(Protobuf { pool: self.pool.clone(), message: Some(message), name }))
    }

    fn open(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        self.open_with(schema, false)
    }

    fn open_as_text(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        self.open_with(schema, true)
    }
}

/// A column, or a struct, and the field that fills it.
struct Column {
    path: String,
    optional: bool,
    /// None, where the message has no such field.
    field: Option<FieldDescriptor>,
    node: Filled,
}

enum Filled {
    Value(Kind),
    Struct(Vec<Column>),
}

fn columns(fields: &[Field], message: &MessageDescriptor, above: &str) -> Result<Vec<Column>, String> {
    let column = |field: &Field| {
        let path = if above.is_empty() { field.name.clone() } else { format!("{above}.{}", field.name) };
        let found = message.get_field_by_name(&field.name);
        if found.is_none() && !field.optional {
            let names: Vec<_> = message.fields().map(|field| field.name().to_owned()).collect();
            let of = message.full_name();
            return Err(format!("column {path:?} is no field of {of}, which has {}", names.join(", ")));
        }
        let within =
            found.as_ref().filter(|field| !field.is_list() && !field.is_map()).map(FieldDescriptor::kind);
        let within = within.and_then(|kind| kind.as_message().cloned());
        let node = match (&field.node, within) {
            (Node::Column(Kind::Dynamic) | Node::Array(_), _) => {
                return Err(format!(
                    "column {path:?} is a row of its own or a tuple, which no field of protobuf is"
                ));
            }
            (Node::Column(kind), _) => Filled::Value(kind.clone()),
            (Node::Object(inner), Some(message)) => Filled::Struct(columns(inner, &message, &path)?),
            (Node::Object(_), None) if found.is_none() => Filled::Struct(Vec::new()),
            (Node::Object(_), None) => {
                return Err(format!("column {path:?} is a struct, but the field is no message"));
            }
        };
        Ok(Column { path, optional: field.optional, field: found, node })
    };
    fields.iter().map(column).collect()
}

/// Decodes messages.
struct Messages {
    message: MessageDescriptor,
    /// What a frame says of it.
    places: Places,
    columns: Vec<Column>,
    as_text: bool,
}

impl Decoder for Messages {
    fn decode(&mut self, payload: &[u8], _: &Record<'_>, row: &mut RowWriter<'_>) -> Result<(), Undecoded> {
        let (place, payload) = unframed(payload)?;
        if let Some(place) = place {
            self.places.check(&place)?;
        }
        let message = DynamicMessage::decode(self.message.clone(), payload);
        let message = message.map_err(|error| wrong(&self.message, payload, &error))?;
        Ok(write(&self.columns, &message, self.as_text, row)?)
    }

    fn key<'p>(&self, key: &'p [u8]) -> &'p [u8] {
        unframed(key).map_or(key, |(_, key)| key)
    }
}

/// Why bytes are no such message, by the field where that is found. What prost says quotes nothing, either.
#[cold]
fn wrong(message: &MessageDescriptor, payload: &[u8], error: &dyn std::fmt::Display) -> Malformed {
    let why = blame::field(message, payload).unwrap_or_else(|| error.to_string());
    Malformed(format!("no such message: {why}").into())
}

fn write(
    columns: &[Column],
    message: &DynamicMessage,
    as_text: bool,
    row: &mut RowWriter<'_>,
) -> Result<(), Malformed> {
    for Column { path, optional, field, node } in columns {
        let there = field.as_ref().filter(|field| !field.supports_presence() || message.has_field(field));
        let Some(field) = there.or(field.as_ref().filter(|field| !optional && is_scalar(field))) else {
            if *optional {
                row.push(Value::Null)?;
                continue;
            }
            return Err(Malformed(format!("{path}: it is missing").into()));
        };
        let value = message.get_field(field);
        match (node, &*value) {
            (Filled::Struct(within), Proto::Message(message)) => {
                if *optional {
                    row.present()?;
                }
                write(within, message, as_text, row)?;
            }
            (Filled::Value(kind), value) => {
                let slot = raw(value, field).and_then(|raw| raw.into_slot(kind, as_text));
                match slot.map_err(|why| Malformed(format!("{path}: {why}").into()))? {
                    Slot::Value(value) => row.push(value)?,
                    Slot::Text(text) => row.push(Value::Text(&text))?,
                    Slot::Missing => row.push(Value::Null)?,
                }
            }
            (Filled::Struct(_), _) => return Err(Malformed(format!("{path}: expected a message").into())),
        }
    }
    Ok(())
}

/// True iff the field has a default value that is one.
fn is_scalar(field: &FieldDescriptor) -> bool {
    !field.is_list() && !field.is_map() && field.kind().as_message().is_none()
}

/// A value as it is written.
fn raw<'m>(value: &'m Proto, field: &'m FieldDescriptor) -> Result<Raw<'m>, Cow<'static, str>> {
    Ok(match value {
        Proto::Bool(value) => Raw::Bool(*value),
        Proto::I32(number) => Raw::Long((*number).into()),
        Proto::I64(number) => Raw::Long(*number),
        Proto::U32(number) => Raw::Long((*number).into()),
        Proto::U64(number) => Raw::Long(i64::try_from(*number).map_err(|_| "it is out of range of 64 bits")?),
        Proto::F32(number) => Raw::Double((*number).into()),
        Proto::F64(number) => Raw::Double(*number),
        Proto::String(text) => Raw::Text(Cow::Borrowed(text)),
        Proto::Bytes(bytes) => Raw::Bytes(bytes),
        Proto::EnumNumber(number) => Raw::Text(Cow::Owned(symbol(field, *number))),
        Proto::Message(message) => return known(message),
        Proto::List(_) => return Err("expected one value, found a list".into()),
        Proto::Map(_) => return Err("expected one value, found a map".into()),
    })
}

/// The name of an enum's value; its number, where it has none.
fn symbol(field: &FieldDescriptor, number: i32) -> String {
    let kind = field.kind();
    let value = kind.as_enum().and_then(|values| values.get_value(number));
    value.map_or_else(|| number.to_string(), |value| value.name().to_owned())
}

/// A message that is one value.
fn known(message: &DynamicMessage) -> Result<Raw<'_>, Cow<'static, str>> {
    const OTHER: &str = "expected one value, found a message";
    let number = |name: &str| match message.get_field_by_name(name).as_deref() {
        Some(Proto::I64(number)) => *number,
        Some(Proto::I32(number)) => (*number).into(),
        _ => 0,
    };
    let name = message.descriptor().full_name().to_owned();
    match name.strip_prefix("google.protobuf.") {
        Some("Timestamp") => {
            let micros = number("seconds").checked_mul(1_000_000);
            let micros = micros.and_then(|micros| micros.checked_add(number("nanos").div_euclid(1_000)));
            let time = micros.and_then(|micros| Timestamp::from_micros(micros).shown());
            Ok(Raw::Time(time.ok_or("it is out of range")?))
        }
        Some(name) if name.ends_with("Value") && name != "Value" && name != "ListValue" => {
            let value = message.get_field_by_name("value").ok_or(OTHER)?;
            Ok(match value.into_owned() {
                Proto::String(text) => Raw::Text(Cow::Owned(text)),
                Proto::Bool(value) => Raw::Bool(value),
                Proto::I32(number) => Raw::Long(number.into()),
                Proto::I64(number) => Raw::Long(number),
                Proto::U32(number) => Raw::Long(number.into()),
                Proto::U64(number) => {
                    Raw::Long(i64::try_from(number).map_err(|_| "it is out of range of 64 bits")?)
                }
                Proto::F32(number) => Raw::Double(number.into()),
                Proto::F64(number) => Raw::Double(number),
                _ => return Err(OTHER.into()),
            })
        }
        _ => Err(OTHER.into()),
    }
}

#[cfg(test)]
mod tests;
