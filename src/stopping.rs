//! Stopping: the wish, and the time that it may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cutwater_dataflows::Epoch;

use crate::fault::Fault;

/// Has a run stop: the open epoch is finished and published. Clones share it.
#[derive(Clone, Default)]
pub struct Stop(Arc<Progress>);

#[derive(Default)]
struct Progress {
    requested: AtomicBool,
    begun: AtomicBool,
    published: AtomicBool,
}

impl Stop {
    /// Has the run stop soon.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::Relaxed);
    }

    /// True once it was requested.
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::Relaxed)
    }

    /// From now on there is something to finish.
    pub fn begin(&self) {
        self.0.begun.store(true, Ordering::Relaxed);
    }

    /// True once there is something to finish.
    pub fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// All that was read is published.
    pub(crate) fn all_published(&self) {
        self.0.published.store(true, Ordering::Relaxed);
    }

    /// Has the run end within `limit` from now, whatever it waits for: after that time, an error is raised that says what
    /// is not published. `published` is asked for the last epoch that is, and is `None` in a process that does not know;
    /// `keeps`: the run keeps state.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn enforce(
        &self,
        fault: &Fault,
        limit: Duration,
        keeps: bool,
        published: impl FnOnce() -> Option<Epoch> + Send + 'static,
    ) -> Result<()> {
        let (stop, fault) = (self.clone(), fault.clone());
        std::thread::Builder::new()
            .name("cutwater:stop-timeout".into())
            .spawn(move || {
                if fault.pause(limit).is_err() {
                    return;
                }
                let done = stop.0.published.load(Ordering::Relaxed);
                fault.raise(Late { limit, done, keeps, published: published(), waits: fault.waits() }.into());
            })
            .context("starting a thread")?;
        Ok(())
    }
}

/// A run has not ended within `--stop-timeout`.
#[derive(Debug)]
pub struct Late {
    limit: Duration,
    /// All that was read is published.
    done: bool,
    keeps: bool,
    published: Option<Epoch>,
    waits: Vec<String>,
}

impl Late {
    /// True iff everything that was read is published, so that the run has not failed.
    pub fn is_success(&self) -> bool {
        self.done
    }
}

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--stop-timeout: the run has not ended within {}", humantime::format_duration(self.limit))?;
        if !self.waits.is_empty() {
            write!(f, " (it waits: {})", self.waits.join("; "))?;
        }
        match (self.done, self.published) {
            (true, _) => f.write_str("; all that was read is published"),
            (false, None) => Ok(()),
            (false, Some(epoch)) => {
                match epoch {
                    0 => f.write_str("; nothing of what was read is published")?,
                    epoch => write!(f, "; what was read after epoch {epoch} is not published")?,
                }
                f.write_str(match self.keeps {
                    true => ", and is not lost: the next run with this --state publishes it",
                    false => ", and its offsets are not committed",
                })
            }
        }
    }
}

impl std::error::Error for Late {}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(done: bool, keeps: bool, published: Option<Epoch>) -> String {
        let waits = vec!["no broker".to_owned()];
        Late { limit: Duration::from_secs(60), done, keeps, published, waits }.to_string()
    }

    #[test]
    fn the_error_says_what_is_not_published() {
        let kept = late(false, true, Some(7));
        assert!(
            kept.contains("within 1m (it waits: no broker); what was read after epoch 7 is not"),
            "{kept}"
        );
        assert!(kept.ends_with("the next run with this --state publishes it"), "{kept}");
        assert!(late(false, false, Some(0)).contains("nothing of what was read is published"));
        assert!(late(true, true, Some(7)).ends_with("all that was read is published"));
    }

    #[test]
    fn a_run_that_does_not_end_is_ended() {
        let (stop, fault) = (Stop::default(), Fault::default());
        stop.enforce(&fault, Duration::ZERO, true, || Some(3)).unwrap();
        let error = fault.bound(|| -> Result<()> {
            loop {
                std::thread::park();
            }
        });
        assert!(error.unwrap_err().is::<Late>());
    }
}
