//! The fetches of one feed from one broker, over a connection of its own, as long as the broker leads a partition of it.
//!
//! One request is under way at a time. In its answer the headers of batches alone are looked at: they tell where to go on, so
//! the next request is sent before the worker has read a record. In a fetch session (Kafka's KIP-227) a request names
//! only the partitions that have moved.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::batch::Wrong;
use super::chunk::{Chunk, reach};
use super::connection::{Connection, REQUEST};
use super::errors::{self, OFFSET_NOT_AVAILABLE, Remedy, remedy};
use super::parts::{Came, Parts, Want, Wants};
use super::properties::Options;
use crate::fold::Folded;

/// The versions of a fetch that are known here: from the second record format on.
const VERSIONS: (i16, i16) = (4, 16);
/// From here on topics are named by their ids.
const WITH_IDS: i16 = 13;
/// How long the broker may wait for records of some partitions while others are left out for now.
const SHORT_WAIT: Duration = Duration::from_millis(5);
/// How long to wait after an answer that says no more than that it is too early.
const PAUSE: Duration = Duration::from_millis(20);

/// A partition, as a request and its answer name it.
type Name = (Arc<str>, Uuid, i32);

/// Fetches from a broker.
pub(super) struct Fetcher {
    parts: Arc<Parts>,
    options: Arc<Options>,
    broker: i32,
    connection: Connection,
    session: Session,
}

/// What the broker knows of us.
#[derive(Default)]
struct Session {
    id: i32,
    /// The number of the next request; 0 begins a session.
    epoch: i32,
    /// By slot, what was asked for last.
    told: HashMap<usize, (Want, Name)>,
}

impl Session {
    /// The next request, in an incremental session as well.
    fn next_epoch(&mut self, id: i32) {
        self.id = id;
        // The broker wants no session: each request names all.
        self.epoch = match (id, self.epoch) {
            (0, _) => 0,
            (_, i32::MAX) => 1,
            (_, epoch) => epoch + 1,
        };
        if id == 0 {
            self.told.clear();
        }
    }
}

impl Fetcher {
    /// Fetches until the broker leads nothing any more, or the feed is dropped.
    ///
    /// # Errors
    /// If the connection fails.
    pub(super) async fn run(
        parts: &Arc<Parts>,
        options: &Arc<Options>,
        broker: i32,
        connection: Connection,
    ) -> Result<()> {
        let mut fetcher = Fetcher {
            parts: Arc::clone(parts),
            options: Arc::clone(options),
            broker,
            connection,
            session: Session::default(),
        };
        let mut changes = parts.changes();
        loop {
            changes.mark_unchanged();
            let wants = {
                let mut state = parts.lock();
                let wants = state.wants(broker);
                if state.closed || wants.none {
                    // Under the lock: who makes this broker a leader again sees that nobody fetches from it.
                    state.connected.remove(&broker);
                    return Ok(());
                }
                wants
            };
            if wants.these.is_empty() {
                // Never fails: the sender lives in `parts`.
                let _ = changes.changed().await;
                continue;
            }
            fetcher.fetch(wants).await?;
        }
    }

    async fn fetch(&mut self, wants: Wants) -> Result<()> {
        let Wants { these, others, .. } = wants;
        let wait = if others { SHORT_WAIT.min(self.options.wait) } else { self.options.wait };
        let names: Vec<Name> = {
            let state = self.parts.lock();
            let name = |want: &Want| (Arc::clone(&state.parts[want.slot].topic), want.id, want.partition);
            these.iter().map(name).collect()
        };
        let with_ids = these.iter().all(|want| !want.id.is_nil());
        let ours = if with_ids { VERSIONS } else { (VERSIONS.0, WITH_IDS - 1) };
        let version = self.connection.version::<FetchRequest>(ours)?;
        let request = self.request(wait, these.into_iter().zip(names), version);
        let answer = self.connection.ask(version, &request, wait + REQUEST).await?;
        if errors::ends_session(answer.error_code) {
            tracing::debug!("broker {}: {}; a new session", self.broker, errors::text(answer.error_code));
            self.session = Session::default();
            return Ok(());
        }
        if answer.error_code != 0 {
            bail!("a fetch: {}", errors::text(answer.error_code));
        }
        let throttle = u64::try_from(answer.throttle_time_ms).unwrap_or(0);
        self.take(answer, version).await;
        if throttle > 0 {
            // For so long the broker would not answer.
            tracing::debug!("broker {}: a quota has it wait for {throttle} ms", self.broker);
            tokio::time::sleep(Duration::from_millis(throttle)).await;
        }
        Ok(())
    }

    /// Asks for these partitions: for all of them at the beginning of a session, then for what has changed since.
    fn request(
        &mut self,
        wait: Duration,
        wants: impl Iterator<Item = (Want, Name)>,
        version: i16,
    ) -> FetchRequest {
        let begins = self.session.epoch == 0;
        if begins {
            self.session.told.clear();
        }
        let mut gone = self.session.told.clone();
        let mut topics: BTreeMap<(Arc<str>, Uuid), Vec<FetchPartition>> = BTreeMap::new();
        for (want, name) in wants {
            gone.remove(&want.slot);
            let before = self.session.told.insert(want.slot, (want, name.clone()));
            if before.is_some_and(|(before, _)| before == want) {
                continue;
            }
            let (topic, id, partition) = name;
            topics.entry((topic, id)).or_default().push(
                FetchPartition::default()
                    .with_partition(partition)
                    .with_current_leader_epoch(want.epoch)
                    .with_last_fetched_epoch(want.read_epoch)
                    .with_fetch_offset(want.next)
                    .with_partition_max_bytes(self.options.of_partition),
            );
        }
        let topics = topics.into_iter().map(|((topic, id), partitions)| {
            let (topic, id) = named(version, &topic, id);
            FetchTopic::default().with_topic(topic).with_topic_id(id).with_partitions(partitions)
        });
        let mut forgotten: BTreeMap<(Arc<str>, Uuid), Vec<i32>> = BTreeMap::new();
        for (slot, (_, (topic, id, partition))) in gone {
            self.session.told.remove(&slot);
            forgotten.entry((topic, id)).or_default().push(partition);
        }
        let forgotten = forgotten.into_iter().map(|((topic, id), partitions)| {
            let (topic, topic_id) = named(version, &topic, id);
            ForgottenTopic::default().with_topic(topic).with_topic_id(topic_id).with_partitions(partitions)
        });
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(self.options.least)
            .with_max_bytes(self.options.most)
            .with_isolation_level(i8::from(self.options.committed))
            .with_topics(topics.collect());
        // Older brokers have no sessions.
        if version < 7 {
            return request.with_session_epoch(-1);
        }
        request
            .with_session_id(self.session.id)
            .with_session_epoch(self.session.epoch)
            .with_forgotten_topics_data(forgotten.collect())
    }

    /// Hands over what came.
    async fn take(&mut self, answer: FetchResponse, version: i16) {
        let mut wait = false;
        let slots: HashMap<(&str, Uuid, i32), Want> = self
            .session
            .told
            .values()
            .map(|(want, (topic, id, partition))| {
                let named = if version >= WITH_IDS { "" } else { topic.as_ref() };
                ((named, if version >= WITH_IDS { *id } else { Uuid::nil() }, *partition), *want)
            })
            .collect();
        for topic in answer.responses {
            for partition in topic.partitions {
                let name = (topic.topic.as_str(), topic.topic_id, partition.partition_index);
                if let Some(want) = slots.get(&name) {
                    wait |= self.take_one(*want, partition);
                }
            }
        }
        self.session.next_epoch(answer.session_id);
        if wait {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Hands over what came of a partition. Returns whether to wait a little before it is asked for again.
    fn take_one(&self, want: Want, came: PartitionData) -> bool {
        let Want { slot, round, next, .. } = want;
        if came.error_code != 0 {
            let text = errors::text(came.error_code);
            tracing::debug!("broker {}: slot {slot} at {next}: {text}", self.broker);
            match remedy(came.error_code) {
                Remedy::FindLeader => {
                    self.parts.lock().parts[slot].leader = None;
                    self.parts.changed();
                }
                Remedy::Tell(code) => self.parts.stop(slot, round, Wrong { code, text }),
                Remedy::Wait => {
                    if came.error_code != OFFSET_NOT_AVAILABLE {
                        let state = self.parts.lock();
                        let part = &state.parts[slot];
                        static OTHER: Folded = Folded::new("errors of partitions");
                        OTHER.warn_always(|| {
                            format!("{} partition {}: {text}; trying again", part.topic, part.partition)
                        });
                    }
                    return true;
                }
            }
            return false;
        }
        let diverging = &came.diverging_epoch;
        if diverging.epoch >= 0 || diverging.end_offset >= 0 {
            let state = self.parts.lock();
            let (topic, partition) = (Arc::clone(&state.parts[slot].topic), state.parts[slot].partition);
            drop(state);
            self.parts.fail(anyhow!(
                "{topic} partition {partition} was cut back to offset {}: records up to offset {next}, which this run has \
                 read, are not in it any more. A leader that did not have them was elected (unclean.leader.election.enable); \
                 what they were counted in can't be taken back: start again with another --state",
                diverging.end_offset
            ));
            return true;
        }
        let records = came.records.unwrap_or_default();
        let chunk = match reach(&records) {
            Ok(reach) => reach,
            Err(wrong) => {
                self.parts.stop(slot, round, wrong);
                return false;
            }
        };
        let mut aborted: Vec<(i64, i64)> = came
            .aborted_transactions
            .iter()
            .flatten()
            .map(|of| (of.producer_id.0, of.first_offset))
            .collect();
        aborted.sort_unstable_by_key(|(_, first)| *first);
        let chunk =
            chunk.map(|reach| (Chunk { records, aborted, from: next, checked: self.options.checked }, reach));
        let stable = if self.options.committed { came.last_stable_offset } else { came.high_watermark };
        // Before Kafka 0.11's messages are gone from the log, a broker may not tell.
        let stable = if stable < 0 { came.high_watermark } else { stable };
        self.parts.came(slot, round, Came { chunk, high: came.high_watermark, stable, broker: self.broker });
        false
    }
}

/// How a request names a topic.
fn named(version: i16, topic: &str, id: Uuid) -> (TopicName, Uuid) {
    if version >= WITH_IDS {
        (TopicName::default(), id)
    } else {
        (TopicName(StrBytes::from_string(topic.to_owned())), Uuid::nil())
    }
}
