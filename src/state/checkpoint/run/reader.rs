//! Reading a run file.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use cutwater_dataflows::flat::{FlatBatch, FlatRef, decode};
use cutwater_dataflows::persist::{HashRange, Sharding, SortedRun};

use super::ALL;
use super::layout::{self, Block, HEADER, TRAILER, Trailer};
use crate::state::storage::Storage;

/// Bytes that are read at once, or a block where that is more.
const STRETCH: u64 = 1 << 20;

/// Bytes of the end that are read first: they hold the index of all but the largest files.
const END: u64 = 32 << 10;

/// Reads the rows of a run, block by block: only blocks that overlap its range.
pub struct Reader {
    storage: Arc<dyn Storage>,
    file: String,
    range: HashRange,
    sharding: Sharding,
    /// The blocks that overlap the range.
    blocks: Vec<Block>,
    /// The index of the next of them.
    next: usize,
    /// Bytes of the file, and where they begin in it.
    stretch: (u64, Vec<u8>),
    whole: bool,
}

impl Reader {
    /// Opens the run's file.
    ///
    /// # Errors
    /// If it is not there or can't be read, its end is damaged, or it is not the file that was written for this run.
    pub fn open(storage: &Arc<dyn Storage>, run: &SortedRun) -> Result<Self> {
        Reader::open_file(storage, run).with_context(|| format!("the run file {}", run.file))
    }

    fn open_file(storage: &Arc<dyn Storage>, run: &SortedRun) -> Result<Self> {
        let length = run.bytes;
        ensure!(length >= HEADER + TRAILER, "it has {length} bytes, less than a run file");
        let start = length.saturating_sub(END);
        let end = fetch(&**storage, &run.file, start, length)?;
        let trailer = Trailer::decode(&end[end.len() - TRAILER as usize..])?;
        let index = trailer.index..trailer.index + trailer.index_length(length)?;
        let all = match index.start.checked_sub(start) {
            Some(at) => trailer.decode_index(&end[at as usize..][..(index.end - index.start) as usize])?,
            None => trailer.decode_index(&fetch(&**storage, &run.file, index.start, index.end)?)?,
        };
        ensure!(trailer.rows == run.rows, "it has {} rows instead of {}", trailer.rows, run.rows);
        let range = run.range;
        let whole = all.iter().all(|block| range.holds(block.first) && range.holds(block.last));
        let overlap =
            |block: &Block| range.both(HashRange { first: block.first, last: block.last }).is_some();
        let blocks = all.into_iter().filter(overlap).collect();
        let (storage, file) = (Arc::clone(storage), run.file.clone());
        Ok(Reader {
            storage,
            file,
            range,
            sharding: run.sharding.clone(),
            blocks,
            next: 0,
            stretch: (0, Vec::new()),
            whole,
        })
    }

    /// By what the rows are hashed.
    pub fn sharding(&self) -> &Sharding {
        &self.sharding
    }

    /// True iff all rows of the file are in the range.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Bytes of the blocks that overlap the range.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.length).sum()
    }

    /// Shows the next block's rows that are in the range to `read`; `None` after the last block.
    ///
    /// # Errors
    /// If the block can't be read, or is damaged.
    pub fn next<R>(&mut self, read: impl FnOnce(&FlatRef<'_>) -> R) -> Result<Option<R>> {
        let Some(&block) = self.blocks.get(self.next) else { return Ok(None) };
        let read = self.next_block(block, read);
        self.next += 1;
        read.map(Some).with_context(|| format!("the run file {}, bytes {}..", self.file, block.offset))
    }

    fn next_block<R>(&mut self, block: Block, read: impl FnOnce(&FlatRef<'_>) -> R) -> Result<R> {
        let end = block.offset + block.length;
        let (start, bytes) = &self.stretch;
        if block.offset < *start || end > start + bytes.len() as u64 {
            let bytes = fetch(&*self.storage, &self.file, block.offset, self.stretch_end(block))?;
            self.stretch = (block.offset, bytes);
        }
        let (start, bytes) = &mut self.stretch;
        let at = (block.offset - *start) as usize;
        let (range, sharding) = (self.range, &self.sharding);
        decode(&mut bytes[at..at + block.length as usize], |rows| {
            let (count, hash) = (rows.len() as u64, |index: usize| sharding.hash(rows.row(index)));
            let indexed = count == block.rows && hash(0) == block.first && hash(rows.len() - 1) == block.last;
            ensure!(indexed, "a block is not the one that the index tells of");
            if range.holds(block.first) && range.holds(block.last) {
                return Ok(read(rows));
            }
            let mut within = FlatBatch::default();
            for (row, count) in rows.iter().filter(|(row, _)| range.holds(sharding.hash(row))) {
                within.push(row, count);
            }
            Ok(read(&FlatRef::from(&within)))
        })?
    }

    /// Up to where to read when `block` is the next one: blocks that follow one another.
    fn stretch_end(&self, block: Block) -> u64 {
        let most = block.offset + STRETCH.max(block.length);
        let ends = self.blocks[self.next..].iter().map(|block| block.offset + block.length);
        ends.take_while(|&end| end <= most).last().unwrap_or(most)
    }
}

/// Verifies every byte of a run's file.
///
/// # Errors
/// If it is not there, can't be read, or is damaged.
pub fn verify(storage: &Arc<dyn Storage>, run: &SortedRun) -> Result<()> {
    let mut reader = Reader::open(storage, &SortedRun { range: ALL, ..run.clone() })?;
    let mut last: Option<(u64, Vec<u8>)> = None;
    let mut order = true;
    let mut zeros = 0;
    while let Some(()) = reader.next(|rows| {
        for (row, count) in rows.iter() {
            let hash = run.sharding.hash(row);
            order &= last.as_ref().is_none_or(|(h, r)| (*h, &r[..]) < (hash, row));
            zeros += usize::from(count == 0);
            let (last, bytes) = last.get_or_insert_default();
            *last = hash;
            bytes.clear();
            bytes.extend_from_slice(row);
        }
    })? {}
    let header = fetch(&**storage, &run.file, 0, HEADER)?;
    let file = &run.file;
    ensure!(header == layout::header(), "the run file {file}: it doesn't begin as a run file does");
    ensure!(order && zeros == 0, "the run file {file}: its rows are not in order");
    Ok(())
}

/// The bytes of a part of a file.
fn fetch(storage: &dyn Storage, file: &str, start: u64, end: u64) -> Result<Vec<u8>> {
    let bytes = storage.read(file, Some(start..end))?.ok_or_else(|| anyhow!("it is missing"))?;
    ensure!(bytes.len() as u64 == end - start, "it is shorter than when it was written");
    Ok(bytes)
}
