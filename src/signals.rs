//! SIGINT and SIGTERM, as messages.

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, unbounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// From now on, each SIGINT and SIGTERM is a message.
///
/// # Errors
/// If the system refuses.
pub fn listen() -> Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listening for signals")?;
    let (sender, receiver) = unbounded();
    std::thread::Builder::new().name("cutwater:signals".into()).spawn(move || {
        for _ in signals.forever() {
            if sender.send(()).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}
