//! A sink: a file an epoch, in a folder. `-o epochs:DIR`.
//!
//! A file has the name of its output and epoch and is there whole or not at all. An epoch that is written twice, before and
//! after a crash, replaces its file by the same bytes: so each change is there once, although a restart may hand over
//! the last epochs once more.

use std::fs;
use std::path::PathBuf;

use cutwater::anyhow::{Context as _, Result, bail};
use cutwater::dataflows::Epoch;
use cutwater::sink::{Change, Emit, Report, Sink, SinkKind};

/// This kind of sinks, for [`cutwater::main!`].
pub fn kind() -> SinkKind {
    SinkKind::new("epochs", |opening| {
        if opening.emit != Emit::Changes {
            bail!("it writes changes: leave --emit out");
        }
        Ok(Box::new(EpochFiles::open(opening.place.into())?))
    })
}

/// Writes a file an epoch.
pub struct EpochFiles {
    folder: PathBuf,
    /// The file of the open epoch, by its name, and what it is to hold.
    open: Option<(String, Vec<u8>)>,
}

impl EpochFiles {
    /// Files in this folder, which is made where it is missing.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn open(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).context("making the folder")?;
        Ok(EpochFiles { folder, open: None })
    }
}

impl Sink for EpochFiles {
    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        // What precedes the first epoch has been written by the run before.
        if epoch == 0 {
            return Ok(());
        }
        let (_, lines) = self.open.get_or_insert_with(|| (format!("{output}-{epoch:020}"), Vec::new()));
        for change in changes {
            lines.extend_from_slice(format!("{:+} ", change.diff).as_bytes());
            lines.extend_from_slice(&change.row);
            lines.push(b'\n');
        }
        Ok(())
    }

    fn commit(&mut self, _: Epoch, _: &[Report]) -> Result<()> {
        let Some((name, lines)) = self.open.take() else { return Ok(()) };
        let (part, whole) = (self.folder.join(format!(".{name}")), self.folder.join(name));
        fs::write(&part, lines)
            .and_then(|()| fs::File::open(&part)?.sync_all())
            .and_then(|()| fs::rename(&part, &whole))
            .and_then(|()| fs::File::open(&self.folder)?.sync_all())
            .with_context(|| format!("sink epochs: writing {}", whole.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_a_file_which_a_second_writing_replaces() {
        let folder = std::env::temp_dir().join(format!("cutwater-epoch-files-{}", std::process::id()));
        let change = |row: &'static str, diff| Change { key: row.into(), row: row.into(), diff };
        for _ in 0..2 {
            let mut sink = EpochFiles::open(folder.clone()).unwrap();
            sink.write(3, "counts", &[change("a", -1), change("b", 2)]).unwrap();
            sink.write(3, "counts", &[change("c", 1)]).unwrap();
            sink.commit(3, &[]).unwrap();
            // An epoch in which nothing changed.
            sink.commit(4, &[]).unwrap();
        }
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(files[0].file_name().unwrap(), "counts-00000000000000000003");
        assert_eq!(fs::read_to_string(&files[0]).unwrap(), "-1 a\n+2 b\n+1 c\n");
        fs::remove_dir_all(&folder).unwrap();
    }
}
