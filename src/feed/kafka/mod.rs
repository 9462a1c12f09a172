//! The Kafka feed: partitions by `assign`, read in batches, from and to offsets that are known before.

mod ask;
mod batch;
mod commits;
mod damage;
#[cfg_attr(not(feature = "direct"), path = "without_direct.rs")]
pub mod direct;
mod discovery;
mod leaders;
mod partition;
mod partitions;
mod reader;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rdkafka::consumer::BaseConsumer;

use super::{Feed, Feeds, Place};
use crate::fault::Fault;
use crate::kafka::access::Act;
use crate::kafka::client::{Client, Fetch, Settings};
use crate::kafka::identity::Pinned;
use crate::kafka::retry::retry;
use crate::kafka::topics::{self, Missing, Pattern, Topic};
use crate::shown::count;
use crate::state::cut::Topics;
use crate::status::Status;
use ask::{Asker, Ends};
use direct::Direct;
use discovery::{Discovery, Search};
use partitions::{KafkaFeed, Tools};
use watch::{About, Watch};

/// How long a request for offsets may take.
const REQUEST: Duration = Duration::from_secs(30);

/// Where to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the first record there is.
    Earliest,
    /// After the last record there is.
    Latest,
    /// Where the consumer group stands; at the first record where it stands nowhere.
    Committed,
    /// At the first record of this time (milliseconds since the Unix epoch) or later.
    Timestamp(i64),
    /// At this offset, in every partition.
    Offset(i64),
}

impl FromStr for From {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| match digits.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(number),
            _ => Err(format!("{digits:?} is not a whole number of 0 or more")),
        };
        match text.split_once(':') {
            None if text == "earliest" => Ok(From::Earliest),
            None if text == "latest" => Ok(From::Latest),
            None if text == "committed" => Ok(From::Committed),
            Some(("timestamp", ms)) => number(ms).map(From::Timestamp),
            Some(("offset", n)) => number(n).map(From::Offset),
            _ => Err("expected earliest, latest, committed, timestamp:MS or offset:N".to_owned()),
        }
    }
}

/// What to do about records that the topic no longer has.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDataLoss {
    /// End with an error that names the partition, the wanted and the first available offset
    Fail,
    /// Go on at the first available offset, with a warning that says how many are missing
    Continue,
}

/// What is to be read, and how.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Where to start.
    pub from: From,
    /// End at the offsets that are the end when the feed is opened.
    pub until_end: bool,
    /// What to do about records that are gone.
    pub on_data_loss: OnDataLoss,
    /// The consumer group to which offsets are committed, for Kafka's own tools to show the lag.
    pub group: String,
    /// False where a sink commits them, with the rows that they belong to.
    pub commits: bool,
}

/// The feeds of a job: topics of a cluster, by input.
pub struct KafkaFeeds {
    settings: Settings,
    reading: Reading,
    inputs: BTreeMap<String, Vec<Pattern>>,
    discovery: Discovery,
    fault: Fault,
    ends: Arc<Ends>,
    asker: Arc<Asker>,
    watch: Arc<Watch>,
    direct: Option<Arc<Direct>>,
    workers: usize,
}

impl KafkaFeeds {
    /// Connects, finds the topics of every input, and looks for new partitions and for recreated topics from then on,
    /// `written` ones included.
    ///
    /// # Errors
    /// If no broker answers in time, or a topic is missing.
    pub fn connect(
        settings: Settings,
        reading: Reading,
        inputs: BTreeMap<String, Vec<Pattern>>,
        written: Vec<String>,
        fault: &Fault,
    ) -> Result<Self> {
        let client = settings.metadata()?;
        topics::connect(&client, &settings)?;
        let patterns: Vec<Pattern> = inputs.values().flatten().cloned().collect();
        // A bounded run reads what is there now; nothing that comes later concerns it.
        let search = Search { patterns, written, closed: reading.until_end };
        let ids = Pinned::default();
        let topics = find(&settings, &client, &search, &ids, fault)?;
        tell(&inputs, &topics, reading.until_end)?;
        let partitions: Vec<(String, i32)> = topics
            .iter()
            .flat_map(|(topic, partitions)| (0..*partitions).map(move |partition| (topic.clone(), partition)))
            .collect();
        leaders::wait(&client, &partitions, settings.connect_timeout)?;
        let discovery = Discovery::start(client, search, topics, ids, fault.clone())?;
        let ends = Arc::new(Ends::new(settings.clone(), reading.group.clone()));
        let watch = Watch::start(About {
            settings: settings.clone(),
            reading: reading.clone(),
            patterns: inputs.values().flatten().cloned().collect(),
            found: Arc::clone(discovery.found()),
            ends: Arc::clone(&ends),
        })?;
        let asker = Arc::new(Asker::start(&settings)?);
        let direct = match settings.fetch {
            Fetch::Librdkafka => None,
            Fetch::Direct => Some(Arc::new(Direct::start(&settings, discovery.found().ids())?)),
        };
        Ok(KafkaFeeds {
            settings,
            reading,
            inputs,
            discovery,
            ends,
            asker,
            watch: Arc::new(watch),
            direct,
            workers: 1,
            fault: fault.clone(),
        })
    }

    /// So many workers of this process read them: their queues are bounded together.
    pub fn with_workers(self, workers: usize) -> Self {
        KafkaFeeds { workers, ..self }
    }

    /// Has `status` hear of the ends of all partitions, those that other processes read included, about once a second.
    pub fn show_lag(&self, status: &Status) {
        self.watch.show(status.clone());
    }
}

/// Checks how records are to be fetched, without a connection.
///
/// # Errors
/// If a property can't be honoured: names it.
pub fn check_fetch(settings: &Settings) -> Result<()> {
    match settings.fetch {
        Fetch::Librdkafka => Ok(()),
        Fetch::Direct => Direct::check(settings),
    }
}

/// Finds the topics that are searched for, once all are there that are named.
///
/// # Errors
/// If no broker answers in time, or a topic stays missing: that says how to make it.
fn find(
    settings: &Settings,
    client: &BaseConsumer<Client>,
    search: &Search,
    ids: &Pinned,
    fault: &Fault,
) -> Result<Vec<Topic>> {
    let look = || retry(fault, || search.look(client, ids));
    let missing = |error: &anyhow::Error| error.is::<Missing>();
    topics::settled(fault, look, |topics| !topics.as_ref().is_err_and(missing)).map_err(|error| {
        match error.downcast_ref::<Missing>() {
            Some(missing) if settings.is_hidden(client, missing.name()) => {
                settings.denied(Act::Read(missing.name()))
            }
            Some(missing) => {
                anyhow!("{missing} (to make it: {})", topics::how_to_make(&settings.brokers, missing.name()))
            }
            None => error,
        }
    })
}

/// Says which topics each input reads.
///
/// # Errors
/// If none matches, and the run would not wait for one: with `until_end`.
fn tell(inputs: &BTreeMap<String, Vec<Pattern>>, topics: &[Topic], until_end: bool) -> Result<()> {
    for (input, patterns) in inputs {
        for pattern in patterns {
            let partitions: i32 = topics
                .iter()
                .filter(|(topic, _)| pattern.matches(topic))
                .map(|(_, partitions)| partitions)
                .sum();
            let count = |partitions: i32| count(partitions.unsigned_abs().into(), "partition");
            match pattern {
                Pattern::Regex { typed, .. } if partitions == 0 && until_end => bail!(
                    "input {input}: no topic matches {typed}: --until-end reads what is there now, and that is \
                     nothing"
                ),
                Pattern::Regex { typed, .. } if partitions == 0 => {
                    tracing::warn!("input {input}: no topic matches {typed} yet; looking for new ones");
                }
                Pattern::Regex { typed, .. } => {
                    tracing::info!("input {input}: topics {typed}, {}", count(partitions))
                }
                Pattern::Name(name) => {
                    tracing::info!("input {input}: topic {name}, {}", count(partitions))
                }
            }
        }
    }
    Ok(())
}

impl KafkaFeeds {
    /// The names of the topics that were found.
    pub fn topics(&self) -> Vec<String> {
        self.discovery.found().topics().into_iter().map(|(topic, _)| topic).collect()
    }

    /// The ids of the topics that are read or written.
    pub fn ids(&self) -> &Pinned {
        self.discovery.found().ids()
    }
}

impl Feeds for KafkaFeeds {
    fn open(&self, input: &str, place: Place, begin: Option<&Topics>) -> Result<Box<dyn Feed>> {
        let patterns =
            self.inputs.get(input).with_context(|| format!("input {input:?} is bound to no topic"))?;
        for (topic, partitions) in begin.into_iter().flatten() {
            for (&partition, &offset) in partitions {
                self.watch.begins(topic, partition, offset);
            }
        }
        let tools = Tools {
            found: Arc::clone(self.discovery.found()),
            ends: Arc::clone(&self.ends),
            asker: Arc::clone(&self.asker),
            watch: Arc::clone(&self.watch),
            direct: self.direct.clone(),
            feeds: self.workers * self.inputs.len(),
        };
        let mut feed = KafkaFeed::new(
            self.settings.clone(),
            self.reading.clone(),
            patterns.clone(),
            place,
            tools,
            &self.fault,
        );
        match begin {
            Some(begin) => feed.resume(begin)?,
            None => feed.begin()?,
        }
        Ok(Box::new(feed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_is_read() {
        assert_eq!("earliest".parse(), Ok(From::Earliest));
        assert_eq!("timestamp:1700000000000".parse(), Ok(From::Timestamp(1_700_000_000_000)));
        assert_eq!("offset:0".parse(), Ok(From::Offset(0)));
        for wrong in ["", "Earliest", "offset:", "offset:-1", "timestamp:now", "offset"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong}");
        }
    }
}
