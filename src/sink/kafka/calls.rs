//! Calls into librdkafka that may not come back. Each that does not keeps its thread, and the producer that it was made
//! with, so that there may be few of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use crossbeam_channel::{Sender, bounded, select};

use crate::fault::Fault;

/// How many calls may be out that have not come back.
const MOST: usize = 3;

type Call = Box<dyn FnOnce() + Send>;

/// The calls of a run, one at a time. Clones share them.
#[derive(Clone)]
pub(super) struct Calls {
    /// Ends the waiting.
    pub(super) fault: Fault,
    /// Calls that are out: but for the one that is waited for, they are lost.
    out: Arc<AtomicUsize>,
    /// A thread whose last call has come back: there are several calls an epoch, and a thread for each took a tenth of what
    /// publishing did.
    idle: Arc<Mutex<Option<Sender<Call>>>>,
}

impl Calls {
    /// Calls that are waited for until `fault` is raised.
    pub(super) fn new(fault: &Fault) -> Self {
        Calls { fault: fault.clone(), out: Arc::default(), idle: Arc::default() }
    }

    /// Makes a call in another thread, and waits that long for it to come back; `None` if it has not. One that comes
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
        let call = Box::new(move || {
            let result = call();
            // Before it is heard of: by then it is no longer out.
            drop(out);
            // Fails where nobody waits any more.
            let _ = answer.send(result);
        });
        let thread = self.hand_over(call).with_context(|| what.to_owned())?;
        select! {
            recv(answered) -> answer => {
                let answer = answer.with_context(|| format!("{what}: its thread has panicked"))?;
                *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
                Ok(Some(answer))
            }
            recv(self.fault.heard()) -> _ => bail!("{what}: another part of the run has failed"),
            default(patience) => Ok(None),
        }
    }

    /// Has an idle thread make a call, or a new one. The thread ends when what is returned is dropped, and the call is back.
    fn hand_over(&self, call: Call) -> Result<Sender<Call>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = match idle {
            Some(thread) => thread,
            None => {
                let (thread, calls) = bounded::<Call>(1);
                let run = move || calls.into_iter().for_each(|call| call());
                thread::Builder::new().name("cutwater:call".into()).spawn(run)?;
                thread
            }
        };
        thread.send(call).ok().context("the thread of the last call is gone")?;
        Ok(thread)
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

    #[test]
    fn a_thread_makes_calls_until_one_does_not_come_back() {
        let calls = Calls::new(&Fault::default());
        let id = || calls.make("asking", LONG, || thread::current().id()).expect("a thread");
        let first = id();
        assert_eq!(first, id(), "the same thread");
        let (release, hang) = bounded::<()>(0);
        assert_eq!(calls.make("asking", Duration::ZERO, move || hang.recv()).expect("a thread"), None);
        assert_ne!(first, id(), "it is still busy");
        drop(release);
        let panics = calls.make("asking", LONG, || panic!("as a test")).map(|_: Option<()>| ()).unwrap_err();
        assert!(panics.to_string().contains("its thread has panicked"), "{panics}");
        assert!(id().is_some(), "another thread");
    }
}
