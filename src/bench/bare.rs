//! A bare consumer: as fast as librdkafka hands records over, and nothing done with them.

use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::record::Record;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use crate::kafka::client::{Client, Settings};
use crate::kafka::native::batch::{Batches, Event, Lent};

/// Messages in one call to librdkafka.
const BATCH: usize = 1024;
/// The longest sleep without being woken.
const PARK: Duration = Duration::from_millis(100);

/// How long a request for metadata may take.
const REQUEST: Duration = Duration::from_secs(30);

/// A consumer of some partitions of a topic of this run, from its first record on.
pub(super) struct Bare {
    batches: Batches<Client>,
    /// Partitions whose end has not been met yet.
    open: usize,
}

impl Bare {
    /// A consumer of these partitions, with the settings that word-count has. It is to be read by this thread.
    ///
    /// # Errors
    /// If librdkafka does not take the settings.
    pub(super) fn open(
        settings: &Settings,
        topic: &str,
        partitions: impl Iterator<Item = i32>,
    ) -> Result<Self> {
        let mut consumer = settings.consumer("cutwater-bench")?;
        let reader: Thread = std::thread::current();
        consumer.set_nonempty_callback(move || reader.unpark());
        let batches = Batches::new(Arc::new(consumer), BATCH);
        let open = assign(batches.consumer(), topic, partitions)?;
        Ok(Bare { batches, open })
    }

    /// Hands the records that are there to `each`; where nothing is, waits a moment.
    ///
    /// # Errors
    /// What the consumer meets.
    pub(super) fn read(&mut self, each: &mut dyn FnMut(&Record<'_>)) -> Result<()> {
        self.poll(&mut |lent| match lent.event() {
            Event::Record(record) => {
                each(&record);
                Met::Nothing
            }
            event => Met::from(event),
        })
    }

    /// Drops the records that are there, unseen, and returns how many they were; where nothing is, waits a moment.
    ///
    /// # Errors
    /// What the consumer meets.
    pub(super) fn skip(&mut self) -> Result<u64> {
        let mut records = 0;
        self.poll(&mut |lent| {
            if lent.is_record() {
                records += 1;
                Met::Nothing
            } else {
                Met::from(lent.event())
            }
        })?;
        Ok(records)
    }

    fn poll(&mut self, each: &mut dyn FnMut(&Lent<'_, Client>) -> Met) -> Result<()> {
        let mut trouble = None;
        let open = &mut self.open;
        let read = self.batches.poll(BATCH, &mut |lent| match each(&lent) {
            Met::Nothing => {}
            Met::End => *open = open.saturating_sub(1),
            Met::Trouble(text) => trouble = Some(text),
        });
        if let Some(text) = trouble {
            bail!("reading: {text}");
        }
        if read == 0 {
            std::thread::park_timeout(PARK);
        }
        Ok(())
    }

    /// True once each partition was read to its end, which is of use where nothing is written any more.
    pub(super) fn has_ended(&self) -> bool {
        self.open == 0
    }
}

/// Has a consumer read these partitions from their first record on. Returns how many they are.
///
/// # Errors
/// If the cluster does not answer.
pub(super) fn assign(
    consumer: &BaseConsumer<Client>,
    topic: &str,
    partitions: impl Iterator<Item = i32>,
) -> Result<usize> {
    // Without it, librdkafka looks for the partitions' leaders half a second later.
    consumer.fetch_metadata(Some(topic), REQUEST).context("asking for the topic")?;
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, partition, Offset::Offset(0))?;
    }
    consumer.assign(&list).context("assigning partitions")?;
    Ok(list.count())
}

/// What was met in a consumer's queue beside records.
enum Met {
    Nothing,
    /// The end of a partition.
    End,
    /// An error of a partition.
    Trouble(String),
}

impl From<Event<'_>> for Met {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::End { .. } => Met::End,
            Event::Error { topic, text, .. } if !topic.is_empty() => Met::Trouble(text),
            // An error of the whole client, which tries again.
            Event::Error { .. } | Event::Record(_) => Met::Nothing,
        }
    }
}
