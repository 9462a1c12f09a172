//! Run files: rows in the order of their hashes, in blocks, with an index at the end.
//!
//! `docs/formats.md` describes them byte by byte. Nothing is interpreted before its checksum has been verified: the
//! trailer has one, the index has one, and each block is a flat batch with one of its own.

mod layout;
mod reader;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cutwater_dataflows::persist::{HashRange, Sharding};

use crate::state::storage::Storage;
pub use reader::{Reader, verify};
pub use writer::Writer;

/// The folder of run files.
pub const FOLDER: &str = "runs";

/// All hashes.
pub(super) const ALL: HashRange = HashRange { first: 0, last: u64::MAX };

/// Where the run files of a process are written, under names that no other process and no other start of it uses.
pub struct RunFiles {
    storage: Arc<dyn Storage>,
    start: String,
    next: AtomicU64,
    sizes: Sizes,
}

/// Bytes of rows that are kept together.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// In a block of a file: what is read at least.
    pub block: usize,
    /// In memory, for each collection and worker: changes are written when they have more, though no checkpoint is due.
    pub changes: usize,
    /// In memory, for all: changes that are handed over and not yet taken. Only a store that stands still for long fills
    /// that; then workers wait.
    pub waiting: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { block: 256 << 10, changes: 32 << 20, waiting: 256 << 20 }
    }
}

impl RunFiles {
    /// RunFiles whose names begin with `start`, which is unique to this start of this process.
    pub fn new(storage: Arc<dyn Storage>, start: &str, sizes: Sizes) -> Self {
        RunFiles { storage, start: start.to_owned(), next: AtomicU64::new(1), sizes }
    }

    /// Where they are.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The sizes.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Begins a new file, of rows whose hashes lie in the range.
    pub fn write(&self, range: HashRange, sharding: &Sharding) -> Writer {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{FOLDER}/{}-{number:06}", self.start);
        Writer::new(Arc::clone(&self.storage), name, range, sharding.clone(), self.sizes.block)
    }
}
