//! Digests of outputs in the ledger: eight bytes that stand for what an output changed by in an epoch, compared when the
//! epoch is replayed.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The digest of an output's changes in an epoch, see [`cutwater_dataflows::digest`]. Shown, and stored, as 16 hexadecimal
/// digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

/// The digests of an epoch, by output.
pub type Digests = BTreeMap<String, Digest>;

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits =
            text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match u64::from_str_radix(&text, 16) {
            Ok(digest) if digits => Ok(Digest(digest)),
            _ => Err(D::Error::custom(format!("{text:?} is not a digest: expected 16 hexadecimal digits"))),
        }
    }
}

/// The first output whose digest is not what it was, with what it was and what it is. Outputs that were not there before, or
/// are not there now, are not compared.
pub fn difference<'a>(was: &'a Digests, is: &Digests) -> Option<(&'a str, Digest, Digest)> {
    was.iter().find_map(|(output, &was)| {
        let is = *is.get(output)?;
        (was != is).then_some((output.as_str(), was, is))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_stored_as_hexadecimal_digits_and_nothing_else_is_one() {
        let digests =
            Digests::from([("counts".to_owned(), Digest(0xab)), ("other".to_owned(), Digest(u64::MAX))]);
        let text = r#"{"counts":"00000000000000ab","other":"ffffffffffffffff"}"#;
        assert_eq!(serde_json::to_string(&digests).unwrap(), text);
        assert_eq!(serde_json::from_str::<Digests>(text).unwrap(), digests);
        for wrong in ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000abc"] {
            assert!(serde_json::from_str::<Digest>(&format!("{wrong:?}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn outputs_of_both_are_compared() {
        let digests = |of: &[(&str, u64)]| -> Digests {
            of.iter().map(|&(output, digest)| (output.to_owned(), Digest(digest))).collect()
        };
        let was = digests(&[("a", 1), ("b", 2)]);
        assert_eq!(difference(&was, &was), None);
        assert_eq!(difference(&was, &digests(&[("a", 1), ("c", 3)])), None);
        assert_eq!(difference(&was, &digests(&[("a", 1), ("b", 3)])), Some(("b", Digest(2), Digest(3))));
    }
}
