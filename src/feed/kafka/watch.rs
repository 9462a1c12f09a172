//! Watch: one thread a process asks, about once a second, how the partitions are: where they end, whether they have a
//! leader, and whether an open transaction holds records back. So the lag is known, and what is wrong is said, while
//! nothing is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::ask::{self, Ends};
use super::discovery::Found;
use super::leaders::{Leaders, Missing, TELL, names, shown};
use super::{From, Reading};
use crate::kafka::client::{Client, Settings};
use crate::kafka::topics::Pattern;
use crate::status::Status;

/// How often to ask.
const EVERY: Duration = Duration::from_secs(1);
/// How long a question may take.
const REQUEST: Duration = Duration::from_secs(5);
/// Topics of which the metadata are asked for one by one; of more, all of the cluster's are.
const FEW: usize = 4;

/// A partition: its topic and number.
type Key = (String, i32);

/// The thread that asks. It ends when this is dropped, once it has the answer for which it waits.
pub(super) struct Watch(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// What the workers of this process read or are about to read.
    watched: Mutex<BTreeMap<Key, Arc<Read>>>,
    /// Where reading of partitions began or begins, as far as it is known here.
    begun: Mutex<BTreeMap<Key, i64>>,
    /// Who shows the lag.
    status: Mutex<Option<Status>>,
    ended: AtomicBool,
    end: Condvar,
    /// Held while waiting for the end.
    waiting: Mutex<()>,
}

/// How far a partition is read.
pub(super) struct Read(AtomicI64);

impl Read {
    /// Of a partition that nobody looks at.
    pub(super) fn unseen() -> Self {
        Read(AtomicI64::new(-1))
    }

    /// All below `next` is read.
    pub(super) fn up_to(&self, next: i64) {
        self.0.store(next, Ordering::Relaxed);
    }
}

/// What is asked with, and about what.
pub(super) struct About {
    pub(super) settings: Settings,
    pub(super) reading: Reading,
    pub(super) patterns: Vec<Pattern>,
    pub(super) found: Arc<Found>,
    pub(super) ends: Arc<Ends>,
}

impl Watch {
    /// Starts it.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(about: About) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let watcher = Watcher {
            shared: Arc::clone(&shared),
            about,
            committed: None,
            looks: 0,
            leaderless: Troubles::default(),
            waiting: Troubles::default(),
            reads: BTreeMap::new(),
        };
        std::thread::Builder::new()
            .name("cutwater:watch".into())
            .spawn(move || watcher.run())
            .context("starting the thread that watches partitions")?;
        Ok(Watch(shared))
    }

    /// A worker of this process reads a partition, or will.
    pub(super) fn add(&self, topic: &str, partition: i32) -> Arc<Read> {
        let mut watched = lock(&self.0.watched);
        let read = watched.entry((topic.to_owned(), partition));
        Arc::clone(read.or_insert_with(|| Arc::new(Read::unseen())))
    }

    /// Reading of a partition begins there, in whatever process.
    pub(super) fn begins(&self, topic: &str, partition: i32, offset: i64) {
        lock(&self.0.begun).entry((topic.to_owned(), partition)).or_insert(offset);
    }

    /// From now on, `status` hears of the ends of all partitions.
    pub(super) fn show(&self, status: Status) {
        *lock(&self.0.status) = Some(status);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
        self.0.end.notify_all();
    }
}

/// Partitions, each with something.
type Of<T> = Vec<(Key, T)>;

/// What is wrong with partitions, and since when.
#[derive(Default)]
struct Troubles(BTreeMap<Key, Trouble>);

struct Trouble {
    /// What it is about; another is another trouble.
    offset: i64,
    since: Instant,
    time: SystemTime,
    told: bool,
}

impl Troubles {
    /// These are in trouble now, and no others. Returns those that are to be told of, with the time since when they are;
    /// and those that were told of and have none any more, with how long it took.
    fn update(&mut self, now: &BTreeMap<Key, i64>) -> (Of<SystemTime>, Of<Duration>) {
        let mut over = Vec::new();
        self.0.retain(|key, trouble| {
            let stays = now.get(key) == Some(&trouble.offset);
            if !stays && trouble.told {
                over.push((key.clone(), trouble.since.elapsed()));
            }
            stays
        });
        let mut new = Vec::new();
        // One time for all that are seen together: they are told of together.
        let (since, time) = (Instant::now(), SystemTime::now());
        for (key, &offset) in now {
            let trouble =
                self.0.entry(key.clone()).or_insert_with(|| Trouble { offset, since, time, told: false });
            if !trouble.told && trouble.since.elapsed() >= TELL {
                trouble.told = true;
                new.push((key.clone(), trouble.time));
            }
        }
        (new, over)
    }
}

struct Watcher {
    shared: Arc<Shared>,
    about: About,
    /// Sees the ends of what may be read by now; made when it is needed.
    committed: Option<BaseConsumer<Client>>,
    /// How often the ends were found.
    looks: u64,
    leaderless: Troubles,
    waiting: Troubles,
    /// How far the partitions were read when they were looked at before.
    reads: BTreeMap<Key, i64>,
}

impl Watcher {
    fn run(mut self) {
        loop {
            if let Err(error) = self.look() {
                // The broker is away: the clients that read say so.
                tracing::debug!("watching partitions: {error:#}");
            }
            let shared = Arc::clone(&self.shared);
            let waiting = lock(&shared.waiting);
            let ended = |_: &mut ()| !shared.ended.load(Ordering::Relaxed);
            drop(shared.end.wait_timeout_while(waiting, EVERY, ended));
            if shared.ended.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn look(&mut self) -> Result<()> {
        let watched = lock(&self.shared.watched).clone();
        let status = lock(&self.shared.status).clone();
        let mut all: BTreeSet<Key> = watched.keys().cloned().collect();
        if status.is_some() {
            all.extend(self.inputs());
        }
        if all.is_empty() {
            return Ok(());
        }
        let Leaders { missing, led: asked } = self.leaders(&all)?;
        self.tell_leaders(&missing, &watched);
        if asked.is_empty() {
            return Ok(());
        }
        let found = self.about.ends.ask(&asked, REQUEST)?;
        let found: BTreeMap<Key, i64> = asked.into_iter().zip(found).collect();
        if let Some(status) = status {
            let begun = self.begun(&found);
            status.ends(&found, &begun);
        }
        // A bounded run waits for none: it says at its end what it has not read.
        if self.about.reading.until_end { Ok(()) } else { self.tell_transactions(&found, &watched) }
    }

    /// All partitions of the inputs, those of other processes included.
    fn inputs(&self) -> Vec<Key> {
        let topics = self.about.found.topics();
        let read = |topic: &str| self.about.patterns.iter().any(|pattern| pattern.matches(topic));
        let topics = topics.into_iter().filter(|(topic, ..)| read(topic));
        topics.flat_map(|(topic, partitions)| (0..partitions).map(move |p| (topic.clone(), p))).collect()
    }

    /// Those that have a leader, and those that have none.
    fn leaders(&self, partitions: &BTreeSet<Key>) -> Result<Leaders> {
        let client = self.about.ends.client()?;
        let topics: BTreeSet<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
        let keys = || partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition));
        if topics.len() > FEW {
            let mut leaders = Leaders::default();
            leaders.add(&client.fetch_metadata(None, REQUEST)?, keys());
            return Ok(leaders);
        }
        let mut leaders = Leaders::default();
        for topic in topics {
            let metadata = client.fetch_metadata(Some(topic), REQUEST)?;
            leaders.add(&metadata, keys().filter(|(of, _)| *of == topic));
        }
        Ok(leaders)
    }

    fn tell_leaders(&mut self, missing: &Missing, watched: &BTreeMap<Key, Arc<Read>>) {
        let missing = missing.iter().flat_map(|(topic, ps)| ps.iter().map(|&p| (topic.clone(), p)));
        let missing = missing.filter(|key| watched.contains_key(key)).map(|key| (key, 0)).collect();
        let (new, over) = self.leaderless.update(&missing);
        for (since, group) in grouped(new, |time| time) {
            let since = shown(since);
            tracing::warn!("{}: no leader since {since}; not read until the cluster has one", names(&group));
        }
        for (seconds, group) in grouped(over, |time| time.as_secs()) {
            tracing::info!("{}: a leader again, after {seconds} s", names(&group));
        }
    }

    /// Partitions that are read as far as an open transaction allows, though there is more.
    fn tell_transactions(
        &mut self,
        ends: &BTreeMap<Key, i64>,
        watched: &BTreeMap<Key, Arc<Read>>,
    ) -> Result<()> {
        let reads: BTreeMap<Key, i64> =
            watched.iter().map(|(key, read)| (key.clone(), read.0.load(Ordering::Relaxed))).collect();
        let before = std::mem::replace(&mut self.reads, reads);
        let still: Vec<Key> = self
            .reads
            .iter()
            .filter(|&(key, read)| {
                *read >= 0 && before.get(key) == Some(read) && ends.get(key).is_some_and(|end| read < end)
            })
            .map(|(key, _)| key.clone())
            .collect();
        let mut waiting = BTreeMap::new();
        if !still.is_empty() {
            if self.committed.is_none() {
                self.committed = Some(self.about.settings.silent()?);
            }
            let client = self.committed.as_ref().expect("made above");
            for (key, stable) in still.iter().zip(ask::ends(client, &still, REQUEST)?) {
                if stable < ends[key] && self.reads[key] >= stable {
                    waiting.insert(key.clone(), stable);
                }
            }
        }
        let (new, over) = self.waiting.update(&waiting);
        for (key, since) in new {
            let (topic, partition) = &key;
            let (stable, end) = (waiting[&key], ends[&key]);
            tracing::warn!(
                "{topic} partition {partition}: records from offset {stable} on, up to {} of them, wait for an open \
                 transaction since {}; they are read when it has ended",
                end - stable,
                shown(since)
            );
        }
        for ((topic, partition), time) in over {
            tracing::info!(
                "{topic} partition {partition}: the open transaction has ended, after {} s",
                time.as_secs()
            );
        }
        Ok(())
    }

    /// Where reading of partitions began: of other processes' too, as far as it can be found out.
    fn begun(&mut self, ends: &BTreeMap<Key, i64>) -> BTreeMap<Key, i64> {
        let begun = lock(&self.shared.begun).clone();
        let unknown: Vec<Key> = ends.keys().filter(|key| !begun.contains_key(*key)).cloned().collect();
        self.looks += 1;
        // The workers have yet to say it when this is run for the first time. What is there when they have is read as
        // the user says, what comes later from its first record.
        if unknown.is_empty() || self.looks == 1 {
            return begun;
        }
        let from = if self.looks == 2 { self.about.reading.from } else { From::Earliest };
        let asked: Vec<i64> = unknown.iter().map(|key| ends[key]).collect();
        let client = self.about.ends.client();
        match client.and_then(|client| ask::begins(client, from, &unknown, &asked, REQUEST)) {
            Ok(found) => {
                let mut begun = lock(&self.shared.begun);
                for (key, first) in unknown.into_iter().zip(found) {
                    begun.entry(key).or_insert(first);
                }
                begun.clone()
            }
            Err(error) => {
                tracing::debug!("asking where partitions begin: {error:#}");
                begun
            }
        }
    }
}

/// Partitions with the same value, together.
fn grouped<T, V: Ord>(all: Of<T>, value: impl Fn(T) -> V) -> BTreeMap<V, Missing> {
    let mut groups: BTreeMap<V, Missing> = BTreeMap::new();
    for ((topic, partition), of) in all {
        groups.entry(value(of)).or_default().entry(topic).or_default().push(partition);
    }
    groups
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
