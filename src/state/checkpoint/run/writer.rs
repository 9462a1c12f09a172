//! Writing a run file.

use std::sync::Arc;

use anyhow::{Result, ensure};
use cutwater_dataflows::flat::{FlatBatch, encode, encoded_length};
use cutwater_dataflows::persist::{HashRange, Sharding, SortedRun};

use super::layout::{self, Block, HEADER};
use crate::crash;
use crate::state::storage::{Storage, Writing};

/// A run file that is being written: it is there once it is finished, and never where it has no rows.
pub struct Writer {
    storage: Arc<dyn Storage>,
    name: String,
    range: HashRange,
    sharding: Sharding,
    /// Bytes of rows after which a block ends.
    size: usize,
    /// None before the first block has ended.
    file: Option<Box<dyn Writing>>,
    block: FlatBatch,
    /// The hashes of the first and the last row of the block.
    hashes: (u64, u64),
    blocks: Vec<Block>,
    offset: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// A file of that name, of rows whose hashes lie in the range, in blocks of about `size` bytes.
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        name: String,
        range: HashRange,
        sharding: Sharding,
        size: usize,
    ) -> Self {
        Writer {
            storage,
            name,
            range,
            sharding,
            size,
            file: None,
            block: FlatBatch::default(),
            hashes: (0, 0),
            blocks: Vec::new(),
            offset: HEADER,
            buffer: Vec::new(),
        }
    }

    /// Appends a row. They come in the order of their hashes, and where hashes are equal, of their bytes; none twice,
    /// none with count 0.
    ///
    /// # Errors
    /// If the hash is smaller than the one before or not in the range, or the file can't be written.
    pub fn push(&mut self, hash: u64, row: &[u8], count: i64) -> Result<()> {
        ensure!(
            self.range.holds(hash),
            "a row of another worker: its hash {hash:#x} is not in {:?}",
            self.range
        );
        ensure!(hash >= self.hashes.1, "rows of a run are not in order");
        if self.block.is_empty() {
            self.hashes.0 = hash;
        }
        self.hashes.1 = hash;
        self.block.push(row, count);
        if self.block.size() >= self.size { self.end_block() } else { Ok(()) }
    }

    /// Appends all rows of a batch, in whatever order they are there. No row is there twice, and none with count 0.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub fn push_batch(&mut self, batch: &FlatBatch) -> Result<()> {
        let mut order: Vec<(u64, usize)> =
            (0..batch.len()).map(|i| (self.sharding.hash(batch.row(i)), i)).collect();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| batch.row(a.1).cmp(batch.row(b.1))));
        order.into_iter().try_for_each(|(hash, i)| self.push(hash, batch.row(i), batch.count(i)))
    }

    /// The file is complete; none is made where there are no rows.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn finish(mut self) -> Result<Option<SortedRun>> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let Some(mut file) = self.file.take() else { return Ok(None) };
        let end = layout::end(&self.blocks);
        file.write(&end)?;
        crash::point("run-begun");
        file.finish()?;
        crash::point("run-written");
        let rows = self.blocks.iter().map(|block| block.rows).sum();
        Ok(Some(SortedRun {
            file: self.name,
            range: self.range,
            sharding: self.sharding,
            rows,
            bytes: self.offset + end.len() as u64,
        }))
    }

    fn end_block(&mut self) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = none.insert(self.storage.write(&self.name)?);
                file.write(&layout::header())?;
                file
            }
        };
        self.buffer.clear();
        self.buffer.reserve(encoded_length(&self.block));
        encode(&self.block, &mut self.buffer)?;
        file.write(&self.buffer)?;
        let (length, rows) = (self.buffer.len() as u64, self.block.len() as u64);
        let (first, last) = self.hashes;
        self.blocks.push(Block { offset: self.offset, length, rows, first, last });
        self.offset += length;
        self.block.clear();
        Ok(())
    }
}
