//! A producer, and the thread that hears of what it could not deliver.
//!
//! rdkafka's own [`ThreadedProducer`](rdkafka::producer::ThreadedProducer) waits in steps of 100 ms that it rounds down to
//! whole milliseconds: through the last one it turns without pause, which takes nearly a hundredth of a core for as long as
//! the producer lives, and there are two in a run.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, ProducerContext};

use crate::kafka::client::refused;

/// How long what is to be heard may wait: records that arrived are not among it.
const PAUSE: Duration = Duration::from_millis(20);
/// How much is heard at a time, at most.
const AT_A_TIME: usize = 64;

/// The producer; its calls are those of [`BaseProducer`].
pub(super) struct Polled<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<C: ProducerContext + 'static> Polled<C> {
    /// Makes it.
    ///
    /// # Errors
    /// If librdkafka does not take a property, or there is no thread to be had.
    pub(super) fn make(config: &ClientConfig, context: C) -> Result<Self> {
        let producer: BaseProducer<C> =
            config.create_with_context(context).map_err(refused).context("making a producer")?;
        let (producer, over) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let thread = thread::Builder::new().name("kafka:producer".into()).spawn({
            let (producer, over) = (Arc::clone(&producer), Arc::clone(&over));
            move || {
                while !over.load(Ordering::Relaxed) {
                    (0..AT_A_TIME).for_each(|_| producer.poll(Duration::ZERO));
                    thread::park_timeout(PAUSE);
                }
            }
        });
        Ok(Polled { producer, over, thread: Some(thread.context("starting a thread of a producer")?) })
    }
}

impl<C: ProducerContext + 'static> Deref for Polled<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for Polled<C> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there is one of a callback, and was told of when it happened.
            let _ = thread.join();
        }
    }
}
