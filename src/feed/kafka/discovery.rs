//! Discovery: one thread a process looks for new topics and partitions, and the workers' feeds hear of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rdkafka::consumer::BaseConsumer;

use super::super::Waker;
use super::REQUEST;
use crate::fault::Fault;
use crate::fold::Folded;
use crate::kafka::client::Client;
use crate::kafka::identity::{Pinned, Recreated, topic_ids};
use crate::kafka::topics::{self, Missing, Pattern, Topic};

/// How often to look for new partitions and topics, and for topics that were recreated.
const REFRESH: Duration = Duration::from_secs(2);
/// After how long a topic that is not there any more is taken for deleted: a broker that has just come up may not know
/// its topics yet.
const GONE: Duration = Duration::from_secs(10);

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
    /// The ids of the topics, and of others that are watched.
    ids: Pinned,
}

/// What is looked for.
pub(super) struct Search {
    /// Topics that are read.
    pub(super) patterns: Vec<Pattern>,
    /// Other topics that must not be recreated: those that are written.
    pub(super) written: Vec<String>,
    /// Topics and partitions that come later are of no interest.
    pub(super) closed: bool,
}

impl Search {
    /// The topics that are read, and the ids of all, which are compared with those before.
    ///
    /// # Errors
    /// If the cluster does not answer, a named topic is not there, or a topic was recreated.
    pub(super) fn look(&self, client: &BaseConsumer<Client>, ids: &Pinned) -> Result<Vec<Topic>> {
        let mut topics = topics::find(client, &self.patterns)?;
        let names: Vec<&str> =
            topics.iter().map(|(topic, _)| topic).chain(&self.written).map(String::as_str).collect();
        let now = topic_ids(client, &names)?;
        ids.learn(&now)?;
        // One that has gone in between has no id.
        topics.retain(|(topic, _)| now.contains_key(topic));
        Ok(topics)
    }

    /// True iff the topic is read because its name matches, not because it was named.
    fn is_matched(&self, topic: &str) -> bool {
        !self.patterns.iter().any(|pattern| matches!(pattern, Pattern::Name(name) if name == topic))
    }
}

impl Discovery {
    /// What is there now, and nothing that comes later.
    fn once(topics: Vec<Topic>, ids: Pinned) -> Self {
        let found = Arc::new(Found {
            topics: Mutex::new(topics),
            changes: AtomicU64::new(0),
            wakers: Mutex::default(),
            ended: AtomicBool::new(false),
            end: Condvar::new(),
            ids,
        });
        Discovery { found, thread: None }
    }

    /// What is there now, with its ids, and what comes later.
    pub(super) fn start(
        client: BaseConsumer<Client>,
        search: Search,
        topics: Vec<Topic>,
        ids: Pinned,
        fault: Fault,
    ) -> Result<Self> {
        let mut discovery = Discovery::once(topics, ids);
        let found = Arc::clone(&discovery.found);
        let thread = std::thread::Builder::new()
            .name("cutwater:topics".into())
            .spawn(move || found.refresh(&client, &search, &fault))
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
        {
            let _known = lock(&self.found.topics);
            self.found.ended.store(true, Ordering::Relaxed);
        }
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

    /// The ids of the topics that are known, and of others that are watched.
    pub(super) fn ids(&self) -> &Pinned {
        &self.ids
    }

    fn refresh(&self, client: &BaseConsumer<Client>, search: &Search, fault: &Fault) {
        let mut missing_since = None;
        let mut gone = Gone::default();
        loop {
            // Under the lock, so that no end is missed.
            let known = lock(&self.topics);
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            drop(self.end.wait_timeout(known, REFRESH));
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            match search.look(client, &self.ids) {
                Ok(now) => {
                    missing_since = None;
                    gone.look(&self.topics(), &now, search);
                    if !search.closed {
                        self.update(now);
                    }
                }
                Err(error) if error.is::<Recreated>() => return fault.raise(error),
                Err(error) => match error.downcast_ref::<Missing>() {
                    Some(missing) => {
                        // A broker that has just come up may not know its topics yet.
                        let since = *missing_since.get_or_insert_with(Instant::now);
                        if since.elapsed() > REQUEST {
                            return fault.raise(anyhow!(
                                "topic {} is gone: the cluster has not known it for {} s; was the topic deleted?",
                                missing.name(),
                                REQUEST.as_secs()
                            ));
                        }
                    }
                    // The broker is away: its client says so, and tries again.
                    None => tracing::debug!("looking for topics: {error:#}"),
                },
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

/// Topics that are not there any more.
#[derive(Default)]
struct Gone {
    /// Those that were there once.
    known: BTreeSet<String>,
    since: BTreeMap<String, Instant>,
    told: BTreeSet<String>,
}

impl Gone {
    /// Compares those that are there `now` with those that are known. Of one whose name matched, it is said once that it
    /// is gone; a named one is an error elsewhere.
    fn look(&mut self, known: &[Topic], now: &[Topic], search: &Search) {
        self.known.extend(known.iter().map(|(topic, _)| topic.clone()));
        for (topic, _) in now {
            self.since.remove(topic);
        }
        let missing = |topic: &&String| !now.iter().any(|(there, _)| there == *topic);
        for topic in self.known.iter().filter(|topic| search.is_matched(topic)).filter(missing) {
            if self.told.contains(topic) {
                continue;
            }
            if self.since.entry(topic.clone()).or_insert_with(Instant::now).elapsed() >= GONE {
                self.told.insert(topic.clone());
                static DELETED: Folded = Folded::new("deleted topics");
                DELETED.warn_always(|| {
                    format!(
                        "topic {topic} was deleted: what was read of it stays; reading the others goes on"
                    )
                });
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
