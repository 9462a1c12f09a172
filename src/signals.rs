//! SIGINT and SIGTERM: as messages, or as the wish to stop.

use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, unbounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::last_words;

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

/// From now on, the first SIGINT or SIGTERM asks to stop, by `ask`; the second ends the process at once, as failed. Where
/// there is nothing to finish yet, as `begun` says, a signal ends the process at once with success.
///
/// # Errors
/// If the system refuses.
pub fn stop_by(
    begun: impl Fn() -> bool + Send + 'static,
    ask: impl Fn() + Send + Sync + 'static,
) -> Result<()> {
    let signals = listen()?;
    let ask = Arc::new(ask);
    std::thread::Builder::new().name("cutwater:stop".into()).spawn(move || {
        let mut asked = false;
        for () in signals {
            if asked {
                last_words("second signal: stopping now");
                exit(1);
            }
            if !begun() {
                exit(0);
            }
            asked = true;
            // In a thread of its own: where standard error is stuck, what it says must not hold up the next signal.
            let ask = Arc::clone(&ask);
            std::thread::spawn(move || ask());
        }
    })?;
    Ok(())
}
