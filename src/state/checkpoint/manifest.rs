//! Manifests: what a checkpoint consists of. A file each, of one sealed line; `docs/formats.md` describes it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::persist::SortedRun;
use serde::{Deserialize, Serialize};

use crate::state::cut::Cut;
use crate::state::sealed::{seal, unseal};

/// The folder of manifests.
pub const FOLDER: &str = "checkpoints";

const FORMAT: u32 = 1;

/// What a checkpoint consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The job's identifier.
    pub job: String,
    /// All epochs up to this one are in it.
    pub epoch: Epoch,
    /// When it was complete: microseconds since the Unix epoch. For people; nothing depends on it.
    pub time: u64,
    /// The cut of the epoch.
    pub cut: Cut,
    /// The rows of each persisted collection.
    pub collections: BTreeMap<String, Rows>,
}

/// The rows of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Rows in the files of the runs; one that is in several is counted for each.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// The runs of all workers: their sum is the collection.
    pub runs: Vec<SortedRun>,
}

impl Rows {
    /// Rows that are the sum of these runs.
    pub fn new(runs: Vec<SortedRun>) -> Self {
        // Several runs may be parts of one file.
        let files: BTreeMap<&str, (u64, u64)> =
            runs.iter().map(|run| (run.file.as_str(), (run.rows, run.bytes))).collect();
        let (rows, bytes) = files.values().fold((0, 0), |(a, b), (rows, bytes)| (a + rows, b + bytes));
        Rows { rows, bytes, runs }
    }
}

impl Manifest {
    /// A manifest.
    pub fn new(job: &str, epoch: Epoch, cut: Cut, time: u64, collections: BTreeMap<String, Rows>) -> Self {
        Manifest { format: FORMAT, job: job.to_owned(), epoch, time, cut, collections }
    }

    /// The name of the file for the checkpoint of an epoch.
    pub fn name(epoch: Epoch) -> String {
        format!("{FOLDER}/{epoch:020}.json")
    }

    /// The epoch of the manifest of that name; `None` if it is not the name of one.
    pub fn epoch(name: &str) -> Option<Epoch> {
        let digits = name.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".json")?;
        (digits.len() == 20).then(|| digits.parse().ok()).flatten()
    }

    /// The runs of all collections.
    pub fn runs(&self) -> impl Iterator<Item = &SortedRun> {
        self.collections.values().flat_map(|rows| &rows.runs)
    }

    /// The files it names.
    pub fn files(&self) -> BTreeSet<String> {
        self.runs().map(|run| run.file.clone()).collect()
    }

    /// The bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        seal(self)
    }

    /// Reads the file of that name.
    ///
    /// # Errors
    /// [`Unreadable`] if it is whole, but not for this program or this job. Else it is damaged.
    pub fn decode(name: &str, bytes: &[u8], job: Option<&str>) -> Result<Self> {
        let line = bytes.strip_suffix(b"\n").context("its end is missing")?;
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = unseal(line).map_err(anyhow::Error::msg)?;
        if format != FORMAT {
            bail!(Unreadable(format!("{name} has format {format}, this program reads format {FORMAT}")));
        }
        let manifest: Manifest = unseal(line).map_err(anyhow::Error::msg)?;
        if let Some(job) = job.filter(|job| *job != manifest.job) {
            let found = &manifest.job;
            bail!(Unreadable(format!(
                "{name} is a checkpoint of the job {found}, but this is the job {job}"
            )));
        }
        ensure!(
            Manifest::epoch(name) == Some(manifest.epoch),
            "it is the checkpoint of epoch {}",
            manifest.epoch
        );
        Ok(manifest)
    }
}

/// A manifest that is whole, and that nobody should take for damaged: not for this program, or not for this job.
#[derive(Debug)]
pub struct Unreadable(String);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unreadable {}
