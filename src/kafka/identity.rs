//! Which cluster and which topics these are: what tells them from others of the same address and name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::consumer::{BaseConsumer, Consumer};

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

/// The ids of topics, as Kafka's tools show them: a topic that is made anew has another. Topics that are not there are
/// left out; `None` stands for a topic whose broker tells no id.
///
/// # Errors
/// If no broker answers, or the cluster does not tell.
pub fn topic_ids(client: &BaseConsumer<Client>, names: &[&str]) -> Result<BTreeMap<String, Option<String>>> {
    let doing = "asking for the topics' ids";
    let metadata = client.fetch_metadata(None, REQUEST).context(doing)?;
    if let Some(controller) = controller(client.client())
        && !metadata.brokers().iter().any(|broker| broker.id() == controller)
    {
        // librdkafka's in-process broker: it names a controller that it does not have, and nobody would answer.
        let there = |name: &&str| metadata.topics().iter().any(|topic| topic.name() == *name);
        return Ok(names.iter().copied().filter(there).map(|name| (name.to_owned(), None)).collect());
    }
    // librdkafka takes each name once.
    let names: BTreeSet<&str> = names.iter().copied().collect();
    let names: Vec<&str> = names.into_iter().collect();
    let ids = ask(client.client(), &names, REQUEST).context(doing)?;
    let shown = |id: u128| (id != 0).then(|| URL_SAFE_NO_PAD.encode(id.to_be_bytes()));
    Ok(ids.into_iter().map(|(name, id)| (name, shown(id))).collect())
}
