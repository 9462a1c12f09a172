//! A file that takes the place of another once it is whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::sync_folder;

/// A file beside the one whose place it is to take. Dropped before [`Replacement::finish`], it is removed; where the program
/// is killed before, it stays, and the next run starts it again.
pub(super) struct Replacement {
    target: PathBuf,
    beside: PathBuf,
    whole: bool,
}

impl Replacement {
    /// An empty file beside `path`, which need not be there.
    ///
    /// # Errors
    /// If it can't be made.
    pub(super) fn create(path: &Path) -> Result<(Self, File)> {
        // A link stays one: what it names is replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = target.with_file_name(format!(".{name}.cutwater-new"));
        let making = || {
            format!("making the file {}, which is to take the place of {}", beside.display(), path.display())
        };
        let file = File::create(&beside).with_context(making)?;
        if let Ok(there) = target.metadata() {
            file.set_permissions(there.permissions()).with_context(making)?;
        }
        Ok((Replacement { target, beside, whole: false }, file))
    }

    /// It is whole: has it survive a crash, and take the other's place.
    ///
    /// # Errors
    /// If it can't be: then the other one is still there.
    pub(super) fn finish(mut self, file: &File) -> Result<()> {
        let shown = self.beside.display().to_string();
        file.sync_all().with_context(|| format!("syncing {shown}"))?;
        fs::rename(&self.beside, &self.target)
            .with_context(|| format!("renaming {shown} to {}", self.target.display()))?;
        self.whole = true;
        sync_folder(&self.target)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.whole {
            // Where it can't be removed, the next run overwrites it.
            let _ = fs::remove_file(&self.beside);
        }
    }
}
