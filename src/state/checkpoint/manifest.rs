//! Manifests: what a checkpoint consists of. One JSON file each, for people too; `docs/formats.md` describes it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::persist::Run;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::state::cut::Cut;

/// The folder of manifests.
pub const FOLDER: &str = "checkpoints";

const VERSION: u32 = 1;

/// What a checkpoint consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
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
    pub runs: Vec<Run>,
}

impl Rows {
    /// Rows that are the sum of these runs.
    pub fn new(runs: Vec<Run>) -> Self {
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
        Manifest { version: VERSION, job: job.to_owned(), epoch, time, cut, collections }
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
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.collections.values().flat_map(|rows| &rows.runs)
    }

    /// The files it names.
    pub fn files(&self) -> BTreeSet<String> {
        self.runs().map(|run| run.file.clone()).collect()
    }

    /// The bytes of its file.
    ///
    /// # Errors
    /// Never: all it holds can be written.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_string_pretty(self).context("writing a manifest")?;
        let open = text.strip_suffix("\n}").context("a manifest has members")?.len();
        text.truncate(open);
        let ending = ending(text.as_bytes());
        text.push_str(&ending);
        Ok(text.into_bytes())
    }

    /// Reads the file of that name.
    ///
    /// # Errors
    /// [`Unreadable`] if it is whole, but not for this program or this job. Else it is damaged.
    pub fn decode(name: &str, bytes: &[u8], job: Option<&str>) -> Result<Self> {
        let text = bytes.len().checked_sub(ENDING);
        let Some((text, end)) = text.map(|length| bytes.split_at(length)) else { bail!("it is cut short") };
        ensure!(end == ending(text).as_bytes(), "its checksum doesn't match");
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            bail!(Unreadable(format!("{name} has version {version}; this program reads {VERSION}")));
        }
        let manifest: Manifest = serde_json::from_slice(bytes)?;
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

/// Bytes of the last member and what follows it.
const ENDING: usize = ",\n  \"checksum\": \"0123456789abcdef\"\n}\n".len();

/// The end of a file that begins with `text`: its last member is the checksum of all that precedes it.
fn ending(text: &[u8]) -> String {
    format!(",\n  \"checksum\": \"{:016x}\"\n}}\n", xxh3_64(text))
}
