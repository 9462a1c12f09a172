//! Records read from the brokers' answers themselves (`--fetch direct`): a client of the fetch protocol.
//!
//! librdkafka makes, queues and frees an object a record. Here a thread of this process holds a connection to each leader,
//! asks for batches, and looks at their headers alone; the worker reads records where they lie in the answer. All else
//! (which topics there are, where to begin, what is committed, what is written) stays with librdkafka.
//!
//! In reading order: [`batch`], `codecs` and `chunk` are the format; `parts` is what a worker and the connections share;
//! `properties`, `tls`, `sasl`, `connection`, `fetch` and
//! `leaders` are the protocol; `reader` is the worker's side.

pub mod batch;
mod chunk;
mod codecs;
mod connection;
mod errors;
mod fetch;
mod leaders;
mod parts;
mod properties;
pub(super) mod reader;
mod sasl;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};

use super::super::Waker;
use crate::kafka::client::Settings;
use crate::kafka::identity::Pinned;
pub use chunk::read;
use leaders::Leaders;
use parts::Parts;
use properties::Options;
use reader::Reader;

/// The thread of the connections. It ends when this is dropped.
pub(super) struct Direct {
    options: Arc<Options>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Direct {
    /// Checks the properties, without a connection.
    ///
    /// # Errors
    /// If one can't be honoured: names it.
    pub(super) fn check(settings: &Settings) -> Result<()> {
        Options::of(settings, &Pinned::default()).map(drop)
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// If a property can't be honoured, or the system gives no thread.
    pub(super) fn start(settings: &Settings, ids: &Pinned) -> Result<Self> {
        let options = Options::of(settings, ids)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cutwater:fetch")
            .enable_io()
            .enable_time()
            .build()
            .context("starting the thread that fetches records")?;
        Ok(Direct { options: Arc::new(options), runtime: Some(runtime) })
    }

    /// A reader of a feed, which `waker` wakes. What it queues has about so many bytes at most.
    ///
    /// # Errors
    /// If there is no memory.
    pub(super) fn reader(&self, waker: &Arc<OnceLock<Waker>>, room: usize) -> Result<Reader> {
        let parts = Parts::new(room, Arc::clone(waker));
        if let Some(runtime) = &self.runtime {
            let _inside = runtime.enter();
            leaders::watched(&parts, Leaders::run(Arc::clone(&parts), Arc::clone(&self.options)));
        }
        Reader::new(parts, self.options.expands_to)
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        // Without waiting for names that are looked up, or brokers that do not answer.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
