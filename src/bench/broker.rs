//! The cluster under test, and the topics made in it.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::consumer::BaseConsumer;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::kafka::client::{Client, Fetch, Settings};
use crate::kafka::topics::{self, Making};

/// Records that the in-process broker keeps of a partition, with some to spare.
const RECORDS: u64 = 90_000;
/// Bytes that it keeps of a partition, with some to spare.
const BYTES: u64 = 4_500_000;
/// What a record takes there beside its value, at most.
const OVERHEAD: u64 = 16;

/// A cluster.
pub(super) struct Broker {
    settings: Settings,
    kind: Kind,
    /// How the names of all topics of this run begin.
    prefix: String,
    made: Cell<usize>,
}

enum Kind {
    Real(BaseConsumer<Client>),
    /// Not dropped while its clients live: they would complain. It can't leave its thread.
    InProcess(ManuallyDrop<MockCluster<'static, DefaultProducerContext>>),
}

impl Broker {
    /// The cluster that `settings` name, or librdkafka's in-process one.
    ///
    /// # Errors
    /// If no broker answers.
    pub(super) fn open(settings: Option<Settings>, fetch: Fetch) -> Result<Self> {
        let (settings, kind) = match settings {
            Some(settings) => {
                let client = settings.metadata()?;
                topics::connect(&client, &settings)?;
                (Settings { fetch, ..settings }, Kind::Real(client))
            }
            None => {
                let broker = MockCluster::new(1).context("starting the in-process broker")?;
                let settings = Settings {
                    brokers: broker.bootstrap_servers(),
                    // That broker answers a fetch that found nothing only after all of this time.
                    properties: vec![("fetch.wait.max.ms".to_owned(), "10".to_owned())],
                    files: Vec::new(),
                    connect_timeout: Duration::from_secs(10),
                    fetch,
                };
                (settings, Kind::InProcess(ManuallyDrop::new(broker)))
            }
        };
        let prefix = format!("cutwater-bench-{:08x}", rand::random::<u32>());
        Ok(Broker { settings, kind, prefix, made: Cell::new(0) })
    }

    /// How to reach it.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A name that no other run uses.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Makes a topic for `what`, whose records carry the time at which the broker appended them.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub(super) fn topic(&self, what: &str, partitions: i32) -> Result<Topic> {
        self.topic_with(what, partitions, &[("message.timestamp.type", "LogAppendTime")])
    }

    /// Makes a topic for `what`, whose records have the times that their writer says, and stay whatever those are.
    ///
    /// # Errors
    /// If the cluster refuses.
    pub(super) fn topic_of_samples(&self, what: &str, partitions: i32) -> Result<Topic> {
        self.topic_with(what, partitions, &[("retention.ms", "-1")])
    }

    fn topic_with(&self, what: &str, partitions: i32, properties: &[(&str, &str)]) -> Result<Topic> {
        let number = self.made.get();
        self.made.set(number + 1);
        let name = format!("{}-{number}-{what}", self.prefix);
        let delete = match &self.kind {
            Kind::Real(client) => {
                let making = Making { partitions, replication: None };
                topics::create(client, &self.settings, &name, making, properties)?;
                Some(self.settings.clone())
            }
            Kind::InProcess(broker) => {
                broker.create_topic(&name, partitions, 1).with_context(|| format!("making topic {name}"))?;
                None
            }
        };
        Ok(Topic { name, partitions, dated: delete.is_some(), delete })
    }
}

/// The most records of so many bytes each that the in-process broker keeps in so many partitions, which are filled in
/// turn.
pub(super) fn in_process_capacity(partitions: i32, bytes: u64) -> u64 {
    partitions as u64 * RECORDS.min(BYTES / (bytes + OVERHEAD))
}

/// A topic of this run. It is deleted when this is dropped.
pub(super) struct Topic {
    /// Its name.
    pub(super) name: String,
    /// How many partitions it has.
    pub(super) partitions: i32,
    /// True iff the broker says when it has appended a record; the in-process one says nothing of use.
    pub(super) dated: bool,
    /// How to reach the cluster, where there is something to delete.
    delete: Option<Settings>,
}

impl Drop for Topic {
    fn drop(&mut self) {
        if let Some(settings) = &self.delete
            && let Err(error) = topics::delete(settings, &self.name)
        {
            tracing::warn!("{error:#}");
        }
    }
}
