//! Which cluster and which topics these are: what tells them from others of the same address and name.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::client::Client;
use super::native::topic_ids::topic_ids as native_ids;

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
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids = native_ids(client.client(), names, REQUEST).context("asking for the topics' ids")?;
    let shown = |id: u128| (id != 0).then(|| URL_SAFE_NO_PAD.encode(id.to_be_bytes()));
    Ok(ids.into_iter().map(|(name, id)| (name, shown(id))).collect())
}
