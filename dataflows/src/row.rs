//! Rows: what collections hold. A row knows its flat encoding (for combining, exchange and files) and
//! its columns (for output).

use std::fmt::Debug;
use std::hash::Hash;

use compact_str::CompactString;
use differential_dataflow::ExchangeData;
use serde::{Deserialize, Serialize};

/// A short piece of text, at most 24 bytes of it without an allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(CompactString);

impl Text {
    /// The text as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text(CompactString::new(text))
    }
}

impl Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// One column of a row, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A signed integer.
    Int(i64),
    /// Nothing: JSON's `null`.
    Null,
}

impl Value<'_> {
    /// Appends the value as JSON.
    pub fn json(self, out: &mut Vec<u8>) {
        match self {
            // Neither can fail: the writer is memory and the value has no map keys.
            Value::Text(text) => serde_json::to_writer(out, text).expect("text is JSON"),
            Value::Int(int) => serde_json::to_writer(out, &int).expect("an integer is JSON"),
            Value::Null => out.extend_from_slice(b"null"),
        }
    }
}

/// A row of a collection.
///
/// `encode` and `decode` are inverses, and equal rows have equal encodings: rows are combined, hashed and
/// exchanged by their encoding. The encoding need not say where it ends.
pub trait Row: ExchangeData + Hash {
    /// The row, borrowed, as decoders hand it over: `&str` for [`Text`], so that a word in a record's
    /// buffer becomes a row without an allocation.
    type Ref<'a>: Copy;
    /// How many columns the row has.
    const WIDTH: usize;

    /// The row's type, as the state of a job knows it: equal for types of which each reads what the other wrote, and for
    /// no others. A state that holds rows of another type is refused.
    fn describe() -> String;
    /// Borrows the row.
    fn borrow(&self) -> Self::Ref<'_>;
    /// Appends the row's encoding.
    fn encode(row: Self::Ref<'_>, out: &mut Vec<u8>);
    /// Shows the row's encoding to `read`, by way of `scratch` where it has to be made.
    #[inline]
    fn with_encoding<T>(row: Self::Ref<'_>, scratch: &mut Vec<u8>, read: impl FnOnce(&[u8]) -> T) -> T {
        scratch.clear();
        Self::encode(row, scratch);
        read(scratch)
    }
    /// The row that has this encoding.
    ///
    /// # Panics
    /// May panic on bytes that `encode` did not write: they are checked by their checksum before.
    fn decode(bytes: &[u8]) -> Self;
    /// Calls `each` with every column, in order: [`Row::WIDTH`] times.
    fn columns(&self, each: &mut dyn FnMut(Value<'_>));
}

impl Row for Text {
    type Ref<'a> = &'a str;
    const WIDTH: usize = 1;

    fn describe() -> String {
        "text".to_owned()
    }
    fn borrow(&self) -> &str {
        self.as_str()
    }
    #[inline]
    fn encode(row: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(row.as_bytes());
    }
    #[inline]
    fn with_encoding<T>(row: &str, _scratch: &mut Vec<u8>, read: impl FnOnce(&[u8]) -> T) -> T {
        read(row.as_bytes())
    }
    fn decode(bytes: &[u8]) -> Self {
        Text(CompactString::from_utf8(bytes).expect("encoded from text"))
    }
    fn columns(&self, each: &mut dyn FnMut(Value<'_>)) {
        each(Value::Text(self.as_str()));
    }
}

impl Row for i64 {
    type Ref<'a> = i64;
    const WIDTH: usize = 1;

    fn describe() -> String {
        "i64".to_owned()
    }
    fn borrow(&self) -> i64 {
        *self
    }
    #[inline]
    fn encode(row: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&row.to_le_bytes());
    }
    fn decode(bytes: &[u8]) -> Self {
        i64::from_le_bytes(bytes.try_into().expect("encoded from an i64"))
    }
    fn columns(&self, each: &mut dyn FnMut(Value<'_>)) {
        each(Value::Int(*self));
    }
}

/// A column that may be missing.
impl<A: Row> Row for Option<A> {
    type Ref<'a> = Option<A::Ref<'a>>;
    const WIDTH: usize = A::WIDTH;

    fn describe() -> String {
        format!("optional {}", A::describe())
    }
    fn borrow(&self) -> Self::Ref<'_> {
        self.as_ref().map(A::borrow)
    }
    fn encode(row: Self::Ref<'_>, out: &mut Vec<u8>) {
        out.push(row.is_some().into());
        if let Some(row) = row {
            A::encode(row, out);
        }
    }
    fn decode(bytes: &[u8]) -> Self {
        (bytes[0] == 1).then(|| A::decode(&bytes[1..]))
    }
    fn columns(&self, each: &mut dyn FnMut(Value<'_>)) {
        match self {
            Some(row) => row.columns(each),
            None => (0..A::WIDTH).for_each(|_| each(Value::Null)),
        }
    }
}

/// Two rows side by side. The first one's encoding is preceded by its length.
impl<A: Row, B: Row> Row for (A, B) {
    type Ref<'a> = (A::Ref<'a>, B::Ref<'a>);
    const WIDTH: usize = A::WIDTH + B::WIDTH;

    fn describe() -> String {
        format!("({}, {})", A::describe(), B::describe())
    }
    fn borrow(&self) -> Self::Ref<'_> {
        (self.0.borrow(), self.1.borrow())
    }
    fn encode(row: Self::Ref<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        A::encode(row.0, out);
        let length = u32::try_from(out.len() - start - 4).expect("a column is under 4 GiB");
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        B::encode(row.1, out);
    }
    fn decode(bytes: &[u8]) -> Self {
        let (length, rest) = bytes.split_at(4);
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let (first, second) = rest.split_at(length);
        (A::decode(first), B::decode(second))
    }
    fn columns(&self, each: &mut dyn FnMut(Value<'_>)) {
        self.0.columns(each);
        self.1.columns(each);
    }
}

/// Appends the encoding of a pair, of which the parts are encoded already.
pub(crate) fn encode_pair(first: &[u8], second: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(first.len()).expect("a column is under 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(first);
    out.extend_from_slice(second);
}

/// Three rows side by side, encoded as two pairs.
impl<A: Row, B: Row, C: Row> Row for (A, B, C) {
    type Ref<'a> = (A::Ref<'a>, B::Ref<'a>, C::Ref<'a>);
    const WIDTH: usize = A::WIDTH + B::WIDTH + C::WIDTH;

    fn describe() -> String {
        // Encoded as two pairs, it is the same type.
        <(A, (B, C))>::describe()
    }
    fn borrow(&self) -> Self::Ref<'_> {
        (self.0.borrow(), self.1.borrow(), self.2.borrow())
    }
    fn encode(row: Self::Ref<'_>, out: &mut Vec<u8>) {
        <(A, (B, C))>::encode((row.0, (row.1, row.2)), out);
    }
    fn decode(bytes: &[u8]) -> Self {
        let (a, (b, c)) = <(A, (B, C))>::decode(bytes);
        (a, b, c)
    }
    fn columns(&self, each: &mut dyn FnMut(Value<'_>)) {
        self.0.columns(each);
        self.1.columns(each);
        self.2.columns(each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<R: Row>(row: R) {
        let mut bytes = Vec::new();
        R::encode(row.borrow(), &mut bytes);
        assert_eq!(R::decode(&bytes), row);
        let mut width = 0;
        row.columns(&mut |_| width += 1);
        assert_eq!(width, R::WIDTH);
    }

    #[test]
    fn rows_survive_their_encoding() {
        round_trip(Text::from(""));
        round_trip(Text::from("a word of more than twenty-four bytes"));
        round_trip(i64::MIN);
        round_trip((Text::from("the"), 12));
        round_trip(((Text::from("a"), Text::from("")), Some(Text::from("b"))));
        round_trip((None::<Text>, 3, (Text::from("\u{1f980}"), -1)));
        round_trip(None::<(Text, i64)>);
        let (mut pair, mut whole) = (Vec::new(), Vec::new());
        encode_pair(b"the", &12i64.to_le_bytes(), &mut pair);
        <(Text, i64)>::encode(("the", 12), &mut whole);
        assert_eq!(pair, whole);
    }

    #[test]
    fn types_are_described_by_what_they_read() {
        assert_eq!(<(Text, Option<i64>)>::describe(), "(text, optional i64)");
        assert_eq!(<(Text, i64, Text)>::describe(), <(Text, (i64, Text))>::describe());
        assert_ne!(<(Text, i64, Text)>::describe(), <((Text, i64), Text)>::describe());
    }

    #[test]
    fn values_are_json() {
        let mut out = Vec::new();
        Value::Text("a\"\n\u{0}é").json(&mut out);
        Value::Int(-3).json(&mut out);
        Value::Null.json(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"\\n\\u0000é\"-3null");
    }
}
