//! What a process tells its supervisor: that the run makes progress, and the error that ends it.
//!
//! All processes of a supervisor write lines to one pipe. A line is shorter than what a pipe takes at once, so lines of
//! several processes don't mix. A process writes few of them: the pipe never fills.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::is_supervised;

/// Names the descriptor of the pipe, in a process that a supervisor has started.
pub(super) const TELL: &str = "CUTWATER_TELL";
/// Bytes of an error that are told: a pipe takes 4 KiB at once.
const LONGEST: usize = 3000;
/// How long to wait for the last lines of processes that have ended.
const LAST: Duration = Duration::from_secs(1);

const PROGRESS: &str = "progress";
const ERROR: &str = "error ";

/// Tells the supervisor, where there is one, that an epoch that no process had published before is published.
pub fn progress() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    // Asked after each step of each worker: mostly a load.
    if !TOLD.load(Ordering::Relaxed) && !TOLD.swap(true, Ordering::Relaxed) {
        tell(PROGRESS);
    }
}

/// Tells the supervisor, where there is one, of the error that ends this process.
pub fn error(text: &str) {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    tell(&format!("{ERROR}{}", text[..end].replace('\n', " ")));
}

fn tell(what: &str) {
    static PIPE: OnceLock<Option<File>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| {
        let number: u32 = std::env::var(TELL).ok()?.parse().ok()?;
        // Opened by its name: a number alone is no descriptor of ours.
        let open = || OpenOptions::new().write(true).open(format!("/proc/self/fd/{number}")).ok();
        is_supervised().then(open).flatten()
    });
    if let Some(mut pipe) = pipe.as_ref() {
        // Fails where the supervisor has gone: then this process is about to end.
        let _ = pipe.write_all(format!("{} {what}\n", std::process::id()).as_bytes());
    }
}

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

    /// The value of [`TELL`].
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
