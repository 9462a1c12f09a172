//! Text and bytes.

use std::fmt;
use std::ops::Deref;

use compact_str::CompactString;

use crate::order::{Damaged, Place, read_bytes, write_bytes};
use crate::row::Row;
use crate::schema::Kind;

/// A piece of text, at most 24 bytes of it without an allocation. It is ordered by its bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(CompactString);

impl Text {
    /// The text as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text(CompactString::new(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text(text.into())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl Row for Text {
    type Ref<'a> = &'a str;
    #[inline]
    fn borrow(&self) -> &str {
        &self.0
    }
    fn to_owned(row: &str) -> Self {
        row.into()
    }
    #[inline]
    fn write(row: &str, place: Place, out: &mut Vec<u8>) {
        write_bytes(row.as_bytes(), place, out);
    }
    #[inline]
    fn read<'a>(bytes: &mut &'a [u8], place: Place) -> Result<&'a str, Damaged> {
        std::str::from_utf8(read_bytes(bytes, place)?).map_err(|_| Damaged::Text)
    }
    fn kind() -> Kind {
        Kind::Text
    }
    #[inline]
    fn inner(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Damaged> {
        write_bytes(bytes, Place::Inner, out);
        Ok(())
    }
    #[inline]
    fn with_encoding<T>(row: &str, _scratch: &mut Vec<u8>, read: impl FnOnce(&[u8]) -> T) -> T {
        read(row.as_bytes())
    }
}

/// Bytes, which JSON shows in base 64.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(Vec<u8>);

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(bytes)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl Row for Bytes {
    type Ref<'a> = &'a [u8];
    #[inline]
    fn borrow(&self) -> &[u8] {
        &self.0
    }
    fn to_owned(row: &[u8]) -> Self {
        row.into()
    }
    #[inline]
    fn write(row: &[u8], place: Place, out: &mut Vec<u8>) {
        write_bytes(row, place, out);
    }
    #[inline]
    fn read<'a>(bytes: &mut &'a [u8], place: Place) -> Result<&'a [u8], Damaged> {
        read_bytes(bytes, place)
    }
    fn kind() -> Kind {
        Kind::Bytes
    }
}

crate::serialize_as_encoding!([] Text);
crate::serialize_as_encoding!([] Bytes);
