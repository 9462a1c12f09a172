//! Lines to a file: with state each line once, whatever the program or the machine died of.
//!
//! Lines carry their epoch, so the file itself says which epochs it holds. A job that goes on cuts off a torn last line
//! and reads back to where the last epoch begins (`tail`). All epochs before it are whole: each was synced before the
//! next one began. What is there of the last one is the beginning of what will be written for it again, so that is
//! compared instead of written.
//!
//! Rows alone, as `append` has them, don't tell their epoch: up to where they are whole stands in a file beside them
//! (`position`).
//!
//! The rows after the end are written beside what is there, and take its place once they are whole (`replace`). A named pipe
//! is opened once somebody reads it (`pipe`).

mod pipe;
mod position;
mod replace;
mod tail;

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;

use super::{BUFFER, Emit, Sink, lines};
use crate::crash;
use crate::fault::Fault;
use crate::state::resume::Resume;
use position::{Position, Positions};
use replace::Replacement;
use tail::Tail;

/// Writes lines to a file. An epoch's lines are handed to the system when the epoch is committed.
pub struct File {
    path: PathBuf,
    emit: Emit,
    /// `None` until a job that keeps state goes on.
    file: Option<fs::File>,
    /// What `file` is, where it is to take the place of the file that is there.
    replacement: Option<Replacement>,
    /// Up to where the file is whole, where its lines don't tell; with the job.
    positions: Option<(Positions, String)>,
    fault: Fault,
    /// Is an epoch synced when it is committed?
    sync: bool,
    /// True while something is not synced.
    dirty: bool,
    buffer: Vec<u8>,
    /// Has the open epoch lines?
    has_lines: bool,
    /// Where in the file the bytes are that are yet to be compared.
    there: Range<u64>,
}

impl File {
    /// Lines to a new file. With [`Emit::Final`] it takes the place of the one that is there when the run has ended well.
    /// A named pipe is waited for until somebody reads it, or `fault` is raised.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn create(path: &Path, emit: Emit, fault: &Fault) -> Result<Self> {
        let mut sink = File::keep(path, emit, fault);
        sink.begin()?;
        Ok(sink)
    }

    /// Lines to a file that a job with state goes on with; made where it is not there. Only [`Sink::resume`] touches
    /// it.
    pub fn keep(path: &Path, emit: Emit, fault: &Fault) -> Self {
        File {
            path: path.to_owned(),
            emit,
            file: None,
            replacement: None,
            positions: None,
            fault: fault.clone(),
            sync: false,
            dirty: false,
            buffer: Vec::new(),
            has_lines: false,
            there: 0..0,
        }
    }

    /// Opens it for all lines, from the first on.
    fn begin(&mut self) -> Result<()> {
        let path = &self.path;
        self.file = Some(if pipe::is_one(path) {
            pipe::open(path, &self.fault)?
        } else if self.emit == Emit::Final && (path.is_file() || !path.exists()) {
            let (replacement, file) = Replacement::create(path)?;
            self.replacement = Some(replacement);
            file
        } else {
            fs::File::create(path).with_context(|| format!("making the file {}", path.display()))?
        });
        Ok(())
    }

    /// Compares what is there already, and appends the rest.
    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut file = self.file.as_ref().context("the file is not open: the job has not gone on yet")?;
        let left = usize::try_from(self.there.end - self.there.start).unwrap_or(usize::MAX);
        let (known, new) = self.buffer.split_at(self.buffer.len().min(left));
        let mut found = vec![0; known.len()];
        file.read_exact_at(&mut found, self.there.start)
            .with_context(|| format!("reading {}", self.path.display()))?;
        let same = found.iter().zip(known).take_while(|(found, known)| found == known).count();
        self.there.start += same as u64;
        if same < known.len() {
            bail!(self.changed());
        }
        file.write_all(new).with_context(|| format!("writing to {}", self.path.display()))?;
        self.dirty |= !new.is_empty();
        self.buffer.clear();
        Ok(())
    }

    fn changed(&self) -> String {
        format!(
            "{} was changed by something else, or the machine has crashed: what follows byte {} is not what this job \
             writes there. To go on, cut the file off at a line's end before that byte, or move it away",
            self.path.display(),
            self.there.start
        )
    }

    /// Opens the file to resume it. Returns it, and its length where it has one: a pipe or device can't be asked what it
    /// was given. A file that was made has none of the job's rows; an empty one that was there may have had none to get.
    fn open(&self) -> Result<(fs::File, Option<Length>)> {
        let shown = self.path.display();
        if pipe::is_one(&self.path) {
            return Ok((pipe::open(&self.path, &self.fault)?, None));
        }
        let is_new = !self.path.exists();
        let file = fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&self.path)
            .with_context(|| format!("opening the file {shown}"))?;
        let metadata = file.metadata().with_context(|| format!("looking at {shown}"))?;
        if !metadata.is_file() {
            return Ok((file, None));
        }
        if is_new {
            sync_folder(&self.path)?;
        }
        Ok((file, Some(Length { bytes: metadata.len(), is_new })))
    }

    /// What the lines of the file say that it holds.
    fn tail(&self, file: &fs::File) -> Result<Held> {
        let shown = self.path.display();
        let tail = Tail::read(file).with_context(|| format!("reading what {shown} holds"))?;
        let whole = tail.epoch.saturating_sub(1);
        Ok(Held { epoch: tail.epoch, whole, unsure: tail.start..tail.end, torn: tail.torn > 0 })
    }

    /// What stands beside the file, of so many bytes, says that it holds.
    fn position(&mut self, job: &str, length: u64) -> Result<Held> {
        let shown = self.path.display();
        let (positions, last) = Positions::open(&self.path)?;
        sync_folder(&self.path)?;
        let last = last
            .filter(|_| length > 0)
            .unwrap_or_else(|| Position { job: job.to_owned(), ..Position::default() });
        ensure!(last.job == job, "{shown} is the file of another job, {}: give this one its own", last.job);
        ensure!(
            last.length <= length,
            "{shown} was changed by something else: it had {} bytes at the end of epoch {}, and has {length}. Move it away, \
             and it is started again",
            last.length,
            last.epoch
        );
        self.positions = Some((positions, job.to_owned()));
        Ok(Held { epoch: last.epoch, whole: last.epoch, unsure: last.length..length, torn: false })
    }
}

/// How long a file is.
struct Length {
    bytes: u64,
    /// It was not there before.
    is_new: bool,
}

/// What a file holds.
struct Held {
    /// The last epoch of which it is known to hold something; 0 where there is none.
    epoch: Epoch,
    /// It holds all of the epochs up to this one.
    whole: Epoch,
    /// Where the bytes are that may be of later epochs.
    unsure: Range<u64>,
    /// What comes after them is the beginning of a line, to be cut off.
    torn: bool,
}

/// Syncs the folder of a file. One whose name is not synced may be gone after a crash, lines and all.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("syncing the folder {}", folder.display()))
}

impl Sink for File {
    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        self.has_lines |= !changes.is_empty();
        for changes in changes.chunk_by(|a, b| a.key == b.key) {
            lines::append(self.emit, epoch, output, changes, &mut self.buffer);
            if self.buffer.len() > BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch, _reports: &[Report]) -> Result<()> {
        self.flush()?;
        // Where lines don't tell their epoch, what is left may be of the next one that has some.
        let may_be_left = self.positions.is_some() && !self.has_lines;
        if !self.there.is_empty() && !may_be_left {
            bail!(self.changed());
        }
        self.has_lines = false;
        crash::point("file-written");
        if self.sync && self.dirty {
            let file = self.file.as_ref().expect("it was written to");
            file.sync_data().with_context(|| format!("syncing {}", self.path.display()))?;
            if let Some((positions, job)) = self.positions.as_mut().filter(|_| epoch != END) {
                let length =
                    file.metadata().with_context(|| format!("looking at {}", self.path.display()))?.len();
                positions.write(&Position { job: job.clone(), epoch, length })?;
            }
            self.dirty = false;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.flush()?;
        match (self.replacement.take(), &self.file) {
            (Some(replacement), Some(file)) => replacement.finish(file),
            _ => Ok(()),
        }
    }

    fn resume(&mut self, from: &Resume) -> Result<Epoch> {
        if self.emit == Emit::Final {
            // The rows after the end, once: not those of an earlier end.
            self.begin()?;
            return Ok(from.published);
        }
        let (file, length) = self.open()?;
        let Some(Length { bytes, is_new }) = length else {
            self.file = Some(file);
            return Ok(from.published);
        };
        let held = match self.emit {
            Emit::Append => self.position(&from.job, bytes)?,
            _ => self.tail(&file)?,
        };
        let shown = self.path.display();
        ensure!(
            held.epoch <= from.last(),
            "{shown} holds epoch {}, but the job's ledger ends at epoch {}: is it the file of another job, or is the state \
             an old copy?",
            held.epoch,
            from.last()
        );
        if is_new && from.published > 0 {
            tracing::warn!("{shown} holds nothing yet: it gets what changes after epoch {}", from.published);
        }
        if held.torn {
            tracing::info!("{shown}: its last line was torn, and is cut off");
            file.set_len(held.unsure.end).with_context(|| format!("cutting off the torn line of {shown}"))?;
        }
        self.file = Some(file);
        self.sync = true;
        self.dirty = true;
        if held.whole >= from.published || self.positions.is_some() {
            self.there = held.unsure;
        }
        Ok(held.whole.max(from.published))
    }
}

#[cfg(test)]
mod tests;
