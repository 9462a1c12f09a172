//! SIGINT and SIGTERM: as messages, or as the wish to stop.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, bounded, never, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::last_words;
use crate::kafka::credentials;
use crate::log;

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

/// Those that have come.
static HANGUPS: OnceLock<Receiver<()>> = OnceLock::new();

/// From now on, SIGHUP ends nothing: each is a message of [`hangups`].
///
/// # Errors
/// If the system refuses.
pub fn take_hangups() -> Result<()> {
    let mut signals = Signals::new([SIGHUP]).context("listening for signals")?;
    let (sender, receiver) = unbounded();
    if HANGUPS.set(receiver).is_err() {
        return Ok(());
    }
    std::thread::Builder::new().name("cutwater:hangup".into()).spawn(move || {
        for _ in signals.forever() {
            if sender.send(()).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// A message for each SIGHUP; none before [`take_hangups`].
pub fn hangups() -> Receiver<()> {
    HANGUPS.get().cloned().unwrap_or_else(never)
}

/// From now on, SIGHUP has the files of credentials read again.
///
/// # Errors
/// If the system gives no thread.
pub fn renew_on_hangup() -> Result<()> {
    let hangups = hangups();
    let renew = move || hangups.iter().for_each(|()| credentials::renew());
    std::thread::Builder::new().name("cutwater:renew".into()).spawn(renew)?;
    Ok(())
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
                log::end();
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

/// The wish to stop as a message, for commands that then wait for what they have sent.
pub struct Stopping {
    /// Gets a message when it is asked to stop.
    pub asked: Receiver<()>,
    begun: Arc<AtomicBool>,
}

impl Stopping {
    /// Listens for signals, as [`stop_by`] does. Until [`begin`](Stopping::begin), one ends the process at once.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen() -> Result<Self> {
        let (ask, asked) = bounded(1);
        let begun = Arc::new(AtomicBool::new(false));
        let has_begun = Arc::clone(&begun);
        stop_by(
            move || has_begun.load(Ordering::Relaxed),
            move || {
                let _ = ask.try_send(());
                tracing::info!("stopping: waiting for what was sent; once more to stop at once");
            },
        )?;
        Ok(Stopping { asked, begun })
    }

    /// From now on there is something to finish.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }
}
