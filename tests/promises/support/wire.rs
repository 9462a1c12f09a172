//! Protobuf as it is on the wire, and sets of descriptors, as `protoc --descriptor_set_out` writes them: by hand, so that
//! they are of no crate that the program reads them with.

/// Types of fields, by their numbers in `descriptor.proto`.
pub const INT64: u64 = 3;
pub const INT32: u64 = 5;
pub const STRING: u64 = 9;
pub const MESSAGE: u64 = 11;
pub const SINT64: u64 = 18;

/// A field that is a number.
pub fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for mut rest in [field << 3, value] {
        while rest > 0x7f {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out
}

/// A field that is bytes, a text or a message.
pub fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let mut out = number(field, value.len() as u64);
    // The wire type is in the lowest bits of the first byte.
    out[0] |= 2;
    out.extend(value);
    out
}

/// A signed number as `sint64` has it.
pub fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// A message's descriptor: its fields by name, number, type, and the message that they are of.
pub fn message(name: &str, fields: &[(&str, u64, u64, &str)]) -> Vec<u8> {
    let mut out = bytes(1, name.as_bytes());
    for (name, number_of, kind, of) in fields {
        let optional = number(4, 1);
        let mut field =
            [bytes(1, name.as_bytes()), number(3, *number_of), optional, number(5, *kind)].concat();
        if !of.is_empty() {
            field.extend(bytes(6, of.as_bytes()));
        }
        out.extend(bytes(2, &field));
    }
    out
}

/// A file of a set of descriptors, with one message; a set is its files, one after the other.
pub fn file(name: &str, package: &str, imports: &[&str], message: &[u8]) -> Vec<u8> {
    let mut out = [bytes(1, name.as_bytes()), bytes(2, package.as_bytes())].concat();
    imports.iter().for_each(|import| out.extend(bytes(3, import.as_bytes())));
    out.extend(bytes(4, message));
    out.extend(bytes(12, b"proto3"));
    bytes(1, &out)
}
