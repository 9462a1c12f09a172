//! What a consumer group has committed: offsets, each with the epoch and job that they belong to.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;

use crate::kafka::access::Act;
use crate::kafka::client::Settings;
use crate::kafka::deliveries::reason;
use crate::kafka::mark::Mark;
use crate::retry::Retry;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);

/// A topic and one of its partitions.
pub(super) type Partition = (String, i32);

/// What a group has committed of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: i64,
    /// `None`: by something that is no Kafka sink of ours.
    pub(super) mark: Option<Mark>,
}

/// A consumer group that nobody is a member of.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) settings: Settings,
}

impl Group {
    /// What a transaction needs to commit offsets of the group.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub(super) fn metadata(&self) -> Result<ConsumerGroupMetadata> {
        let consumer = self.settings.consumer(&self.name, 1)?;
        consumer.group_metadata().context("a consumer of a group knows its group")
    }

    /// What is committed of these partitions; those are missing of which nothing is. Transactions that are about to
    /// end are waited for.
    ///
    /// # Errors
    /// If this user may not ask, or `retry` has ended.
    pub(super) fn read(
        &self,
        partitions: impl IntoIterator<Item = Partition>,
        mut retry: Retry,
    ) -> Result<BTreeMap<Partition, Committed>> {
        let mut asked = TopicPartitionList::new();
        for (topic, partition) in partitions {
            asked.add_partition(&topic, partition);
        }
        if asked.count() == 0 {
            return Ok(BTreeMap::new());
        }
        let what = || format!("asking what group {:?} has committed", self.name);
        // A new one for each question: questions are rare, and an idle consumer holds connections.
        let consumer = self.settings.consumer(&self.name, 1)?;
        loop {
            match consumer.committed_offsets(asked.clone(), REQUEST).and_then(|list| answer(&list)) {
                Ok(committed) => return Ok(committed),
                Err(error)
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) =>
                {
                    return Err(self.settings.denied(Act::Group(&self.name)));
                }
                Err(error) if is_forbidden(&error) => return Err(error).with_context(what),
                Err(error) => {
                    let why = consumer.context().last_failure().unwrap_or_else(|| reason(&error));
                    retry.wait(&format!("{}: {why}", what()))?;
                }
            }
        }
    }
}

fn answer(list: &TopicPartitionList) -> KafkaResult<BTreeMap<Partition, Committed>> {
    let mut committed = BTreeMap::new();
    for element in list.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            let mark = Mark::read(element.metadata());
            committed.insert((element.topic().to_owned(), element.partition()), Committed { offset, mark });
        }
    }
    Ok(committed)
}

/// Will asking again give the same answer?
fn is_forbidden(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::InvalidGroupId
        )
    )
}
