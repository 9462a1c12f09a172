//! What the consumer group has committed, looked at all along: offsets and epochs never go back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::ConsumerContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde::Deserialize;

use crate::support::DEADLINE;

/// Between two questions.
const TICK: Duration = Duration::from_millis(20);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// The group of a topic, and a thread that looks at it.
pub struct Group {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    news: Condvar,
    stop: AtomicBool,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The offset and the epoch of each partition.
    pub positions: BTreeMap<i32, (i64, u64)>,
    /// Answers.
    pub answers: u64,
    /// What must not be.
    wrong: Option<String>,
}

impl Seen {
    /// The last epoch; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.positions.values().map(|&(_, epoch)| epoch).max().unwrap_or(0)
    }

    /// Records and gaps below the offsets.
    pub fn total(&self) -> i64 {
        self.positions.values().map(|&(offset, _)| offset).sum()
    }

    fn note(&mut self, now: BTreeMap<i32, (i64, u64)>) {
        for (partition, before) in &self.positions {
            let after = now.get(partition);
            if after.is_none_or(|after| after.0 < before.0 || after.1 < before.1) {
                let text = format!("partition {partition} has gone back: from {before:?} to {after:?}");
                self.wrong.get_or_insert(text);
            }
        }
        self.answers += 1;
        self.positions = now;
    }
}

/// What stands beside an offset.
#[derive(Deserialize)]
struct Mark {
    epoch: u64,
}

/// A broker that is killed is no news.
struct Silent;
impl ClientContext for Silent {
    fn error(&self, _: KafkaError, _: &str) {}
}
impl ConsumerContext for Silent {}

impl Group {
    /// Starts to look at what a group has committed of a topic, of up to so many partitions.
    pub fn watch(address: &str, group: &str, topic: &str, partitions: i32) -> Group {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", address).set("group.id", group).set("enable.auto.commit", "false");
        let consumer: BaseConsumer<Silent> = config.create_with_context(Silent).expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !watched.stop.load(Ordering::Relaxed) {
                // No answer while there is no broker.
                if let Ok(list) = consumer.committed_offsets(list.clone(), ANSWER)
                    && let Some(positions) = positions(&list)
                {
                    watched.lock().note(positions);
                    watched.news.notify_all();
                }
                std::thread::sleep(TICK);
            }
        });
        Group { shared, thread: Some(thread) }
    }

    /// What was seen last. Fails if anything was wrong.
    pub fn seen(&self) -> Seen {
        let seen = self.shared.lock().clone();
        assert_eq!(seen.wrong, None, "the group's offsets: {seen:?}");
        seen
    }

    /// Waits for the next answer, but not for long.
    pub fn wait(&self) {
        let seen = self.shared.lock();
        drop(self.shared.news.wait_timeout(seen, TICK).expect("the thread does not panic"));
    }

    /// What is committed now.
    pub fn next(&self) -> Seen {
        // The answer that comes next may be to a question that was asked before.
        let asked = self.seen().answers;
        let deadline = Instant::now() + DEADLINE;
        while self.seen().answers < asked + 2 {
            assert!(Instant::now() < deadline, "no broker tells what the group has committed");
            self.wait();
        }
        self.seen()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("the thread does not panic")
    }
}

/// The committed positions; `None` if the answer is an error.
fn positions(list: &TopicPartitionList) -> Option<BTreeMap<i32, (i64, u64)>> {
    let mut positions = BTreeMap::new();
    for element in list.elements() {
        element.error().ok()?;
        if let Offset::Offset(offset) = element.offset() {
            let mark: Option<Mark> = serde_json::from_str(element.metadata()).ok();
            positions.insert(element.partition(), (offset, mark.map_or(0, |mark| mark.epoch)));
        }
    }
    Some(positions)
}
