//! A process that a supervisor has started: what it is told by its environment, and what it tells in turn.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells a process who its supervisor is: asked for its parent, it would be too late where the supervisor has died
/// before.
pub(crate) const SUPERVISOR: &str = "CUTWATER_SUPERVISOR";
/// Tells a process how often its supervisor has started the run again.
pub(crate) const RESTARTS: &str = "CUTWATER_RESTARTS";
/// Names the descriptor of the pipe, in a process that a supervisor has started.
pub(crate) const TELL: &str = "CUTWATER_TELL";
/// Bytes of an error that are told: a pipe takes 4 KiB at once.
const LONGEST: usize = 3000;
/// How a supervised process says that it ended because a peer did. The supervisor looks for the peer then.
pub const LOST_PEER: u8 = 75;
/// How a supervised process says that the reader of its rows has closed standard output. That ends the run, as no failure.
pub const CLOSED: u8 = 76;

/// Says that an epoch is published that no process had published before.
pub(crate) const PROGRESS: &str = "progress";
/// Comes before the error that ends the process.
pub(crate) const ERROR: &str = "error ";

/// True in a process that a supervisor has started.
pub fn is_supervised() -> bool {
    std::env::var_os(SUPERVISOR).is_some()
}

/// How often the supervisor has started this run again; 0 without one.
pub fn restarts() -> u64 {
    std::env::var(RESTARTS).ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

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
