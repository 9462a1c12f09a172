//! Sealed lines: a JSON object in one line, whose last field is the checksum of the bytes before it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

/// The bytes between what is checked and the checksum.
const CHECK: &[u8] = b",\"check\":\"";
/// The digits of a checksum: XXH3-64 in hexadecimal.
const DIGITS: usize = 16;
/// What follows them.
const END: &[u8] = b"\"}";

/// The line of a value, with the line feed at its end.
///
/// # Panics
/// If the value is no object with a field.
pub fn seal(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("it can be written as JSON");
    assert!(line.starts_with(b"{\""), "it is an object with a field");
    line.pop();
    let check = xxh3_64(&line);
    line.extend_from_slice(CHECK);
    line.extend_from_slice(format!("{check:0DIGITS$x}").as_bytes());
    line.extend_from_slice(END);
    line.push(b'\n');
    line
}

/// The value of a line, which is given without the line feed.
///
/// # Errors
/// Says what is wrong with it: it is not what was written, or something else was written.
pub fn unseal<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    if !is_sealed(line) {
        return Err("its checksum is wrong".to_owned());
    }
    serde_json::from_slice(line).map_err(|error| format!("its checksum is right, but {error}"))
}

/// True iff the line is, byte by byte, what [`seal`] made of some value; it is given without the line feed.
pub fn is_sealed(line: &[u8]) -> bool {
    let Some(body) = line.len().checked_sub(CHECK.len() + DIGITS + END.len()) else { return false };
    let (body, rest) = line.split_at(body);
    let (key, rest) = rest.split_at(CHECK.len());
    let (digits, end) = rest.split_at(DIGITS);
    key == CHECK && end == END && digits == format!("{:0DIGITS$x}", xxh3_64(body)).as_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_sealed_line_is_what_it_was_or_is_refused() {
        let value = BTreeMap::from([("a".to_owned(), 1), ("b\n".to_owned(), 2)]);
        let line = seal(&value);
        let (end, line) = line.split_last().unwrap();
        assert_eq!(*end, b'\n');
        assert!(!line.contains(&b'\n'), "it is one line");
        assert!(serde_json::from_slice::<serde_json::Value>(line).unwrap()["check"].is_string());
        #[derive(serde::Deserialize)]
        struct A {
            a: i32,
        }
        assert_eq!(unseal::<A>(line).unwrap().a, 1);
        for bit in 0..line.len() * 8 {
            let mut flipped = line.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal::<A>(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..line.len() {
            assert!(unseal::<A>(&line[..length]).is_err(), "{length} bytes");
        }
    }
}
