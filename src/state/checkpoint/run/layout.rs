//! Header, index and trailer of a run file, in bytes. All numbers are little-endian.

use anyhow::{Result, ensure};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: u64 = u64::from_le_bytes(*b"CWRUN\r\n\0");
const VERSION: u64 = 1;

/// Bytes of the header.
pub(super) const HEADER: u64 = 16;
/// Bytes of the trailer.
pub(super) const TRAILER: u64 = 56;
/// Words of a block's entry in the index.
const ENTRY: usize = 5;

/// What the index says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Its bytes.
    pub(super) length: u64,
    /// Its rows.
    pub(super) rows: u64,
    /// The hash of the first of them.
    pub(super) first: u64,
    /// The hash of the last one.
    pub(super) last: u64,
}

/// What the trailer says of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the index begins.
    pub(super) index: u64,
    /// How many blocks it lists.
    pub(super) blocks: u64,
    /// Rows of all blocks.
    pub(super) rows: u64,
    /// The checksum of the index.
    checksum: u64,
}

/// The first bytes of every run file.
pub(super) fn header() -> [u8; HEADER as usize] {
    let mut bytes = [0; HEADER as usize];
    bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[8..].copy_from_slice(&VERSION.to_le_bytes());
    bytes
}

/// The last bytes of a file with these blocks: index and trailer.
pub(super) fn end(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(blocks.len() * ENTRY * 8 + TRAILER as usize);
    for Block { offset, length, rows, first, last } in blocks {
        put(&mut bytes, &[*offset, *length, *rows, *first, *last]);
    }
    let checksum = xxh3_64(&bytes);
    let trailer = bytes.len();
    let index = blocks.last().map_or(HEADER, |block| block.offset + block.length);
    let rows = blocks.iter().map(|block| block.rows).sum();
    put(&mut bytes, &[index, blocks.len() as u64, rows, checksum, VERSION]);
    let checksum = xxh3_64(&bytes[trailer..]);
    put(&mut bytes, &[checksum, MAGIC]);
    bytes
}

impl Trailer {
    /// Reads the last [`TRAILER`] bytes of a file.
    ///
    /// # Errors
    /// If they are no whole trailer, or of another version.
    ///
    /// # Panics
    /// If they are not [`TRAILER`] bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let [index, blocks, rows, checksum, version, own, magic] = words(bytes)[..] else {
            panic!("a trailer has seven words");
        };
        ensure!(magic == MAGIC, "it doesn't end as a run file does");
        ensure!(own == xxh3_64(&bytes[..40]), "the checksum of its trailer doesn't match");
        ensure!(version == VERSION, "it has version {version}; this program reads {VERSION}");
        Ok(Trailer { index, blocks, rows, checksum })
    }

    /// How many bytes the index has, in a file of `length` bytes.
    ///
    /// # Errors
    /// If what the trailer says does not make such a file.
    pub(super) fn index_length(&self, length: u64) -> Result<u64> {
        let index = self.blocks.checked_mul(ENTRY as u64 * 8);
        let whole = index.and_then(|index| index.checked_add(self.index)?.checked_add(TRAILER));
        ensure!(whole == Some(length), "it is cut short or too long");
        Ok(index.unwrap_or_default())
    }

    /// Reads the index.
    ///
    /// # Errors
    /// If it is damaged, or its blocks don't make a file.
    pub(super) fn decode_index(&self, bytes: &[u8]) -> Result<Vec<Block>> {
        ensure!(self.checksum == xxh3_64(bytes), "the checksum of its index doesn't match");
        let blocks: Vec<Block> = words(bytes)
            .chunks_exact(ENTRY)
            .map(|e| Block { offset: e[0], length: e[1], rows: e[2], first: e[3], last: e[4] })
            .collect();
        let (mut offset, mut rows, mut last) = (HEADER, 0_u64, 0);
        for block in &blocks {
            let fits = block.offset == offset && block.first >= last && block.last >= block.first;
            ensure!(fits && block.rows > 0, "its index is in disorder");
            (offset, last) = (offset.saturating_add(block.length), block.last);
            rows = rows.saturating_add(block.rows);
        }
        ensure!(offset == self.index && rows == self.rows, "its index is in disorder");
        Ok(blocks)
    }
}

fn put(bytes: &mut Vec<u8>, words: &[u64]) {
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect()
}
