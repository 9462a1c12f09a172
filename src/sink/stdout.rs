//! Lines to standard output.

use std::io::{self, Write};

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;

use super::{BUFFER, Emit, Sink, lines};
use crate::out;

/// Writes lines to standard output. An epoch's lines are handed to the system when the epoch is committed.
pub struct Stdout {
    emit: Emit,
    buffer: Vec<u8>,
}

impl Stdout {
    /// Lines of what `emit` asks for.
    pub fn new(emit: Emit) -> Self {
        Stdout { emit, buffer: Vec::new() }
    }

    fn flush(&mut self) -> Result<()> {
        let mut stdout = io::stdout();
        stdout.write_all(&self.buffer).and_then(|()| stdout.flush()).map_err(out::failed)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Sink for Stdout {
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
