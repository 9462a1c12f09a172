//! What a row is.

use std::fmt::Debug;
use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::order::{Damaged, Place};
use crate::schema::Kind;

/// A row: one column or several, with a type that knows its schema and its encoding.
///
/// Derive it for structs. The laws that every implementation keeps, and operators rely on:
///
/// - What [`Row::read`] gives of the bytes that [`Row::write`] wrote is what was written.
/// - Equal rows have equal bytes, and the bytes of two rows at the same [`Place`] compare as the rows do.
/// - At [`Place::Inner`], no row's bytes are the beginning of another's: something else may follow.
///
/// Reading and writing cost time in the length of the bytes, and no allocation.
pub trait Row: Clone + Debug + Ord + Hash + Send + Serialize + DeserializeOwned + 'static {
    /// The row, borrowed: `&str` for [`Text`](crate::Text), a struct of borrowed fields for a struct.
    type Ref<'a>: Copy + Debug;

    /// Borrows the row.
    fn borrow(&self) -> Self::Ref<'_>;

    /// The row that owns what `row` borrows.
    fn to_owned(row: Self::Ref<'_>) -> Self;

    /// Appends the row's encoding.
    fn write(row: Self::Ref<'_>, place: Place, out: &mut Vec<u8>);

    /// Takes a row from the front of `bytes`, and leaves the rest there. At [`Place::Last`], there is no rest.
    ///
    /// # Errors
    /// If the bytes are not those of such a row.
    fn read<'a>(bytes: &mut &'a [u8], place: Place) -> Result<Self::Ref<'a>, Damaged>;

    /// What columns it has.
    fn kind() -> Kind;

    /// Appends the encoding at [`Place::Inner`] of the row whose whole encoding is `bytes`.
    ///
    /// # Errors
    /// If the bytes are not those of such a row.
    #[inline]
    fn inner(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Damaged> {
        Self::write(decode::<Self>(bytes)?, Place::Inner, out);
        Ok(())
    }

    /// Shows the row's whole encoding to `read`: that of one text is the text itself, and is not copied. `scratch` is where
    /// others are made.
    #[inline]
    fn with_encoding<T>(row: Self::Ref<'_>, scratch: &mut Vec<u8>, read: impl FnOnce(&[u8]) -> T) -> T {
        scratch.clear();
        Self::write(row, Place::Last, scratch);
        read(scratch)
    }
}

/// The row's encoding.
pub fn encode<R: Row>(row: &R) -> Vec<u8> {
    let mut out = Vec::new();
    R::write(row.borrow(), Place::Last, &mut out);
    out
}

/// Appends the encoding of a borrowed row.
pub fn encode_into<R: Row>(row: R::Ref<'_>, out: &mut Vec<u8>) {
    R::write(row, Place::Last, out);
}

/// The row with this encoding, read in place.
///
/// # Errors
/// If the bytes are not the whole encoding of one row.
pub fn decode<R: Row>(mut bytes: &[u8]) -> Result<R::Ref<'_>, Damaged> {
    let row = R::read(&mut bytes, Place::Last)?;
    if bytes.is_empty() { Ok(row) } else { Err(Damaged::TooLong) }
}

/// The row that has this encoding, and owns what it is made of.
///
/// # Panics
/// If the bytes are not those of such a row. Rows of a collection are: this program has written them, and what it reads of
/// files is checked by its checksum before.
pub fn to_row<R: Row>(bytes: &[u8]) -> R {
    R::to_owned(decode::<R>(bytes).expect("rows of a collection are encoded rows"))
}

/// Implements serde's traits for a row by its encoding, as it passes between processes where differential's own operators
/// exchange it.
#[doc(hidden)]
#[macro_export]
macro_rules! serialize_as_encoding {
    ([$($generics:tt)*] $row:ty) => {
        impl<$($generics)*> $crate::__serde::Serialize for $row {
            fn serialize<S: $crate::__serde::Serializer>(&self, to: S) -> ::core::result::Result<S::Ok, S::Error> {
                to.serialize_bytes(&$crate::encode(self))
            }
        }
        impl<'de, $($generics)*> $crate::__serde::Deserialize<'de> for $row {
            fn deserialize<D: $crate::__serde::Deserializer<'de>>(from: D) -> ::core::result::Result<Self, D::Error> {
                $crate::row::deserialize(from)
            }
        }
    };
}

#[doc(hidden)]
pub fn deserialize<'de, R: Row, D: serde::Deserializer<'de>>(from: D) -> Result<R, D::Error> {
    struct Encoded<R>(std::marker::PhantomData<R>);
    impl<R: Row> serde::de::Visitor<'_> for Encoded<R> {
        type Value = R;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an encoded row")
        }
        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<R, E> {
            decode::<R>(bytes).map(R::to_owned).map_err(E::custom)
        }
        fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<R, E> {
            self.visit_bytes(&bytes)
        }
    }
    from.deserialize_byte_buf(Encoded(std::marker::PhantomData))
}
