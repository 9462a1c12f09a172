//! The bytes of values, which compare as the values do.
//!
//! Numbers are big-endian with the sign turned, so that negative ones come first. Text and bytes end with a zero, which
//! sorts a word before those that it begins; a zero within is written as `01 01`, a one as `01 02` (the escape of
//! FoundationDB's tuple layer, by two bytes that text hardly ever holds, so that one byte is enough to end it). So that
//! such a text can be read in place all the same, a plain copy with its length follows, which never decides the order:
//! where it is compared, all before it was equal. The last value of a row needs no end, and is plain.

use std::fmt;

/// Where a value stands in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Something may follow.
    Inner,
    /// Nothing follows: its end is that of the bytes.
    Last,
}

/// Why bytes are not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// They end too early.
    TooShort,
    /// Something follows the row.
    TooLong,
    /// A text is not UTF-8.
    Text,
    /// A tag or an escape that no value has.
    Tag(u8),
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damaged::TooShort => f.write_str("a row's bytes end too early"),
            Damaged::TooLong => f.write_str("bytes follow a row"),
            Damaged::Text => f.write_str("a row's text is not UTF-8"),
            Damaged::Tag(tag) => write!(f, "a row holds the byte {tag}, which has no meaning there"),
        }
    }
}

impl std::error::Error for Damaged {}

/// Takes `count` bytes from the front.
///
/// # Errors
/// If there are fewer.
#[inline]
pub fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Damaged> {
    let (front, rest) = bytes.split_at_checked(count).ok_or(Damaged::TooShort)?;
    *bytes = rest;
    Ok(front)
}

/// Takes as many bytes as the array has.
///
/// # Errors
/// If there are fewer.
#[inline]
pub fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Damaged> {
    let (front, rest) = bytes.split_first_chunk().ok_or(Damaged::TooShort)?;
    *bytes = rest;
    Ok(*front)
}

const END: u8 = 0;
const ESCAPE: u8 = 1;

/// Appends text or bytes.
///
/// # Panics
/// If there are 4 GiB or more of them, and a zero or one is among them.
#[inline]
pub fn write_bytes(value: &[u8], place: Place, out: &mut Vec<u8>) {
    if place == Place::Last {
        return out.extend_from_slice(value);
    }
    if memchr::memchr2(END, ESCAPE, value).is_none() {
        out.extend_from_slice(value);
        return out.push(END);
    }
    write_escaped(value, out);
}

#[cold]
fn write_escaped(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            END => out.extend_from_slice(&[ESCAPE, 1]),
            ESCAPE => out.extend_from_slice(&[ESCAPE, 2]),
            byte => out.push(byte),
        }
    }
    out.push(END);
    let length = u32::try_from(value.len()).expect("a value is under 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

/// Takes text or bytes.
///
/// # Errors
/// If they have no end.
#[inline]
pub fn read_bytes<'a>(bytes: &mut &'a [u8], place: Place) -> Result<&'a [u8], Damaged> {
    if place == Place::Last {
        return Ok(std::mem::take(bytes));
    }
    let end = memchr::memchr(END, bytes).ok_or(Damaged::TooShort)?;
    let plain = take(bytes, end)?;
    *bytes = &bytes[1..];
    match memchr::memchr(ESCAPE, plain) {
        None => Ok(plain),
        Some(_) => {
            let length = u32::from_be_bytes(take_array(bytes)?);
            take(bytes, length as usize)
        }
    }
}

/// Appends an integer.
#[inline]
pub fn write_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(value ^ i64::MIN).to_be_bytes());
}

/// Takes an integer.
///
/// # Errors
/// If the bytes are too few.
#[inline]
pub fn read_i64(bytes: &mut &[u8]) -> Result<i64, Damaged> {
    Ok(i64::from_be_bytes(take_array(bytes)?) ^ i64::MIN)
}

/// Appends a wide integer.
#[inline]
pub fn write_i128(value: i128, out: &mut Vec<u8>) {
    out.extend_from_slice(&(value ^ i128::MIN).to_be_bytes());
}

/// Takes a wide integer.
///
/// # Errors
/// If the bytes are too few.
#[inline]
pub fn read_i128(bytes: &mut &[u8]) -> Result<i128, Damaged> {
    Ok(i128::from_be_bytes(take_array(bytes)?) ^ i128::MIN)
}

/// Appends a floating-point number: -∞ first, +∞, and after it NaN, of which there is one. Minus zero is zero.
#[inline]
pub fn write_f64(value: f64, out: &mut Vec<u8>) {
    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
    let bits = value.to_bits();
    let turned = if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits };
    out.extend_from_slice(&turned.to_be_bytes());
}

/// Takes a floating-point number.
///
/// # Errors
/// If the bytes are too few.
#[inline]
pub fn read_f64(bytes: &mut &[u8]) -> Result<f64, Damaged> {
    let turned = u64::from_be_bytes(take_array(bytes)?);
    Ok(f64::from_bits(if turned >> 63 == 0 { !turned } else { turned ^ (1 << 63) }))
}

/// Takes the byte that says whether a value is there.
///
/// # Errors
/// If it is neither 0 nor 1.
#[inline]
pub fn read_flag(bytes: &mut &[u8]) -> Result<bool, Damaged> {
    match take_array(bytes)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [tag] => Err(Damaged::Tag(tag)),
    }
}
