//! Cuts: for each partition, the offset after the last record of an epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Offsets of partitions, by input, topic and partition: whole cuts, and what an epoch adds to one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cut(pub BTreeMap<String, Topics>);

/// Offsets of one input's partitions, by topic.
pub type Topics = BTreeMap<String, BTreeMap<i32, i64>>;

impl Cut {
    /// The offset of a partition.
    pub fn get(&self, input: &str, topic: &str, partition: i32) -> Option<i64> {
        self.0.get(input)?.get(topic)?.get(&partition).copied()
    }

    /// Sets the offset of a partition; returns the one before.
    pub fn set(&mut self, input: &str, topic: &str, partition: i32, offset: i64) -> Option<i64> {
        let topics = self.0.entry(input.to_owned()).or_default();
        topics.entry(topic.to_owned()).or_default().insert(partition, offset)
    }

    /// Takes over the offsets of another cut, partition by partition.
    pub fn advance(&mut self, by: &Cut) {
        for (input, topic, partition, offset) in by.iter() {
            self.set(input, topic, partition, offset);
        }
    }

    /// All partitions with their offsets, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, i32, i64)> {
        self.0.iter().flat_map(|(input, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                partitions
                    .iter()
                    .map(move |(&partition, &offset)| (input.as_str(), topic.as_str(), partition, offset))
            })
        })
    }

    /// The offsets of one input.
    pub fn of(&self, input: &str) -> Topics {
        self.0.get(input).cloned().unwrap_or_default()
    }

    /// The offsets by topic, whatever reads it; the least where several inputs read a partition.
    pub fn by_topic(&self) -> Topics {
        let mut all = Topics::new();
        for (topic, partitions) in self.0.values().flatten().filter(|(_, all)| !all.is_empty()) {
            let known = all.entry(topic.clone()).or_default();
            for (&partition, &offset) in partitions {
                known.entry(partition).and_modify(|least| *least = offset.min(*least)).or_insert(offset);
            }
        }
        all
    }

    /// True iff it holds no partition.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}
