//! Rows of word-count's output, as a reader of it sees them.

use std::borrow::Cow;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// A row of the output `counts`.
#[derive(Deserialize)]
pub(super) struct Row<'a> {
    /// The word.
    #[serde(borrow)]
    pub(super) word: Cow<'a, str>,
    /// How often it was counted.
    pub(super) count: u64,
}

impl<'a> Row<'a> {
    /// Reads a row.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn read(json: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .with_context(|| format!("{:?} is no row of counts", String::from_utf8_lossy(json)))
    }
}
