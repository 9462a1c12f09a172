//! Which cluster and which topics these are: what tells them from others of the same address and name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::Client;
use super::native::topic_ids::{controller, topic_ids as ask};

/// How long a question may take.
const REQUEST: Duration = Duration::from_secs(10);

/// The id of the cluster, which it keeps for life; `None` if its brokers tell none.
///
/// # Errors
/// If no broker answers.
pub fn cluster_id(client: &BaseConsumer<Client>) -> Result<Option<String>> {
    client.fetch_metadata(None, REQUEST).context("asking for the cluster's id")?;
    Ok(client.client().fetch_cluster_id(REQUEST))
}

/// The ids of topics, by name; `None` stands for a topic whose broker tells no id.
pub type Ids = BTreeMap<String, Option<String>>;

/// The ids of topics, as Kafka's tools show them: a topic that is deleted and recreated has another. Topics that are not
/// there are left out.
///
/// # Errors
/// If no broker answers, or the cluster does not tell.
pub fn topic_ids(client: &BaseConsumer<Client>, names: &[&str]) -> Result<Ids> {
    let doing = "asking for the topics' ids";
    let metadata = client.fetch_metadata(None, REQUEST).context(doing)?;
    // librdkafka takes each name once. It need not ask for those that are not there.
    let names: BTreeSet<&str> = names.iter().copied().collect();
    let there = |name: &&str| {
        metadata.topics().iter().any(|topic| topic.name() == *name && !topic.partitions().is_empty())
    };
    let names: Vec<&str> = names.into_iter().filter(there).collect();
    let untold = || names.iter().map(|&name| (name.to_owned(), None)).collect();
    if let Some(controller) = controller(client.client())
        && !metadata.brokers().iter().any(|broker| broker.id() == controller)
    {
        // librdkafka's in-process broker: it names a controller that it does not have, and nobody would answer.
        return Ok(untold());
    }
    if names.is_empty() {
        return Ok(Ids::new());
    }
    let ids = match ask(client.client(), &names, REQUEST) {
        Ok(ids) => ids,
        Err(error) if is_unsupported(&error) => return Ok(untold()),
        Err(error) => return Err(error).context(doing),
    };
    let shown = |id: u128| (id != 0).then(|| URL_SAFE_NO_PAD.encode(id.to_be_bytes()));
    Ok(ids.into_iter().map(|(name, id)| (name, shown(id))).collect())
}

/// True iff the brokers don't know the question.
fn is_unsupported(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref().and_then(KafkaError::rdkafka_error_code);
    matches!(code, Some(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion))
}

/// A topic has another id than before: it was deleted and recreated. Its name, its id before, and its id now.
#[derive(Debug)]
pub struct Recreated(String, String, String);

impl std::fmt::Display for Recreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Recreated(topic, before, now) = self;
        write!(
            f,
            "topic {topic} was deleted and recreated (its id was {before}, now {now}): it is another topic. Start again for \
             the new one; a job with state, with another --state"
        )
    }
}

impl std::error::Error for Recreated {}

/// The ids of a run's topics. The first id of a topic that is learned is the one that it must keep. Clones share them.
#[derive(Clone, Default)]
pub struct Pinned(Arc<Mutex<Ids>>);

impl Pinned {
    /// Takes ids of topics.
    ///
    /// # Errors
    /// If a topic has another id than before: it was deleted and recreated. Names it, with both ids.
    pub fn learn(&self, ids: &Ids) -> Result<()> {
        let mut pinned = self.lock();
        for (topic, id) in ids {
            let known = pinned.entry(topic.clone()).or_default();
            match (&known, id) {
                (Some(before), Some(now)) if before != now => {
                    return Err(Recreated(topic.clone(), before.clone(), now.clone()).into());
                }
                (None, Some(_)) => *known = id.clone(),
                _ => {}
            }
        }
        Ok(())
    }

    /// The id of a topic, where it is known.
    pub fn get(&self, topic: &str) -> Option<String> {
        self.lock().get(topic).cloned().flatten()
    }

    /// Those of the topics that are known.
    pub fn of<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> Ids {
        let pinned = self.lock();
        topics.into_iter().map(|topic| (topic.to_owned(), pinned.get(topic).cloned().flatten())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_of_a_topic_stays() {
        let pinned = Pinned::default();
        let ids = |id: Option<&str>| Ids::from([("t".to_owned(), id.map(str::to_owned))]);
        for id in [None, Some("a"), Some("a"), None] {
            pinned.learn(&ids(id)).unwrap();
        }
        let error = pinned.clone().learn(&ids(Some("b"))).unwrap_err().to_string();
        assert!(
            error.contains("topic t was deleted and recreated") && error.contains("was a, now b"),
            "{error}"
        );
        assert_eq!(pinned.get("t").as_deref(), Some("a"));
        assert_eq!(pinned.of(["t", "u"]).values().flatten().count(), 1);
    }
}
