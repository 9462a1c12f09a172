//! How a feed's records are read: by librdkafka, or by fetches of our own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::direct::reader::{Copied, Reader as Direct};
use crate::kafka::client::Client;
use crate::kafka::native::batch::{Batches, Event, Kept as KeptMessage, Lent};

/// Reads the partitions of a feed. The client is there either way: it commits offsets, and answers questions.
pub(super) struct Reader {
    client: Batches<Client>,
    direct: Option<Direct>,
}

/// What is read, for the length of a call.
pub(super) trait Handed {
    /// What it is.
    fn event(&self) -> Event<'_>;
    /// The topic that it is of; empty where it is of none.
    fn topic(&self) -> &str;
    /// The partition of that topic.
    fn partition(&self) -> i32;
    /// The broker that it came from, where that is known.
    fn broker(&self) -> Option<i32>;
    /// True only if it is of the same partition as the one before it, in the same call.
    fn follows(&self) -> bool;
    /// Keeps it beyond the call.
    fn keep(self) -> Kept;
}

/// What was read, kept.
pub(super) enum Kept {
    /// librdkafka's own.
    Message(KeptMessage<Client>),
    /// A copy.
    #[cfg_attr(not(feature = "direct"), expect(dead_code))]
    Copied(Copied),
}

impl Kept {
    /// What it is.
    pub(super) fn event(&self) -> Event<'_> {
        match self {
            Kept::Message(message) => message.event(),
            Kept::Copied(record) => record.event(),
        }
    }
}

impl Handed for Lent<'_, Client> {
    fn event(&self) -> Event<'_> {
        Lent::event(self)
    }
    fn topic(&self) -> &str {
        Lent::topic(self)
    }
    fn partition(&self) -> i32 {
        Lent::partition(self)
    }
    fn broker(&self) -> Option<i32> {
        Lent::broker(self)
    }
    fn follows(&self) -> bool {
        Lent::follows(self)
    }
    fn keep(self) -> Kept {
        Kept::Message(Lent::keep(self))
    }
}

/// A partition and an offset.
pub(super) type At<'a> = (&'a str, i32, i64);

impl Reader {
    /// Reads by `client`, or by `direct` if that is there.
    pub(super) fn new(client: Batches<Client>, direct: Option<Direct>) -> Self {
        Reader { client, direct }
    }

    /// The client.
    pub(super) fn consumer(&self) -> &Arc<BaseConsumer<Client>> {
        self.client.consumer()
    }

    /// Takes partitions on, beside those that are there.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub(super) fn add(&mut self, partitions: &[At<'_>]) -> Result<()> {
        match &mut self.direct {
            Some(direct) => {
                direct.assign(partitions.iter().copied());
                Ok(())
            }
            // Only the new ones: what was fetched ahead of others stays, and librdkafka aborts the program where a partition
            // is taken away for the second time before the first has been carried out (librdkafka #5573).
            None => {
                self.consumer().incremental_assign(&with_offsets(partitions)?).context("assigning partitions")
            }
        }
    }

    /// Has these fetched from these offsets, all that were not finished, and none of them paused.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub(super) fn assign(&mut self, partitions: &[At<'_>]) -> Result<()> {
        match &mut self.direct {
            Some(direct) => {
                direct.assign(partitions.iter().copied());
                Ok(())
            }
            None => self.consumer().assign(&with_offsets(partitions)?).context("assigning partitions"),
        }
    }

    /// Has one fetched from this offset. Nothing that was fetched before comes after this, and this does not wait.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub(super) fn seek(&mut self, (topic, partition, offset): At<'_>) -> Result<()> {
        match &mut self.direct {
            Some(direct) => {
                direct.assign([(topic, partition, offset)].into_iter());
                Ok(())
            }
            None => self
                .consumer()
                .seek(topic, partition, Offset::Offset(offset), Duration::ZERO)
                .with_context(|| format!("going back to {topic} partition {partition} offset {offset}")),
        }
    }

    /// Pauses partitions, or resumes them.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub(super) fn pause(&mut self, partitions: &[(&str, i32)], pause: bool) -> Result<()> {
        if let Some(direct) = &mut self.direct {
            direct.pause(partitions.iter().copied(), pause);
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        match pause {
            true => self.consumer().pause(&list).context("pausing partitions"),
            false => self.consumer().resume(&list).context("resuming partitions"),
        }
    }

    /// The end of a partition as last heard from its leader; `None` before the first answer.
    pub(super) fn known_end(&self, topic: &str, partition: i32) -> Option<i64> {
        match &self.direct {
            Some(direct) => direct.known_end(topic, partition),
            None => self.client.known_end(topic, partition),
        }
    }

    /// Hands what is there to `each`, at most `most`, without waiting, once `check` has looked at the client. Returns how many
    /// that were: fewer than asked for means that there is nothing more for now.
    ///
    /// # Errors
    /// Those of `check`, and what ends the run.
    pub(super) fn poll(
        &mut self,
        most: usize,
        check: impl FnOnce(&Client) -> Result<()>,
        each: &mut impl Each,
    ) -> Result<usize> {
        // Of a client that fetches nothing, what concerns the client.
        let of_client = self.client.poll_checked(most, check, &mut |lent| each.take(lent))?;
        match &mut self.direct {
            Some(direct) => Ok(of_client
                + direct.poll(most.saturating_sub(of_client).max(1), &mut |given| each.take(given))?),
            None => Ok(of_client),
        }
    }
}

/// Takes what is read.
pub(super) trait Each {
    /// Takes one.
    fn take(&mut self, handed: impl Handed);
}

fn with_offsets(partitions: &[At<'_>]) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in partitions {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}
