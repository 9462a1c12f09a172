//! How far a file of rows alone is written. Such rows don't tell their epoch, so it stands beside them: in a hidden file
//! `.NAME.cutwater-epoch`, after each epoch that has rows.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use cutwater_dataflows::Epoch;
use serde::{Deserialize, Serialize};

use crate::state::sealed::{seal, unseal};

/// Bytes of a place for a position.
const PLACE: usize = 512;

/// Up to where a file is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The job whose file it is.
    pub(super) job: String,
    /// It has all rows up to this epoch ...
    pub(super) epoch: Epoch,
    /// ... and so many bytes then.
    pub(super) length: u64,
}

/// The positions of a file. There are two places, written by turns: one that is torn leaves the other.
pub(super) struct Positions {
    path: PathBuf,
    file: File,
    turn: usize,
}

impl Positions {
    /// Those of the file at `path`, and the last one that is whole.
    ///
    /// # Errors
    /// If they can't be read, or made.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Position>)> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = path.with_file_name(format!(".{name}.cutwater-epoch"));
        let opening = || format!("opening {}, which tells how far {name} is written", path.display());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(opening)?;
        let read = |turn: usize| -> Option<Position> {
            let mut bytes = [0; PLACE];
            // What is not there, or not whole, is no position.
            file.read_exact_at(&mut bytes, (turn * PLACE) as u64).ok()?;
            unseal(bytes.split(|&byte| byte == b'\n').next()?).ok()
        };
        let last =
            (0..2).filter_map(|turn| Some((read(turn)?, turn))).max_by_key(|(position, _)| position.epoch);
        let (last, turn) = last.map_or((None, 1), |(position, turn)| (Some(position), turn));
        Ok((Positions { path, file, turn: 1 - turn }, last))
    }

    /// Has a position survive a crash.
    ///
    /// # Errors
    /// If it can't be written.
    pub(super) fn write(&mut self, position: &Position) -> Result<()> {
        let mut bytes = seal(position);
        ensure!(bytes.len() <= PLACE, "the job's name is too long");
        bytes.resize(PLACE, 0);
        let written = self.file.write_all_at(&bytes, (self.turn * PLACE) as u64);
        written
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("writing to {}", self.path.display()))?;
        self.turn = 1 - self.turn;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_position_that_is_whole_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let position = |epoch| Position { job: "j".into(), epoch, length: epoch * 10 };
        let open = || Positions::open(&path).unwrap();
        assert_eq!(open().1, None);
        for epoch in 1..6 {
            let (mut positions, before) = open();
            assert_eq!(before, (epoch > 1).then(|| position(epoch - 1)));
            positions.write(&position(epoch)).unwrap();
        }
        // The last one is torn, at any byte.
        let beside = folder.path().join(".f.cutwater-epoch");
        let whole = std::fs::read(&beside).unwrap();
        assert_eq!(whole.len(), 2 * PLACE);
        for byte in 0..seal(&position(5)).len() - 1 {
            let mut torn = whole.clone();
            torn[byte..PLACE].fill(0);
            std::fs::write(&beside, &torn).unwrap();
            assert_eq!(open().1, Some(position(4)), "torn at byte {byte}");
        }
    }
}
