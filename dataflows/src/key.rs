//! Keys: which of a row's bytes say where it belongs.

use xxhash_rust::xxh3::xxh3_64;

use crate::rows::{Place, Row};

/// The hash by which rows are distributed among workers, by their keys. Fixed, as files are sorted by it: XXH3-64 of the
/// key's encoding, seed 0.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Says where the key of an encoded row ends. It begins where the row does.
pub trait KeyOf: 'static {
    /// The key of a row.
    ///
    /// # Panics
    /// If the bytes are not those of such a row.
    fn key(row: &[u8]) -> &[u8];

    /// The hash of a row's key.
    #[inline]
    fn hash(row: &[u8]) -> u64 {
        hash(Self::key(row))
    }
}

/// The key is the whole row.
pub struct Whole;

impl KeyOf for Whole {
    #[inline]
    fn key(row: &[u8]) -> &[u8] {
        row
    }
}

/// The key is the `K` of a row `(K, V)`.
///
/// No key's encoding is the beginning of another's, so a row has the key whose bytes it begins with.
pub struct First<K>(std::marker::PhantomData<K>);

impl<K: Row> KeyOf for First<K> {
    #[inline]
    fn key(row: &[u8]) -> &[u8] {
        let mut rest = row;
        K::read(&mut rest, Place::Inner).expect("rows of a collection are encoded rows");
        &row[..row.len() - rest.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Text, encode};

    #[test]
    fn the_key_of_a_pair_ends_where_its_value_begins() {
        for (text, number) in [("", 0), ("the", -3), ("a\0\u{1}b", 7)] {
            let row = encode(&(Text::from(text), number));
            assert_eq!(First::<Text>::key(&row).len(), row.len() - 8);
            assert_eq!(First::<(Text, i64)>::key(&row), &row[..]);
            assert_eq!(Whole::key(&row), &row[..]);
        }
    }
}
