//! Discovery: one thread a process looks for new topics and partitions, and the workers' feeds hear of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rdkafka::consumer::BaseConsumer;

use super::super::Waker;
use super::REQUEST;
use crate::fault::Fault;
use crate::kafka::client::Client;
use crate::kafka::topics::{self, Pattern, Topic};

/// How often to look for new partitions and topics.
const REFRESH: Duration = Duration::from_secs(2);

/// The thread that looks. It ends when this is dropped.
pub(super) struct Discovery {
    found: Arc<Found>,
    thread: Option<JoinHandle<()>>,
}

/// What was found so far.
pub(super) struct Found {
    topics: Mutex<Vec<Topic>>,
    /// Counts changes of `topics`.
    changes: AtomicU64,
    wakers: Mutex<Vec<Waker>>,
    ended: AtomicBool,
    end: Condvar,
}

impl Discovery {
    /// What is there now, and nothing that comes later.
    pub(super) fn once(topics: Vec<Topic>) -> Self {
        let found = Arc::new(Found {
            topics: Mutex::new(topics),
            changes: AtomicU64::new(0),
            wakers: Mutex::default(),
            ended: AtomicBool::new(false),
            end: Condvar::new(),
        });
        Discovery { found, thread: None }
    }

    /// What is there now, and what comes later.
    pub(super) fn start(
        client: BaseConsumer<Client>,
        patterns: Vec<Pattern>,
        topics: Vec<Topic>,
        fault: Fault,
    ) -> Result<Self> {
        let mut discovery = Discovery::once(topics);
        let found = Arc::clone(&discovery.found);
        let thread = std::thread::Builder::new()
            .name("cutwater:topics".into())
            .spawn(move || found.refresh(&client, &patterns, &fault))
            .context("starting the thread that looks for new partitions")?;
        discovery.thread = Some(thread);
        Ok(discovery)
    }

    pub(super) fn found(&self) -> &Arc<Found> {
        &self.found
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.found.ended.store(true, Ordering::Relaxed);
        self.found.end.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

impl Found {
    /// The topics that are known, with their partitions.
    pub(super) fn topics(&self) -> Vec<Topic> {
        lock(&self.topics).clone()
    }

    /// Grows when topics or partitions are found.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Has `waker` called when topics or partitions are found.
    pub(super) fn wake(&self, waker: Waker) {
        lock(&self.wakers).push(waker);
    }

    fn refresh(&self, client: &BaseConsumer<Client>, patterns: &[Pattern], fault: &Fault) {
        let mut missing_since = None;
        loop {
            drop(self.end.wait_timeout(lock(&self.topics), REFRESH));
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            match topics::find(client, patterns) {
                Ok(now) => {
                    missing_since = None;
                    self.update(now);
                }
                // The broker is away: its client says so, and goes on trying.
                Err(error) if error.is::<rdkafka::error::KafkaError>() => {}
                Err(error) => {
                    // A broker that has just come up may not know its topics yet.
                    let since = *missing_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > REQUEST {
                        fault.raise(error.context("while reading"));
                        return;
                    }
                }
            }
        }
    }

    fn update(&self, now: Vec<Topic>) {
        let mut topics = lock(&self.topics);
        // Partitions never go; a shorter list is that of a broker that has yet to learn of them.
        let more = now.iter().any(|(topic, partitions)| {
            topics.iter().find(|(known, _)| known == topic).is_none_or(|(_, known)| partitions > known)
        });
        if more {
            *topics = now;
            drop(topics);
            self.changes.fetch_add(1, Ordering::Release);
            lock(&self.wakers).iter().for_each(|wake| wake());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
