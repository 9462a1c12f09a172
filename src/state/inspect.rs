//! What is in a state, for people: reads all there is and changes nothing. A run may use the state meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use cutwater_dataflows::persist::SortedRun;

use super::checkpoint::load::{self, verify_all};
use super::checkpoint::manifest::{self, Manifest};
use super::checkpoint::run;
use super::identity::{self, Identity};
use super::ledger::{self, Verified};
use super::storage::Storage;

/// What is in a state.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Whose it is.
    pub identity: Option<Identity>,
    /// What its ledger holds.
    pub ledger: Verified,
    /// Its checkpoints, the newest last.
    pub checkpoints: Vec<Manifest>,
    /// The files of each folder, and their bytes; those beside the folders under the empty name.
    pub files: BTreeMap<String, Files>,
    /// Run files that no checkpoint names: written since the last one, by a run that goes on or has ended.
    pub unnamed: Files,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// How many files there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Their number.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Files {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl Inspection {
    /// Looks at all there is; but into run files only to `verify` them.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn of(storage: &Arc<dyn Storage>, verify: bool) -> Result<Inspection> {
        let mut inspection = Inspection::default();
        let mut problems = Vec::new();
        inspection.identity = Identity::load(&**storage).unwrap_or_else(|error| {
            problems.push(format!("{error:#}"));
            None
        });
        let job = inspection.identity.as_ref().map(|identity| identity.job.clone());
        inspection.ledger =
            ledger::verify(&**storage, job.as_deref(), &mut |problem| problems.push(problem.to_string()))?;
        // Before the manifests: what is written meanwhile counts as neither named nor not.
        let runs = storage.list(run::FOLDER)?;
        for (_, name) in load::manifests(&**storage)? {
            match load::read(&**storage, &name, job.as_deref()) {
                Ok(manifest) => inspection.checkpoints.push(manifest),
                Err(_) if is_gone(&**storage, &name)? => {}
                Err(error) => problems.push(format!("the checkpoint {name}: {error:#}")),
            }
        }
        let named: BTreeSet<String> = inspection.checkpoints.iter().flat_map(Manifest::files).collect();
        for (name, bytes) in &runs {
            inspection.files.entry(run::FOLDER.to_owned()).or_default().add(*bytes);
            if !named.contains(name) {
                inspection.unnamed.add(*bytes);
            }
        }
        for folder in ["", ledger::FOLDER, manifest::FOLDER] {
            let files = inspection.files.entry(folder.to_owned()).or_default();
            storage.list(folder)?.iter().for_each(|(_, bytes)| files.add(*bytes));
        }
        if verify {
            inspection.verify(storage, &mut problems)?;
        }
        inspection.problems = problems;
        Ok(inspection)
    }

    /// True iff there is nothing of a state.
    pub fn is_empty(&self) -> bool {
        let files = |folder: &str| self.files.get(folder).is_none_or(|files| files.count == 0);
        let nobody = self.identity.is_none() && !self.problems.iter().any(|p| p.contains(identity::FILE));
        nobody && [ledger::FOLDER, manifest::FOLDER, run::FOLDER].into_iter().all(files)
    }

    /// Verifies the run files that checkpoints name.
    fn verify(&self, storage: &Arc<dyn Storage>, problems: &mut Vec<String>) -> Result<()> {
        let runs = self.checkpoints.iter().flat_map(Manifest::runs);
        let runs: BTreeMap<&str, &SortedRun> = runs.map(|run| (run.file.as_str(), run)).collect();
        let damaged = std::sync::Mutex::new(Vec::new());
        verify_all(storage, runs.into_values(), |run, result| {
            if let Err(error) = result
                && let Ok(mut damaged) = damaged.lock()
            {
                damaged.push((run.file.clone(), format!("{error:#}")));
            }
            Ok(())
        })?;
        for (file, why) in damaged.into_inner().unwrap_or_default() {
            // Checkpoints that were replaced meanwhile have lost their files as they should.
            let named = self.checkpoints.iter().filter(|manifest| manifest.files().contains(&file));
            let mut needed = false;
            for manifest in named {
                needed |= !is_gone(&**storage, &Manifest::name(manifest.epoch))?;
            }
            if needed {
                problems.push(why);
            }
        }
        Ok(())
    }
}

fn is_gone(storage: &dyn Storage, name: &str) -> Result<bool> {
    Ok(storage.read(name, None)?.is_none())
}
