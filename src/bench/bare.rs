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
    /// Records that were there when it was opened and are not read yet.
    left: u64,
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
        let mut consumer = settings.consumer("cutwater-bench", 1)?;
        let reader: Thread = std::thread::current();
        consumer.set_nonempty_callback(move || reader.unpark());
        let batches = Batches::new(Arc::new(consumer), BATCH);
        let left = assign(batches.consumer(), topic, partitions)?;
        Ok(Bare { batches, left })
    }

    /// Hands the records that are there to `each`; where nothing is, waits a moment.
    ///
    /// # Errors
    /// What the consumer meets.
    pub(super) fn read(&mut self, each: &mut dyn FnMut(&Record<'_>)) -> Result<()> {
        self.poll(&mut |lent| {
            let event = lent.event();
            if let Event::Record(record) = &event {
                each(record);
            }
            Met::from(event)
        })
        .map(drop)
    }

    /// Drops the records that are there, unseen, and returns how many they were; where nothing is, waits a moment.
    ///
    /// # Errors
    /// What the consumer meets.
    pub(super) fn skip(&mut self) -> Result<u64> {
        self.poll(&mut |lent| if lent.is_record() { Met::Record } else { Met::from(lent.event()) })
    }

    /// Returns how many records there were.
    fn poll(&mut self, each: &mut dyn FnMut(&Lent<'_, Client>) -> Met) -> Result<u64> {
        let (mut records, mut trouble) = (0, None);
        let read = self.batches.poll(BATCH, &mut |lent| match each(&lent) {
            Met::Record => records += 1,
            Met::Nothing => {}
            Met::Trouble(text) => trouble = Some(text),
        });
        if let Some(text) = trouble {
            bail!("reading: {text}");
        }
        if read == 0 {
            std::thread::park_timeout(PARK);
        }
        self.left = self.left.saturating_sub(records);
        Ok(records)
    }

    /// True once as many records were read as there were when this was opened.
    pub(super) fn has_ended(&self) -> bool {
        self.left == 0
    }
}

/// Has a consumer read these partitions from their first record on. Returns how many offsets there are now, which is how
/// many records if no transaction wrote them.
///
/// That is how one knows the end at once, as word-count does. The broker tells of the end of a partition only after
/// `fetch.wait.max.ms` without a new record, half a second.
///
/// # Errors
/// If the cluster does not answer.
pub(super) fn assign(
    consumer: &BaseConsumer<Client>,
    topic: &str,
    partitions: impl Iterator<Item = i32>,
) -> Result<u64> {
    // Without it, librdkafka looks for the partitions' leaders half a second later.
    consumer.fetch_metadata(Some(topic), REQUEST).context("asking for the topic")?;
    let (mut list, mut offsets) = (TopicPartitionList::new(), 0);
    for partition in partitions {
        let (_, end) = consumer.fetch_watermarks(topic, partition, REQUEST).context("asking for the ends")?;
        offsets += end.unsigned_abs();
        list.add_partition_offset(topic, partition, Offset::Offset(0))?;
    }
    consumer.assign(&list).context("assigning partitions")?;
    Ok(offsets)
}

/// What was met in a consumer's queue.
enum Met {
    Record,
    /// The end of a partition, or an error of the whole client, which tries again.
    Nothing,
    /// An error of a partition.
    Trouble(String),
}

impl From<Event<'_>> for Met {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Record(_) => Met::Record,
            Event::Error { topic, text, .. } if !topic.is_empty() => Met::Trouble(text),
            Event::Error { .. } | Event::End { .. } | Event::Passed { .. } => Met::Nothing,
        }
    }
}
