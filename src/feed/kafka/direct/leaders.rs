//! Who leads the partitions of a feed: asked for where that is not known, and then a connection there is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use rdkafka::types::RDKafkaErrorCode;
use uuid::Uuid;

use super::batch::Wrong;
use super::connection::{Connection, Oversized, REQUEST};
use super::errors::{self, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION};
use super::fetch::Fetcher;
use super::parts::Parts;
use super::properties::Options;
use crate::address;
use crate::fold::Folded;
use crate::kafka::identity::Ids;

/// The versions of the question that are known here.
const VERSIONS: (i16, i16) = (1, 12);
/// From here on the answer tells ids of topics.
const WITH_IDS: i16 = 10;
/// How long to wait before the next question, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long to wait after a connection has failed.
const RECONNECT: Duration = Duration::from_millis(200);
/// After how long a topic that is not there any more is taken for deleted: a broker that has just come up may not know its
/// topics yet.
const GONE: Duration = Duration::from_secs(10);

/// Finds leaders.
pub(super) struct Leaders {
    parts: Arc<Parts>,
    options: Arc<Options>,
    /// Addresses of brokers, by id, as last told.
    brokers: BTreeMap<i32, String>,
    /// The one that answers.
    connection: Option<Connection>,
    /// Since when topics are not there.
    missing: BTreeMap<Arc<str>, Instant>,
}

impl Leaders {
    /// Finds leaders whenever one is not known, until the feed is dropped.
    pub(super) async fn run(parts: Arc<Parts>, options: Arc<Options>) {
        let mut leaders = Leaders {
            parts: Arc::clone(&parts),
            options,
            brokers: BTreeMap::new(),
            connection: None,
            missing: BTreeMap::new(),
        };
        let mut changes = parts.changes();
        let mut pause = PAUSES.0;
        let mut earliest = Instant::now();
        loop {
            changes.mark_unchanged();
            let (closed, topics) = leaders.wanted();
            if closed {
                return;
            }
            if topics.is_empty() {
                pause = PAUSES.0;
                // Never fails: the sender lives in `parts`.
                let _ = changes.changed().await;
                continue;
            }
            // A broker that does not know of the new leader yet would be asked as fast as it answers.
            tokio::time::sleep_until(earliest.into()).await;
            earliest = Instant::now() + PAUSES.0;
            if let Err(error) = leaders.find(&topics).await {
                leaders.connection = None;
                static AWAY: Folded = Folded::new("questions for leaders that no broker has answered");
                AWAY.warn_always(|| format!("asking for the leaders of partitions: {error:#}; asking again"));
            }
            let (_, left) = leaders.wanted();
            if !left.is_empty() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }

    /// Whether the feed was dropped, and the topics of which a partition has no leader.
    fn wanted(&self) -> (bool, BTreeSet<Arc<str>>) {
        let state = self.parts.lock();
        let without = state.parts.iter().filter(|part| part.leader.is_none());
        (state.closed, without.map(|part| Arc::clone(&part.topic)).collect())
    }

    async fn find(&mut self, topics: &BTreeSet<Arc<str>>) -> Result<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let connection = self.connection.insert(connection);
        let version = connection.version::<MetadataRequest>(VERSIONS)?;
        let topics = topics.iter().map(|topic| {
            MetadataRequestTopic::default()
                .with_name(Some(TopicName(StrBytes::from_string(topic.to_string()))))
        });
        let request = MetadataRequest::default()
            .with_topics(Some(topics.collect()))
            .with_allow_auto_topic_creation(false);
        let answer: MetadataResponse = connection.ask(version, &request, REQUEST).await?;
        self.take(answer, version);
        Ok(())
    }

    /// Connects to any broker: to one that was told of, else to one that the user has named.
    async fn connect(&self) -> Result<Connection> {
        let known = self.brokers.values();
        let named =
            self.options.brokers.iter().filter(|named| !self.brokers.values().any(|known| known == *named));
        let mut last = None;
        for address in known.chain(named) {
            match Connection::open(address, &self.options.access).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error.context(address.clone())),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no broker is named")))
    }

    fn take(&mut self, answer: MetadataResponse, version: i16) {
        self.brokers = answer
            .brokers
            .iter()
            .map(|broker| (broker.node_id.0, address::joined(&broker.host, broker.port)))
            .collect();
        for topic in &answer.topics {
            let Some(name) = topic.name.as_ref().map(|name| name.as_str()) else { continue };
            self.take_topic(name, topic, version);
        }
        self.connect_to_leaders();
    }

    fn take_topic(&mut self, name: &str, topic: &MetadataResponseTopic, version: i16) {
        match topic.error_code {
            0 => drop(self.missing.remove(name)),
            TOPIC_AUTHORIZATION_FAILED => {
                return self.tell(name, RDKafkaErrorCode::TopicAuthorizationFailed, topic.error_code);
            }
            UNKNOWN_TOPIC_OR_PARTITION => {
                let since = *self.missing.entry(Arc::from(name)).or_insert_with(Instant::now);
                if since.elapsed() >= GONE {
                    self.tell(name, RDKafkaErrorCode::UnknownTopicOrPartition, topic.error_code);
                }
                return;
            }
            code => return tracing::debug!("topic {name}: {}", errors::text(code)),
        }
        let id = if version >= WITH_IDS { topic.topic_id } else { Uuid::nil() };
        if !id.is_nil() {
            let shown = URL_SAFE_NO_PAD.encode(id.as_bytes());
            if let Err(error) = self.options.ids.learn(&Ids::from([(name.to_owned(), Some(shown))])) {
                return self.parts.fail(error);
            }
        }
        let mut state = self.parts.lock();
        for part in state.parts.iter_mut().filter(|part| part.topic.as_ref() == name && part.leader.is_none())
        {
            let Some(told) = topic.partitions.iter().find(|told| told.partition_index == part.partition)
            else {
                continue;
            };
            // An answer may be older than what was learned from another broker.
            if told.leader_id.0 >= 0
                && told.leader_epoch >= part.epoch
                && self.brokers.contains_key(&told.leader_id.0)
            {
                (part.leader, part.epoch, part.id) = (Some(told.leader_id.0), told.leader_epoch, id);
            }
        }
    }

    /// Tells the worker of an error of a topic's partitions that have no leader.
    fn tell(&self, topic: &str, code: RDKafkaErrorCode, error: i16) {
        let slots: Vec<(usize, u64)> = {
            let state = self.parts.lock();
            let of = state.parts.iter().enumerate();
            of.filter(|(_, part)| part.topic.as_ref() == topic && part.leader.is_none())
                .map(|(slot, part)| (slot, part.round))
                .collect()
        };
        for (slot, round) in slots {
            self.parts.stop(slot, round, Wrong { code, text: errors::text(error) });
        }
    }

    /// Has a task fetch from each leader from which none does.
    fn connect_to_leaders(&self) {
        let new: Vec<i32> = {
            let mut state = self.parts.lock();
            let leaders: BTreeSet<i32> = state.parts.iter().filter_map(|part| part.leader).collect();
            leaders.into_iter().filter(|leader| state.connected.insert(*leader)).collect()
        };
        for broker in new {
            let Some(address) = self.brokers.get(&broker) else { continue };
            let (parts, options) = (Arc::clone(&self.parts), Arc::clone(&self.options));
            watched(&self.parts, fetch(parts, options, broker, address.clone()));
        }
        self.parts.changed();
    }
}

/// Runs a task. If it panics, that ends the run: nobody would fetch any more, and nothing would be said.
pub(super) fn watched(parts: &Arc<Parts>, task: impl Future<Output = ()> + Send + 'static) {
    let (parts, task) = (Arc::clone(parts), tokio::spawn(task));
    tokio::spawn(async move {
        if let Err(error) = task.await
            && error.is_panic()
        {
            parts.fail(anyhow::anyhow!(
                "fetching records has failed, which is a fault in Cutwater; please report it"
            ));
        }
    });
}

/// Fetches from a broker, until its connection fails: then leaders are looked for again.
async fn fetch(parts: Arc<Parts>, options: Arc<Options>, broker: i32, address: String) {
    let connection = Connection::open(&address, &options.access).await;
    let failed = match connection.context("connecting") {
        Ok(connection) => Fetcher::run(&parts, &options, broker, connection).await,
        Err(error) => Err(error),
    };
    if let Err(error) = failed {
        if error.is::<Oversized>() {
            return parts.fail(error.context(format!("broker {broker} at {address}")));
        }
        static FAILED: Folded = Folded::new("connections that have failed");
        FAILED.warn_always(|| format!("broker {broker} at {address}: {error:#}; connecting again"));
        tokio::time::sleep(RECONNECT).await;
        parts.lock().connected.remove(&broker);
        parts.lose_leader(|part| part.leader == Some(broker));
    }
}
