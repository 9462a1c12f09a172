//! Sorted runs.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use cutwater::state::checkpoint::run::{RunFiles, Sizes, verify};
use cutwater::state::storage::fake::FakeDisk;
use cutwater::state::storage::files::Files;
use cutwater::state::storage::{Storage, Writing};
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::persist::{HashRange, Sharding, SortedRun};
use cutwater_dataflows::rows::{Text, encode};
use xxhash_rust::xxh3::xxh3_64;

use super::flat;

/// Bytes of header, trailer and the entry of a block: see `docs/formats.md`.
const HEADER: usize = 16;
const TRAILER: usize = 56;
const ENTRY: usize = 40;

fn shardings() -> [Sharding; 2] {
    [Sharding::by_row(), Sharding::by_key::<i64>()]
}

#[cfg(test)]
pub(super) fn good() -> Vec<Vec<u8>> {
    let storage: Arc<dyn Storage> = Arc::new(Files::new(Arc::new(FakeDisk::new(1))));
    let files = RunFiles::new(Arc::clone(&storage), "first", Sizes { block: 64, ..Sizes::default() });
    let mut all = Vec::new();
    for sharding in shardings() {
        let mut rows: Vec<Vec<u8>> = (0..20).map(|n| encode(&(n, Text::from("some text")))).collect();
        rows.sort_by_key(|row| (sharding.hash(row), row.clone()));
        let mut batch = FlatBatch::default();
        rows.iter().for_each(|row| batch.push(row, 1));
        let mut writer = files.write(HashRange::of(0, 1), &sharding);
        writer.push_batch(&batch).expect("there is room");
        let run = writer.finish().expect("there is room").expect("it has rows");
        all.push(storage.read(&run.file, None).expect("it is read").expect("it is there"));
    }
    all
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u64::from_le_bytes(*word)).ok()
}

fn put_sum(bytes: &mut [u8], at: usize, of: Range<usize>) {
    let sum = xxh3_64(&bytes[of]);
    bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
}

/// Puts the checksums of blocks, index and trailer right.
fn seal(bytes: &mut [u8]) -> Option<()> {
    let trailer = bytes.len().checked_sub(TRAILER)?;
    let (index, blocks) = (word(bytes, trailer)?, word(bytes, trailer + 8)?);
    if index.checked_add(blocks.checked_mul(ENTRY)?) == Some(trailer) {
        for block in 0..blocks {
            let (offset, length) =
                (word(bytes, index + block * ENTRY)?, word(bytes, index + block * ENTRY + 8)?);
            if let Some(block) = offset.checked_add(length).and_then(|end| bytes.get_mut(offset..end)) {
                flat::seal(block);
            }
        }
        put_sum(bytes, trailer + 24, index..trailer);
    }
    put_sum(bytes, trailer + 40, trailer..trailer + 40);
    Some(())
}

/// It is verified, as whole and as a part, or refused.
pub(crate) fn target(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for _ in 0..2 {
        let rows = bytes
            .len()
            .checked_sub(TRAILER)
            .and_then(|trailer| word(&bytes, trailer + 16))
            .unwrap_or_default();
        let name = "runs/first-000001".to_owned();
        let storage: Arc<dyn Storage> = Arc::new(OneFile { name: name.clone(), bytes: bytes.clone() });
        for sharding in shardings() {
            let (rows, bytes) = (rows as u64, bytes.len() as u64);
            let run = SortedRun { file: name.clone(), range: HashRange::of(0, 3), sharding, rows, bytes };
            // An error is what it may say.
            let _ = verify(&storage, &run);
        }
        if bytes.len() >= HEADER + TRAILER {
            let _ = seal(&mut bytes);
        }
    }
}

/// A store of one file, which is only read. What is written is forgotten.
pub(super) struct OneFile {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Storage for OneFile {
    fn place(&self) -> String {
        "memory".to_owned()
    }
    fn put(&self, _: &str, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn create(&self, _: &str, _: &[u8]) -> Result<bool> {
        Ok(true)
    }
    fn write(&self, name: &str) -> Result<Box<dyn Writing>> {
        anyhow::bail!("{name} is not to be written")
    }
    fn appends(&self) -> bool {
        true
    }
    fn append(&self, _: &str, _: u64, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn read(&self, name: &str, range: Option<Range<u64>>) -> Result<Option<Vec<u8>>> {
        if name != self.name {
            return Ok(None);
        }
        let length = self.bytes.len() as u64;
        let range = range.unwrap_or(0..length);
        anyhow::ensure!(range.start <= range.end && range.end <= length, "{name} is shorter than that");
        Ok(Some(self.bytes[range.start as usize..range.end as usize].to_vec()))
    }
    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let here = self.name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        Ok(here.then(|| (self.name.clone(), self.bytes.len() as u64)).into_iter().collect())
    }
    fn remove(&self, _: &str) -> Result<()> {
        Ok(())
    }
}
