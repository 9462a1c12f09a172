//! How large a record a topic takes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_executor::block_on;
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::client::{Client, LARGEST, Settings};
use super::native::topic_ids::controller;

/// How long the question may take.
const REQUEST: Duration = Duration::from_secs(10);
/// What is assumed where a topic does not tell: a little less than the brokers' default.
const USUAL: usize = 1_000_000;
/// The most bytes of records that are sent together anyhow: librdkafka's own default.
pub const BATCH: usize = 1_000_000;
/// The topic's property.
pub const PROPERTY: &str = "max.message.bytes";

/// The most bytes of a record that a client may send to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The topic's `max.message.bytes`; `None` where it does not tell.
    pub topic: Option<usize>,
    /// The client's `message.max.bytes`.
    pub client: usize,
}

impl Limit {
    /// Asks a topic. One that does not tell is no error: this user may not be allowed to ask.
    pub fn of(client: &BaseConsumer<Client>, settings: &Settings, topic: &str) -> Limit {
        let most = ask(client, settings, topic);
        let most =
            most.inspect_err(|error| tracing::debug!("topic {topic}: {PROPERTY} is not known: {error:#}"));
        let client = settings.property("message.max.bytes").unwrap_or(LARGEST);
        Limit { topic: most.ok(), client: client.parse().unwrap_or(usize::MAX) }
    }

    /// The most bytes that a record may have.
    pub fn bytes(&self) -> usize {
        self.topic.unwrap_or(USUAL).min(self.client)
    }

    /// The most bytes of records to send together, before they are compressed: the topic takes as many, however well that
    /// goes.
    pub fn batch(&self) -> usize {
        self.bytes().min(BATCH)
    }
}

impl std::fmt::Display for Limit {
    /// What sets the limit.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.topic {
            Some(topic) if topic <= self.client => write!(f, "the topic's {PROPERTY}={topic}"),
            None if USUAL <= self.client => {
                write!(f, "the topic's {PROPERTY}, which this user may not ask for")
            }
            _ => write!(f, "the client's message.max.bytes={}", self.client),
        }
    }
}

fn ask(client: &BaseConsumer<Client>, settings: &Settings, topic: &str) -> Result<usize> {
    let metadata = client.fetch_metadata(None, REQUEST)?;
    let controller = controller(client.client());
    // librdkafka's in-process broker names a controller that it does not have, and nobody would answer.
    let there = metadata.brokers().iter().any(|broker| Some(broker.id()) == controller);
    ensure!(there, "nobody answers such questions");
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let admin = settings.admin()?;
    let answer = block_on(admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options))?;
    let resource = answer.into_iter().next().context("no answer")??;
    let value = resource.get(PROPERTY).and_then(|entry| entry.value.as_deref()).context("it is not told")?;
    Ok(value.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_limit_counts_and_is_named() {
        let limit = |topic, client| Limit { topic, client };
        let shown = |limit: Limit| (limit.bytes(), limit.to_string());
        assert_eq!(shown(limit(Some(5000), 9000)), (5000, "the topic's max.message.bytes=5000".into()));
        assert_eq!(shown(limit(Some(5000), 900)), (900, "the client's message.max.bytes=900".into()));
        assert_eq!(shown(limit(None, 900)), (900, "the client's message.max.bytes=900".into()));
        let unknown = (1_000_000, "the topic's max.message.bytes, which this user may not ask for".into());
        assert_eq!(shown(limit(None, 100_000_000)), unknown);
    }
}
