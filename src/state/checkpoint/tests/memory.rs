//! A store in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Result, bail, ensure};

use crate::state::storage::{Storage, Writing};

/// A store in memory. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Stored>>);

#[derive(Default)]
pub(super) struct Stored {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Bytes that were ever written.
    pub(super) written: usize,
    /// Bytes that were ever read.
    pub(super) read: usize,
    /// From now on, nothing can be written.
    pub(super) full: bool,
}

impl Memory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap()
    }

    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        self.list(folder).unwrap().into_iter().map(|(name, _)| name).collect()
    }
}

impl Storage for Memory {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut stored = self.lock();
        ensure!(!stored.full, "{name}: no space left");
        stored.written += bytes.len();
        stored.files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        if self.lock().files.contains_key(name) {
            return Ok(false);
        }
        self.put(name, bytes).map(|()| true)
    }

    fn write(&self, name: &str) -> Result<Box<dyn Writing>> {
        Ok(Box::new(Part { memory: self.clone(), name: name.to_owned(), bytes: Vec::new() }))
    }

    fn appends(&self) -> bool {
        false
    }

    fn append(&self, name: &str, _length: u64, _bytes: &[u8]) -> Result<()> {
        bail!("{name}: not here")
    }

    fn read(&self, name: &str, range: Option<Range<u64>>) -> Result<Option<Vec<u8>>> {
        let mut stored = self.lock();
        let Some(bytes) = stored.files.get(name) else { return Ok(None) };
        let range = range.map_or(0..bytes.len(), |range| range.start as usize..range.end as usize);
        let Some(bytes) = bytes.get(range) else { bail!("{name} is too short") };
        let bytes = bytes.to_vec();
        stored.read += bytes.len();
        Ok(Some(bytes))
    }

    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let folder = format!("{folder}/");
        let stored = self.lock();
        let files = stored.files.iter().filter(|(name, _)| name.starts_with(&folder));
        Ok(files.map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.lock().files.remove(name);
        Ok(())
    }
}

struct Part {
    memory: Memory,
    name: String,
    bytes: Vec<u8>,
}

impl Writing for Part {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.memory.put(&self.name, &self.bytes)
    }
}
