//! Lines to standard output or a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;

use super::{Emit, Sink, lines};

/// Writes lines. An epoch's lines are handed to the system when the epoch is committed.
pub struct Lines {
    writer: Box<dyn Write + Send>,
    name: String,
    emit: Emit,
    buffer: Vec<u8>,
}

/// Lines that are kept before they are written, in bytes.
const BUFFER: usize = 1 << 20;

impl Lines {
    /// Lines to standard output.
    pub fn stdout(emit: Emit) -> Self {
        Lines { writer: Box::new(io::stdout()), name: "standard output".into(), emit, buffer: Vec::new() }
    }

    /// Lines to a file that is made anew.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn create(path: &Path, emit: Emit) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::create(path).with_context(|| format!("making the file {name}"))?;
        Ok(Lines { writer: Box::new(file), name, emit, buffer: Vec::new() })
    }

    fn flush(&mut self) -> Result<()> {
        self.writer
            .write_all(&self.buffer)
            .and_then(|()| self.writer.flush())
            .with_context(|| format!("writing to {}", self.name))?;
        self.buffer.clear();
        Ok(())
    }
}

impl Sink for Lines {
    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        for changes in changes.chunk_by(|a, b| a.key == b.key) {
            lines::append(self.emit, epoch, output, changes, &mut self.buffer);
            if self.buffer.len() > BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, _epoch: Epoch, _reports: &[Report]) -> Result<()> {
        self.flush()
    }
}
