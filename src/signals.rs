//! SIGINT and SIGTERM: as messages, or as the wish to stop.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, unbounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::log::say;

/// Signals within this time of the first are one wish: coreutils' `timeout`, and others that end a process and then its
/// group, send two at once.
const AT_ONCE: Duration = Duration::from_millis(20);

/// From now on, each SIGINT and SIGTERM is a message; those that come at once are one.
///
/// # Errors
/// If the system refuses.
pub fn listen() -> Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listening for signals")?;
    let (sender, receiver) = unbounded();
    std::thread::Builder::new().name("cutwater:signals".into()).spawn(move || {
        loop {
            if signals.wait().count() == 0 {
                continue;
            }
            std::thread::sleep(AT_ONCE);
            signals.pending().for_each(drop);
            if sender.send(()).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Tells the signals that there is something to finish.
pub struct Work(Arc<AtomicBool>);

impl Work {
    /// From now on, a signal asks to stop. Before, there is nothing to finish and it ends the process with success.
    pub fn begun(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// From now on, the first SIGINT or SIGTERM asks to stop, by `ask`; the second ends the process at once, as failed.
///
/// # Errors
/// If the system refuses.
pub fn stop_by(ask: impl Fn() + Send + 'static) -> Result<Work> {
    let signals = listen()?;
    let begun = Arc::new(AtomicBool::new(false));
    let work = Work(Arc::clone(&begun));
    std::thread::Builder::new().name("cutwater:stop".into()).spawn(move || {
        let mut asked = false;
        for () in signals {
            if !begun.load(Ordering::Relaxed) {
                exit(0);
            }
            if asked {
                say("stopped at once, as asked twice");
                exit(1);
            }
            asked = true;
            ask();
        }
    })?;
    Ok(work)
}
