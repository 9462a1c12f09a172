//! The codec of flat batches, by `abomonation`. The only module of this crate with `unsafe`.
//!
//! # Layout
//! Little-endian, from an address that is a multiple of 8:
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 4 | magic `CWFB` |
//! | 4 | 4 | version, 1 |
//! | 8 | 8 | XXH3-64 of all that follows, the pointers taken as zero |
//! | 16 | 16 | `counts`: a pointer (written as zero) and the number of rows `n` |
//! | 32 | 16 | `ends`: a pointer (zero) and `n` |
//! | 48 | 16 | `bytes`: a pointer (zero) and the number of bytes `b` |
//! | 64 | 8n | the counts, `i64` |
//! | 64 + 8n | 8n | the ends, `u64`, never falling, the last one `b` |
//! | 64 + 16n | b | the rows' bytes |
//! | … | 0..7 | zeros, up to a multiple of 8 |
//!
//! # Why the unsafe code is sound
//! `abomonation` is unmaintained and unsound for many types (RUSTSEC-2021-0120): it may copy padding, and it
//! may read a value at an address that does not suit its alignment. Neither can happen here. [`Head`] is
//! `repr(C)` and made of `u32`, `u64` and pairs of a pointer and a length, all of which are whole words in
//! descending need of alignment: it has no padding, and every bit pattern is a valid value of its fields. Its
//! arrays hold integers, for which the same holds. [`decode`] verifies in safe code, on the bytes, all that
//! the unsafe code relies on: that the buffer is aligned to 8 (else it decodes an aligned copy), that it is
//! long enough for the head, that magic, version and checksum match, that the three lengths fit the buffer
//! exactly, so that every array starts at a multiple of its alignment. Only then it lets `abomonation` fix the
//! three pointers, which it does within the same exclusive borrow that the result lives in. The pointers
//! written by a decode are ignored by the next one, so a buffer can be decoded again.
#![allow(unsafe_code)]

use std::io::{Result as IoResult, Write};

use abomonation::Abomonation;
use xxhash_rust::xxh3::Xxh3;

use super::{FlatBatch, start};

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!(
    "the flat batch format is read in place: it needs a little-endian machine with 64-bit pointers"
);

const MAGIC: u32 = u32::from_le_bytes(*b"CWFB");
const VERSION: u32 = 1;
const HEAD: usize = std::mem::size_of::<Head>();
const SUMMED: usize = 16;

/// An array that lies behind the head: written with a null pointer, pointed at its place by `exhume`.
#[repr(C)]
struct Array<T> {
    pointer: *const T,
    length: u64,
}

impl<T> Array<T> {
    fn hollow(length: usize) -> Self {
        Array { pointer: std::ptr::null(), length: length as u64 }
    }
}

impl<T> Abomonation for Array<T> {
    unsafe fn exhume<'b>(&mut self, bytes: &'b mut [u8]) -> Option<&'b mut [u8]> {
        let size = usize::try_from(self.length).ok()?.checked_mul(std::mem::size_of::<T>())?;
        if size > bytes.len() {
            return None;
        }
        let (array, rest) = bytes.split_at_mut(size);
        self.pointer = array.as_ptr().cast();
        Some(rest)
    }
}

#[repr(C)]
struct Head {
    magic: u32,
    version: u32,
    checksum: u64,
    counts: Array<i64>,
    ends: Array<u64>,
    bytes: Array<u8>,
}

impl Abomonation for Head {
    unsafe fn exhume<'b>(&mut self, bytes: &'b mut [u8]) -> Option<&'b mut [u8]> {
        // SAFETY: the caller upholds the same contract for the whole that `exhume` asks for each part.
        unsafe {
            let bytes = self.counts.exhume(bytes)?;
            let bytes = self.ends.exhume(bytes)?;
            self.bytes.exhume(bytes)
        }
    }
}

/// Why bytes are not a flat batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damaged {
    /// Fewer bytes than the head, or another number than the lengths in the head say.
    Length,
    /// The first bytes are not those of a flat batch.
    Magic,
    /// A version that this program does not read.
    Version(u32),
    /// The checksum does not match the content.
    Checksum,
    /// The ends of rows fall or do not meet the length of the bytes.
    Ends,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damaged::Length => write!(f, "a flat batch is cut short or too long"),
            Damaged::Magic => write!(f, "not a flat batch"),
            Damaged::Version(found) => {
                write!(f, "a flat batch of version {found}; this program reads {VERSION}")
            }
            Damaged::Checksum => write!(f, "the checksum of a flat batch does not match"),
            Damaged::Ends => write!(f, "the rows of a flat batch overlap"),
        }
    }
}

impl std::error::Error for Damaged {}

/// A decoded batch, read in place.
pub struct FlatRef<'a> {
    counts: &'a [i64],
    ends: &'a [u64],
    bytes: &'a [u8],
}

impl<'a> From<&'a FlatBatch> for FlatRef<'a> {
    fn from(batch: &'a FlatBatch) -> Self {
        FlatRef { counts: &batch.counts, ends: &batch.ends, bytes: &batch.bytes }
    }
}

impl<'a> FlatRef<'a> {
    /// How many rows the batch holds.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// True iff the batch holds no rows.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The rows in order, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], i64)> {
        let (ends, bytes) = (self.ends, self.bytes);
        self.counts
            .iter()
            .enumerate()
            .map(move |(i, &count)| (&bytes[start(ends, i)..ends[i] as usize], count))
    }

    /// The encoding of row `index`.
    ///
    /// # Panics
    /// If the batch has no such row.
    pub fn row(&self, index: usize) -> &'a [u8] {
        &self.bytes[start(self.ends, index)..self.ends[index] as usize]
    }

    /// A copy that owns its memory.
    pub fn to_batch(&self) -> FlatBatch {
        FlatBatch { counts: self.counts.to_vec(), ends: self.ends.to_vec(), bytes: self.bytes.to_vec() }
    }
}

/// The number of bytes that [`encode`] writes: a multiple of 8.
pub fn encoded_length(batch: &FlatBatch) -> usize {
    (HEAD + 16 * batch.len() + batch.bytes.len()).next_multiple_of(8)
}

/// Writes the batch.
///
/// # Errors
/// Those of `writer`.
pub fn encode<W: Write>(batch: &FlatBatch, writer: &mut W) -> IoResult<()> {
    let (counts, ends): (&[u8], &[u8]) =
        (bytemuck::cast_slice(&batch.counts), bytemuck::cast_slice(&batch.ends));
    let padding = &[0; 8][..encoded_length(batch) - HEAD - counts.len() - ends.len() - batch.bytes.len()];
    let mut head = Head {
        magic: MAGIC,
        version: VERSION,
        checksum: 0,
        counts: Array::hollow(batch.counts.len()),
        ends: Array::hollow(batch.ends.len()),
        bytes: Array::hollow(batch.bytes.len()),
    };
    let mut sum = Xxh3::new();
    for length in [head.counts.length, head.ends.length, head.bytes.length] {
        sum.update(&[0; 8]);
        sum.update(&length.to_le_bytes());
    }
    for part in [counts, ends, &batch.bytes, padding] {
        sum.update(part);
    }
    head.checksum = sum.digest();
    // SAFETY: `Head` has no padding and no null array of it entombs anything (see the module's text).
    unsafe { abomonation::encode(&head, writer)? };
    for part in [counts, ends, &batch.bytes, padding] {
        writer.write_all(part)?;
    }
    Ok(())
}

/// Decodes a batch in place and shows it to `read`.
///
/// # Errors
/// If the bytes are not exactly one whole and undamaged batch. All is checked before a byte is interpreted.
pub fn decode<R>(bytes: &mut [u8], read: impl FnOnce(&FlatRef<'_>) -> R) -> Result<R, Damaged> {
    if !bytes.as_ptr().addr().is_multiple_of(8) {
        let mut aligned = vec![0u64; bytes.len().div_ceil(8)];
        let copy = &mut bytemuck::cast_slice_mut(&mut aligned)[..bytes.len()];
        copy.copy_from_slice(bytes);
        return decode(copy, read);
    }
    check(bytes)?;
    // SAFETY: aligned, and `check` has verified what the module's text lists.
    let (head, _) = unsafe { abomonation::decode::<Head>(bytes) }.ok_or(Damaged::Length)?;
    // SAFETY: `decode` pointed each array at `length` elements inside `bytes`, aligned as `check` verified,
    // and `bytes` stays exclusively borrowed for as long as the slices live. An array without elements may
    // point at the end of `bytes`, which is aligned to 8 like its start.
    let batch = unsafe {
        FlatRef {
            counts: std::slice::from_raw_parts(head.counts.pointer, head.counts.length as usize),
            ends: std::slice::from_raw_parts(head.ends.pointer, head.ends.length as usize),
            bytes: std::slice::from_raw_parts(head.bytes.pointer, head.bytes.length as usize),
        }
    };
    let mut last = 0;
    for &end in batch.ends {
        if end < last {
            return Err(Damaged::Ends);
        }
        last = end;
    }
    if last != batch.bytes.len() as u64 {
        return Err(Damaged::Ends);
    }
    Ok(read(&batch))
}

/// Verifies all that can be verified on the bytes alone.
fn check(bytes: &[u8]) -> Result<(), Damaged> {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if bytes.len() < HEAD {
        return Err(Damaged::Length);
    }
    if word(0) as u32 != MAGIC {
        return Err(Damaged::Magic);
    }
    let version = (word(0) >> 32) as u32;
    if version != VERSION {
        return Err(Damaged::Version(version));
    }
    let (rows, ends, data) = (word(24), word(40), word(56));
    let length = rows
        .checked_mul(16)
        .and_then(|arrays| arrays.checked_add(data))
        .and_then(|content| content.checked_add(HEAD as u64))
        .and_then(|length| length.checked_next_multiple_of(8));
    if rows != ends || length != Some(bytes.len() as u64) {
        return Err(Damaged::Length);
    }
    let mut sum = Xxh3::new();
    for length in [rows, ends, data] {
        sum.update(&[0; 8]);
        sum.update(&length.to_le_bytes());
    }
    sum.update(&bytes[HEAD..]);
    if sum.digest() != word(SUMMED - 8) {
        return Err(Damaged::Checksum);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (FlatBatch, Vec<u8>) {
        let mut batch = FlatBatch::default();
        for (row, count) in [("the", 12), ("", -1), ("\u{1f980}", i64::MAX), ("ab", 0)] {
            batch.push(row.as_bytes(), count);
        }
        let mut bytes = Vec::new();
        encode(&batch, &mut bytes).unwrap();
        (batch, bytes)
    }

    #[test]
    fn a_batch_survives_at_every_alignment_and_twice() {
        let (batch, bytes) = sample();
        assert_eq!(bytes.len(), encoded_length(&batch));
        for shift in 0..8 {
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&bytes);
            for _ in 0..2 {
                assert_eq!(decode(&mut shifted[shift..], |b| b.to_batch()), Ok(batch.clone()));
            }
        }
        let empty = FlatBatch::default();
        let mut bytes = Vec::new();
        encode(&empty, &mut bytes).unwrap();
        assert_eq!(decode(&mut bytes, |b| b.to_batch()), Ok(empty));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_an_error_or_harmless() {
        let (batch, bytes) = sample();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // The pointers' places carry nothing: they are overwritten, not read.
            let pointer = [16..24, 32..40, 48..56].iter().any(|p| p.contains(&(bit / 8)));
            match decode(&mut damaged, |b| b.to_batch()) {
                Ok(decoded) => assert!(pointer && decoded == batch, "bit {bit} was not noticed"),
                Err(_) => assert!(!pointer, "bit {bit} carries nothing"),
            }
        }
        for length in 0..bytes.len() {
            assert!(decode(&mut bytes[..length].to_vec(), |_| ()).is_err());
        }
        let mut long = bytes.clone();
        long.extend_from_slice(&[0; 8]);
        assert_eq!(decode(&mut long, |_| ()), Err(Damaged::Length));
    }
}
