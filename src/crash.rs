//! Crash points: places at which a test can have the process die, as if it were killed there.
//!
//! `CUTWATER_CRASH=ledger-written:3` kills the process (SIGKILL: nothing is cleaned up) when it comes to the point
//! `ledger-written` for the third time. Without the variable, a point costs one load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::log::say;

/// The variable.
pub const VARIABLE: &str = "CUTWATER_CRASH";

struct Armed {
    point: String,
    left: AtomicU64,
}

/// The program has come to the point of that name.
pub fn point(name: &str) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (point, count) = text.rsplit_once(':')?;
        Some(Armed { point: point.to_owned(), left: AtomicU64::new(count.parse().ok()?) })
    });
    if let Some(armed) = armed
        && armed.point == name
        && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        say(&format!("{VARIABLE}: killed at {name}"));
        // Does not return.
        let _ = kill(Pid::this(), Signal::SIGKILL);
    }
}
