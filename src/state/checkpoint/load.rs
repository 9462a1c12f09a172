//! Finding the checkpoint to resume from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::persist::SortedRun;

use super::manifest::{self, Manifest, Unreadable};
use super::run;
use crate::state::storage::Storage;

/// The newest checkpoint that is whole, if there ever was one, and a warning for each newer one that is not. With
/// `verify`, every byte of its files is read and verified; else only its manifest.
///
/// # Errors
/// If there are checkpoints, but none that is whole; or one of another job, or of another version.
pub fn newest(
    storage: &Arc<dyn Storage>,
    job: &str,
    verify: bool,
) -> Result<(Option<Manifest>, Vec<String>)> {
    let mut warnings = Vec::new();
    for (_, name) in manifests(&**storage)?.into_iter().rev() {
        let read = read(&**storage, &name, Some(job));
        match read.and_then(|manifest| if verify { verified(storage, manifest) } else { Ok(manifest) }) {
            Ok(manifest) => return Ok((Some(manifest), warnings)),
            Err(error) if error.is::<Unreadable>() => return Err(error.context(storage.place())),
            Err(error) => warnings.push(format!("the checkpoint {name} is damaged: {error:#}")),
        }
    }
    if warnings.is_empty() {
        return Ok((None, warnings));
    }
    bail!(
        "no checkpoint in {} is whole: {}. Bring the files back as they were, or start again with another --state",
        storage.place(),
        warnings.join("; ")
    )
}

/// The manifests that are there, by epoch.
pub(crate) fn manifests(storage: &dyn Storage) -> Result<Vec<(Epoch, String)>> {
    let files = storage.list(manifest::FOLDER)?;
    let mut manifests: Vec<_> =
        files.into_iter().filter_map(|(name, _)| Some((Manifest::epoch(&name)?, name))).collect();
    manifests.sort();
    Ok(manifests)
}

/// Reads a manifest.
pub(crate) fn read(storage: &dyn Storage, name: &str, job: Option<&str>) -> Result<Manifest> {
    let bytes = storage.read(name, None)?.ok_or_else(|| anyhow!("it is missing"))?;
    Manifest::decode(name, &bytes, job)
}

fn verified(storage: &Arc<dyn Storage>, manifest: Manifest) -> Result<Manifest> {
    let files: BTreeMap<&str, &SortedRun> = manifest.runs().map(|run| (run.file.as_str(), run)).collect();
    verify_all(storage, files.into_values(), |_, result| result)?;
    Ok(manifest)
}

/// Verifies run files, several at a time. `each` is told of every one, and says how to go on.
///
/// # Errors
/// The first that `each` returns.
pub(crate) fn verify_all<'a>(
    storage: &Arc<dyn Storage>,
    runs: impl Iterator<Item = &'a SortedRun> + Send,
    each: impl Fn(&SortedRun, Result<()>) -> Result<()> + Sync,
) -> Result<()> {
    let runs = Mutex::new(runs);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let verify = || -> Result<()> {
        while let Some(run) = { runs.lock().ok().and_then(|mut runs| runs.next()) } {
            each(run, run::verify(storage, run))?;
        }
        Ok(())
    };
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(verify)).collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    for result in all {
        result.map_err(|_| anyhow!("verifying run files panicked"))??;
    }
    Ok(())
}

/// RunFiles that are verified at the same time.
const MOST_THREADS: usize = 8;
