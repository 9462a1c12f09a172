//! Calls into librdkafka that may not come back. Each that does not keeps its thread, and the producer that it was made
//! with, so that there may be few of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use crossbeam_channel::{bounded, select};

use crate::fault::Fault;

/// How many calls may be out that have not come back.
const MOST: usize = 3;

/// The calls of a run, one at a time. Clones share them.
#[derive(Clone)]
pub(super) struct Calls {
    /// Ends the waiting.
    pub(super) fault: Fault,
    /// Calls that are out: but for the one that is waited for, they are lost.
    out: Arc<AtomicUsize>,
}

impl Calls {
    /// Calls that are waited for until `fault` is raised.
    pub(super) fn new(fault: &Fault) -> Self {
        Calls { fault: fault.clone(), out: Arc::default() }
    }

    /// Makes a call in a thread of its own, and waits that long for it to come back; `None` if it has not. One that comes
    /// back later is no longer lost.
    ///
    /// # Errors
    /// If too many calls are lost, the call panics, another part of the run has failed, or the system gives no thread.
    pub(super) fn make<T: Send + 'static>(
        &self,
        what: &str,
        patience: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let lost = self.out.load(Ordering::Acquire);
        ensure!(
            lost < MOST,
            "{what}: {lost} calls before have not come back from librdkafka, and each keeps a thread and a producer: the \
             run ends, so that they do not become more. Start it again"
        );
        let (answer, answered) = bounded(1);
        let out = Out::one(&self.out);
        thread::Builder::new()
            .name("cutwater:call".into())
            .spawn(move || {
                let result = call();
                // Before it is heard of: by then it is no longer out.
                drop(out);
                // Fails where nobody waits any more.
                let _ = answer.send(result);
            })
            .with_context(|| what.to_owned())?;
        select! {
            recv(answered) -> answer => answer.map(Some).with_context(|| format!("{what}: its thread has panicked")),
            recv(self.fault.heard()) -> _ => bail!("{what}: another part of the run has failed"),
            default(patience) => Ok(None),
        }
    }
}

/// A call that is out, until this is dropped.
struct Out(Arc<AtomicUsize>);

impl Out {
    fn one(out: &Arc<AtomicUsize>) -> Self {
        out.fetch_add(1, Ordering::AcqRel);
        Out(Arc::clone(out))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn calls_that_do_not_come_back_are_bounded() {
        let calls = Calls::new(&Fault::default());
        let (release, hang) = bounded::<()>(0);
        for _ in 0..MOST {
            let hang = hang.clone();
            let answer = calls.make("committing", Duration::ZERO, move || hang.recv()).expect("a thread");
            assert!(answer.is_none(), "it hangs");
        }
        let error = calls.make("committing", LONG, || 7).unwrap_err().to_string();
        assert!(error.contains("committing: 3 calls") && error.contains("Start it again"), "{error}");
        // They come back after all.
        drop(release);
        while calls.out.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
        assert_eq!(calls.make("committing", LONG, || 7).expect("a thread"), Some(7));
    }
}
