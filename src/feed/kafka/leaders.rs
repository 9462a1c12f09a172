//! Leaders: a partition without one can't be read, nor asked about.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;

use crate::kafka::client::Client;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(500);

/// How long something has to be wrong before it is said.
pub(super) const TELL: Duration = Duration::from_secs(10);

/// Partitions, by topic.
pub(super) type Missing = BTreeMap<String, Vec<i32>>;

/// Partitions with a leader and without. Those that the cluster does not have are neither.
#[derive(Default)]
pub(super) struct Leaders {
    pub(super) led: Vec<(String, i32)>,
    pub(super) missing: Missing,
}

impl Leaders {
    /// Adds partitions, as the metadata say.
    pub(super) fn add<'a>(&mut self, metadata: &Metadata, partitions: impl Iterator<Item = (&'a str, i32)>) {
        let brokers: Vec<i32> = metadata.brokers().iter().map(|broker| broker.id()).collect();
        let topics: BTreeMap<&str, BTreeMap<i32, i32>> = metadata
            .topics()
            .iter()
            .map(|topic| (topic.name(), topic.partitions().iter().map(|p| (p.id(), p.leader())).collect()))
            .collect();
        for (topic, partition) in partitions {
            match topics.get(topic).and_then(|leaders| leaders.get(&partition)) {
                Some(leader) if brokers.contains(leader) => self.led.push((topic.to_owned(), partition)),
                Some(_) => self.missing.entry(topic.to_owned()).or_default().push(partition),
                None => {}
            }
        }
    }
}

/// Names partitions: `lines partitions 0, 2, orders partition 1`.
pub(super) fn names(partitions: &Missing) -> String {
    let topics = partitions.iter().map(|(topic, partitions)| {
        let numbers: Vec<String> = partitions.iter().map(i32::to_string).collect();
        format!("{topic} partition{} {}", if numbers.len() == 1 { "" } else { "s" }, numbers.join(", "))
    });
    topics.collect::<Vec<_>>().join(", ")
}

/// A time, for people.
pub(super) fn shown(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

/// Waits until all of these partitions have a leader.
///
/// # Errors
/// If they have none after that time: names them.
pub(super) fn wait(
    client: &BaseConsumer<Client>,
    partitions: &[(String, i32)],
    timeout: Duration,
) -> Result<()> {
    let (start, since) = (Instant::now(), SystemTime::now());
    let mut told = false;
    loop {
        let missing = match client.fetch_metadata(None, REQUEST) {
            Ok(metadata) => {
                let mut leaders = Leaders::default();
                leaders.add(&metadata, partitions.iter().map(|(topic, p)| (topic.as_str(), *p)));
                leaders.missing
            }
            // The broker is away for a moment: its client says so.
            Err(error) if start.elapsed() < timeout => {
                tracing::debug!("asking for the leaders of partitions: {error}");
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if missing.is_empty() {
            return Ok(());
        }
        if start.elapsed() >= timeout {
            bail!(
                "{}: no leader within {timeout:?}; is the broker that holds it up? --connect-timeout sets how long to \
                 wait",
                names(&missing)
            );
        }
        if !told && start.elapsed() >= TELL {
            told = true;
            tracing::warn!(
                "{}: no leader since {} or before; waiting for another {} s",
                names(&missing),
                shown(since),
                (timeout - start.elapsed()).as_secs()
            );
        }
        std::thread::sleep(PAUSE);
    }
}
