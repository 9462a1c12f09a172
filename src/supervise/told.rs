//! What the processes of a supervisor tell it: that the run makes progress, and the error that ends one.
//!
//! All processes of a supervisor write lines to one pipe. A line is shorter than what a pipe takes at once, so lines of
//! several processes don't mix. A process writes few of them: the pipe never fills.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::supervised::{ERROR, PROGRESS};

/// How long to wait for the last lines of processes that have ended.
const LAST: Duration = Duration::from_secs(1);

/// What the processes of a family have told.
#[derive(Default)]
pub(super) struct Told {
    /// An epoch that no process had published before is published.
    pub(super) progress: bool,
    /// The error of each process, by its process id.
    pub(super) errors: BTreeMap<i32, String>,
}

/// Listens to the processes of a family.
pub(super) struct Listening {
    lines: Receiver<String>,
    /// Inherited by the processes that are started while this is held.
    writer: Option<PipeWriter>,
}

impl Listening {
    /// Makes the pipe.
    ///
    /// # Errors
    /// If the system has none.
    pub(super) fn start() -> Result<Self> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        fcntl(&writer, FcntlArg::F_SETFD(FdFlag::empty())).context("passing a pipe on")?;
        let (line, lines) = unbounded();
        let listen = move |reader: PipeReader| {
            for read in BufReader::new(reader).lines().map_while(Result::ok) {
                if line.send(read).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("cutwater:told".into()).spawn(move || listen(reader))?;
        Ok(Listening { lines, writer: Some(writer) })
    }

    /// The value of [`TELL`](crate::supervised::TELL).
    pub(super) fn descriptor(&self) -> String {
        self.writer.as_ref().map(|writer| writer.as_raw_fd().to_string()).unwrap_or_default()
    }

    /// All processes are started: the pipe ends with the last of them.
    pub(super) fn started(&mut self) {
        self.writer = None;
    }

    /// All that was told, once the processes have ended.
    pub(super) fn told(&mut self) -> Told {
        self.started();
        let mut told = Told::default();
        loop {
            match self.lines.recv_timeout(LAST) {
                Ok(line) => note(&mut told, &line),
                // A process that can't be ended still holds the pipe.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return told,
            }
        }
    }
}

fn note(told: &mut Told, line: &str) {
    let Some((pid, what)) = line.split_once(' ') else { return };
    if what == PROGRESS {
        told.progress = true;
    } else if let (Ok(pid), Some(error)) = (pid.parse(), what.strip_prefix(ERROR)) {
        // The first: what comes later is of its end.
        told.errors.entry(pid).or_insert_with(|| error.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_told_is_known_at_the_end() {
        let mut listening = Listening::start().unwrap();
        let mut pipe =
            OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", listening.descriptor())).unwrap();
        pipe.write_all(b"7 error no space left\n7 error gone\n8 progress\nnonsense\n").unwrap();
        drop(pipe);
        let told = listening.told();
        assert!(told.progress);
        assert_eq!(told.errors.into_iter().collect::<Vec<_>>(), [(7, "no space left".to_owned())]);
    }
}
