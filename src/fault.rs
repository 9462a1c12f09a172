//! The first error of a run, from whichever thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use anyhow::anyhow;
use crossbeam_channel::{Receiver, Sender, bounded};

/// Takes the first error and tells who waits for it. Clones share it.
#[derive(Clone)]
pub struct Fault {
    first: Arc<Mutex<State>>,
    raised: Sender<()>,
    heard: Receiver<()>,
}

#[derive(Default)]
struct State {
    raised: bool,
    error: Option<anyhow::Error>,
}

impl Default for Fault {
    fn default() -> Self {
        let (raised, heard) = bounded(1);
        Fault { first: Arc::default(), raised, heard }
    }
}

impl Fault {
    /// Ends the run with this error, unless one has ended it before.
    pub fn raise(&self, error: anyhow::Error) {
        let mut first = self.lock();
        if first.raised {
            tracing::debug!("after the first error: {error:#}");
            return;
        }
        first.raised = true;
        first.error = Some(error);
        // The channel holds one: a second message has nothing to add.
        let _ = self.raised.try_send(());
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
        self.lock().raised
    }

    /// Becomes ready when an error is raised; to be used with `select!`.
    pub fn heard(&self) -> &Receiver<()> {
        &self.heard
    }

    /// The error, once.
    pub fn take(&self) -> Option<anyhow::Error> {
        self.lock().error.take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.first.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
