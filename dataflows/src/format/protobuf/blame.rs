//! Which field is at fault where bytes are no such message.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::frame::varint;

/// How deep messages within each other are looked through.
const DEEPEST: usize = 32;

/// The types of the wire, by their numbers.
const WIRE: [&str; 6] = ["a varint", "64 bits", "bytes", "a group", "a group's end", "32 bits"];
const BYTES: u8 = 2;

/// The path of the first field that can't be what the message has there, and why; `None` where nothing is found.
pub(super) fn field(message: &MessageDescriptor, payload: &[u8]) -> Option<String> {
    within(message, payload, 0).err()
}

/// Looks through the fields of a message.
fn within(message: &MessageDescriptor, mut rest: &[u8], depth: usize) -> Result<(), String> {
    // Which field is it, where there is no telling? The one after the last that could be read.
    let mut before = None;
    while !rest.is_empty() {
        let lost = || match &before {
            Some(name) => format!("behind {name} it is cut off"),
            None => "it is cut off".to_owned(),
        };
        let tag = varint(&mut rest).ok_or_else(lost)?;
        let number = u32::try_from(tag >> 3).ok().and_then(|number| message.get_field(number));
        let wire = (tag & 7) as u8;
        let Some(field) = number else {
            value(&mut rest, wire).ok_or_else(lost)?;
            continue;
        };
        let name = field.name().to_owned();
        let is_packed = wire == BYTES && field.is_list() && wire_type(&field) != 3;
        let found = WIRE.get(usize::from(wire)).copied().unwrap_or("what protobuf does not have");
        if wire != wire_type(&field) && !is_packed {
            return Err(format!("{name}: expected {}, found {found}", WIRE[usize::from(wire_type(&field))]));
        }
        let bytes = value(&mut rest, wire).ok_or_else(|| format!("{name}: it is cut off"))?;
        match field.kind() {
            Kind::String if std::str::from_utf8(bytes).is_err() => {
                return Err(format!("{name}: it is not UTF-8"));
            }
            Kind::Message(inner) if wire == BYTES && depth < DEEPEST => {
                within(&inner, bytes, depth + 1).map_err(|why| format!("{name}.{why}"))?;
            }
            _ => {}
        }
        before = Some(name);
    }
    Ok(())
}

/// The wire's type of a field.
fn wire_type(field: &FieldDescriptor) -> u8 {
    match field.kind() {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
        _ if field.is_group() => 3,
        Kind::String | Kind::Bytes | Kind::Message(_) => BYTES,
        _ => 0,
    }
}

/// Takes a value: what is in it, where it is bytes.
fn value<'p>(rest: &mut &'p [u8], wire: u8) -> Option<&'p [u8]> {
    let length = match wire {
        0 => return varint(rest).map(|_| &[][..]),
        1 => 8,
        BYTES => usize::try_from(varint(rest)?).ok()?,
        5 => 4,
        // Groups are not looked through.
        _ => rest.len(),
    };
    let (value, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(value)
}
