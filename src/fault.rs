//! The first error of a run, from whichever thread, and how everything that waits learns of it.
//!
//! Whatever waits in a run, waits here ([`Fault::pause`]), or selects on [`Fault::heard`]: then the first error ends it
//! within moments. What is in a call that can't be interrupted is not waited for ([`Fault::bound`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};

/// How long the threads of a run may take to end by themselves, once an error was raised.
const GRACE: Duration = Duration::from_secs(2);

/// Takes the first error and tells whoever waits for it. Clones share it.
#[derive(Clone)]
pub struct Fault {
    first: Arc<Mutex<State>>,
    /// Disconnected once an error was raised.
    heard: Receiver<Infallible>,
}

struct State {
    /// Dropped when the first error is raised.
    quiet: Option<Sender<Infallible>>,
    error: Option<anyhow::Error>,
    /// The error in words, also after it was taken.
    reason: Option<String>,
    /// What is waited for now, by the number of the one that waits.
    waits: BTreeMap<u64, String>,
    next: u64,
}

impl Default for Fault {
    fn default() -> Self {
        let (quiet, heard) = bounded(0);
        let state = State { quiet: Some(quiet), error: None, reason: None, waits: BTreeMap::new(), next: 0 };
        Fault { first: Arc::new(Mutex::new(state)), heard }
    }
}

impl Fault {
    /// Ends the run with this error, unless one has ended it before.
    pub fn raise(&self, error: anyhow::Error) {
        let mut first = self.lock();
        if first.quiet.take().is_none() {
            tracing::debug!("after the first error: {error:#}");
            return;
        }
        first.reason = Some(format!("{error:#}"));
        first.error = Some(error);
    }

    /// Runs `part` of a run: a panic in it ends the run as an error does, so that no other thread waits for
    /// this one forever.
    pub fn guard(&self, part: &str, run: impl FnOnce()) {
        // What the panic left behind is dropped: nothing looks at it but the error.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            self.raise(anyhow!("{part} panicked: {}", text.unwrap_or("no message")));
        }
    }

    /// True once an error was raised.
    pub fn is_raised(&self) -> bool {
        self.lock().quiet.is_none()
    }

    /// Becomes ready, by being disconnected, when an error is raised; to be used with `select!`.
    pub fn heard(&self) -> &Receiver<Infallible> {
        &self.heard
    }

    /// The error in words, once it was raised.
    pub fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// Waits for `time`, but no longer than until an error is raised.
    ///
    /// # Errors
    /// If an error was raised: whatever waits is to end.
    pub fn pause(&self, time: Duration) -> Result<()> {
        match self.heard.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => bail!("another part of the run has failed"),
        }
    }

    /// Runs `part` in a thread of its own and returns what it returns. Once an error is raised, it is waited for only a
    /// moment longer; then the thread is left alone: it may be in a call that does not come back, and the process is
    /// about to end.
    ///
    /// # Errors
    /// Those of `part`, or [`Fault::take`] where it did not end in time.
    pub fn bound<T: Send + 'static>(&self, part: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        self.bound_by(GRACE, part)
    }

    /// As [`Fault::bound`], but it is not waited for at all once an error is raised.
    ///
    /// # Errors
    /// As [`Fault::bound`].
    pub fn bound_at_once<T: Send + 'static>(
        &self,
        part: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.bound_by(Duration::ZERO, part)
    }

    fn bound_by<T: Send + 'static>(
        &self,
        grace: Duration,
        part: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, end) = bounded(1);
        std::thread::Builder::new()
            .name("cutwater:bound".into())
            .spawn(move || done.send(part()))
            .context("starting a thread")?;
        let ended = select! {
            recv(end) -> ended => ended.ok(),
            recv(self.heard) -> _ => end.recv_timeout(grace).ok(),
        };
        match ended {
            Some(result) => result,
            None => Err(self.take().unwrap_or_else(|| anyhow!("a thread of the run has panicked"))),
        }
    }

    /// Says what something waits for, until what this returns is dropped.
    pub fn waiting(&self) -> Waiting {
        let mut state = self.lock();
        state.next += 1;
        Waiting { fault: self.clone(), number: state.next }
    }

    /// What is waited for now, and why.
    pub fn waits(&self) -> Vec<String> {
        self.lock().waits.values().cloned().collect()
    }

    /// The error, once.
    pub fn take(&self) -> Option<anyhow::Error> {
        self.lock().error.take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.first.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Something that waits; see [`Fault::waiting`].
pub struct Waiting {
    fault: Fault,
    number: u64,
}

impl Waiting {
    /// What it waits for now.
    pub fn is_for(&self, what: &str) {
        self.fault.lock().waits.insert(self.number, what.to_owned());
    }

    /// It waits for nothing now.
    pub fn is_over(&self) {
        self.fault.lock().waits.remove(&self.number);
    }

    /// Whose waiting it is.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.is_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any test takes: what waits that long, has to be woken.
    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn an_error_wakes_all_that_waits_and_is_the_first() {
        let fault = Fault::default();
        assert!(fault.pause(Duration::ZERO).is_ok());
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let fault = fault.clone();
                std::thread::spawn(move || fault.pause(LONG).is_err())
            })
            .collect();
        fault.raise(anyhow!("the first"));
        fault.raise(anyhow!("the second"));
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
        assert!(fault.pause(LONG).is_err());
        assert_eq!(fault.take().unwrap().to_string(), "the first");
        assert!(fault.is_raised());
    }

    #[test]
    fn a_part_that_never_ends_does_not_hold_the_run() {
        let fault = Fault::default();
        assert_eq!(fault.bound(|| Ok(7)).unwrap(), 7);
        let raised = fault.clone();
        let error = fault.bound(move || {
            raised.raise(anyhow!("no space left"));
            std::thread::sleep(LONG);
            Ok(())
        });
        assert_eq!(error.unwrap_err().to_string(), "no space left");
    }

    #[test]
    fn what_is_waited_for_is_known_while_it_is() {
        let fault = Fault::default();
        let waiting = fault.waiting();
        assert!(fault.waits().is_empty());
        waiting.is_for("a broker");
        assert_eq!(fault.waits(), ["a broker"]);
        drop(waiting);
        assert!(fault.waits().is_empty());
    }
}
