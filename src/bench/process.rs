//! Processes of this program that are measured: how they are started and ended, what they took.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

use crate::job::Stop;

/// How often to look whether a process has ended.
const LOOK: Duration = Duration::from_millis(5);
/// How long a process may take to stop when it is asked to.
const STOPPING: Duration = Duration::from_secs(60);
/// Lines of standard error that are shown of a process that failed.
const SHOWN: usize = 5;

/// A process of this program. It is killed when this is dropped.
pub(super) struct Process {
    what: String,
    child: Child,
    stderr: Option<JoinHandle<String>>,
    /// Processor time of all processes that had ended before it.
    before: f64,
}

impl Process {
    /// Starts this program with these arguments, and gives it `input` to read.
    ///
    /// # Errors
    /// If it can't be started.
    pub(super) fn start(what: &str, args: &[String], input: &[u8]) -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .args(args)
            // What is to be measured is said by the arguments alone.
            .env_remove("CUTWATER_BROKERS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {what}"))?;
        let mut stderr = child.stderr.take().expect("it is a pipe");
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What could be read is shown.
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut stdin = child.stdin.take().expect("it is a pipe");
        // Fails where it has ended before it read all: then its exit code tells.
        let _ = stdin.write_all(input);
        Ok(Process { what: what.to_owned(), child, stderr: Some(stderr), before: seconds_of_ended() })
    }

    /// Its standard output, to be read while it runs.
    ///
    /// # Panics
    /// If it was taken before.
    pub(super) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("it is taken once")
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it and its own processes have had resident so far, in bytes.
    pub(super) fn peak(&self) -> u64 {
        peak_of(self.child.id())
    }

    /// Asks it to stop.
    pub(super) fn stop(&self) {
        // Fails where it has ended.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// What it said last.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().context("waiting for a process")? {
            None => Ok(()),
            Some(status) => Err(self.failed(status, "has ended before it was asked to")),
        }
    }

    /// Waits for its end, which is to be a good one. Returns the processor time it took, in seconds, and its standard
    /// error.
    ///
    /// # Errors
    /// If it failed: what it said last; or if `stop` was requested.
    pub(super) fn wait(self, stop: &Stop) -> Result<(f64, String)> {
        self.wait_and(stop, |_| {})
    }

    /// As [`Process::wait`]; meanwhile, it is looked at.
    ///
    /// # Errors
    /// As [`Process::wait`].
    pub(super) fn wait_and(mut self, stop: &Stop, mut look: impl FnMut(&Process)) -> Result<(f64, String)> {
        let mut deadline = None;
        let status = loop {
            look(&self);
            if let Some(status) = self.child.try_wait().context("waiting for a process")? {
                break status;
            }
            if stop.is_requested() && deadline.is_none() {
                self.stop();
                deadline = Some(Instant::now() + STOPPING);
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                bail!("{} does not stop", self.what);
            }
            std::thread::sleep(LOOK);
        };
        if stop.is_requested() {
            bail!("stopped");
        }
        if !status.success() {
            return Err(self.failed(status, "has failed"));
        }
        Ok((seconds_of_ended() - self.before, self.stderr()))
    }

    fn failed(&mut self, status: ExitStatus, how: &str) -> anyhow::Error {
        let text = self.stderr();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(SHOWN)..].join("; ");
        anyhow!("{} {how} ({status}): {last}", self.what)
    }

    fn stderr(&mut self) -> String {
        self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // A supervisor ends its own processes when it is asked to stop twice.
            self.stop();
            let deadline = Instant::now() + Duration::from_secs(2);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(LOOK);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Processor time of this process, in seconds.
pub(super) fn seconds_of_self() -> f64 {
    seconds(UsageWho::RUSAGE_SELF)
}

/// Processor time of all processes of this one that have ended, in seconds.
fn seconds_of_ended() -> f64 {
    seconds(UsageWho::RUSAGE_CHILDREN)
}

fn seconds(who: UsageWho) -> f64 {
    let total = |usage: Usage| (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
    getrusage(who).map_or(0.0, total)
}

/// The most memory that this process has had resident, in bytes.
pub(super) fn peak_of_self() -> u64 {
    peak_of(std::process::id())
}

/// That of a process and of those it has started, added up; nothing for one that has ended.
fn peak_of(pid: u32) -> u64 {
    let own = high_water(Path::new(&format!("/proc/{pid}/status"))).unwrap_or(0);
    own + children(pid).into_iter().map(peak_of).sum::<u64>()
}

/// The processes that a process has started, and that have not ended.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

fn high_water(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_of_this_process_are_known() {
        let block = vec![1u8; 64 << 20];
        assert!(peak_of_self() > std::hint::black_box(block).len() as u64);
        let before = seconds_of_self();
        let start = Instant::now();
        while seconds_of_self() <= before {
            assert!(start.elapsed() < Duration::from_secs(300), "no time passes");
        }
    }
}
