//! Questions to brokers: where partitions end, and a thread that asks, so that no worker waits for an answer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::super::Waker;
use super::From;
use crate::kafka::client::{Client, Settings};

/// How long to wait after a question that failed: it would fail again at once.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks for the ends of partitions: of all records, those of open transactions included.
pub(super) struct Ends {
    settings: Settings,
    group: String,
    client: OnceLock<BaseConsumer<Client>>,
}

impl Ends {
    pub(super) fn new(settings: Settings, group: String) -> Self {
        Ends { settings, group, client: OnceLock::new() }
    }

    /// The client that asks. Its group is that of the run, for what the group has committed.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub(super) fn client(&self) -> Result<&BaseConsumer<Client>> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // Of two threads that come at once, one's is dropped.
        let client = self.settings.uncommitted(&self.group)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The end of each of these partitions, of which there is at least one and each has a leader.
    ///
    /// # Errors
    /// If a broker does not answer in time, or one partition has no leader now.
    pub(super) fn ask(&self, partitions: &[(String, i32)], timeout: Duration) -> Result<Vec<i64>> {
        ends(self.client()?, partitions, timeout)
    }
}

/// The end of each partition, as this client sees it: of those that it reads by its isolation level.
///
/// # Errors
/// If a broker does not answer in time, or one partition has no leader now.
pub(super) fn ends(
    client: &BaseConsumer<Client>,
    partitions: &[(String, i32)],
    timeout: Duration,
) -> Result<Vec<i64>> {
    client.context().log_in(client.client());
    // The client's own errors would wait in its queue, and pile up.
    while client.poll(Duration::ZERO).is_some() {}
    offsets(client, partitions, Offset::End, timeout)?
        .into_iter()
        .map(|end| end.context("a partition's broker does not say where it ends"))
        .collect()
}

/// The offsets of partitions: of their first record, of their end, or of a time, which stands in place of an offset.
/// `None` where the broker tells none.
///
/// # Errors
/// If a broker does not answer in time, or one partition has no leader now.
pub(super) fn offsets(
    client: &BaseConsumer<Client>,
    partitions: &[(String, i32)],
    of: Offset,
    timeout: Duration,
) -> Result<Vec<Option<i64>>> {
    let doing = "asking for the offsets of partitions";
    let answer = client.offsets_for_times(list(partitions, of)?, timeout).context(doing)?;
    let one = |(topic, partition): &(String, i32)| {
        let element = answer.find_partition(topic, *partition).context(doing)?;
        element.error().with_context(|| format!("{doing}: {topic} partition {partition}"))?;
        Ok(known(element.offset()))
    };
    partitions.iter().map(one).collect()
}

/// Where reading of partitions begins that nobody has read: `from` says it. `ends` are their ends.
///
/// # Errors
/// If a broker does not answer in time, or one partition has no leader now.
pub(super) fn begins(
    client: &BaseConsumer<Client>,
    from: From,
    partitions: &[(String, i32)],
    ends: &[i64],
    timeout: Duration,
) -> Result<Vec<i64>> {
    let found = match from {
        From::Latest => return Ok(ends.to_vec()),
        From::Offset(offset) => return Ok(ends.iter().map(|&end| offset.min(end)).collect()),
        From::Earliest => vec![None; ends.len()],
        From::Timestamp(ms) => {
            let found = offsets(client, partitions, Offset::Offset(ms), timeout)?;
            return Ok(found.into_iter().zip(ends).map(|(found, &end)| found.unwrap_or(end)).collect());
        }
        From::Committed => {
            let answer = client.committed_offsets(list(partitions, Offset::Invalid)?, timeout)?;
            let one = |(topic, p): &(String, i32)| known(answer.find_partition(topic, *p)?.offset());
            partitions.iter().map(one).collect()
        }
    };
    let first = offsets(client, partitions, Offset::Beginning, timeout)?;
    Ok(found.into_iter().zip(first).map(|(found, first)| found.or(first).unwrap_or(0)).collect())
}

fn list(partitions: &[(String, i32)], of: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, of)?;
    }
    Ok(list)
}

fn known(offset: Offset) -> Option<i64> {
    if let Offset::Offset(offset) = offset { Some(offset) } else { None }
}

type Question = Box<dyn FnOnce(&BaseConsumer<Client>) + Send>;

/// The thread that asks. It ends when this is dropped, once it has the answer for which it waits.
pub(super) struct Asker(Sender<Question>);

impl Asker {
    /// Starts it.
    ///
    /// # Errors
    /// If the system gives no thread, or librdkafka does not take a property.
    pub(super) fn start(settings: &Settings) -> Result<Self> {
        let (questions, inbox) = unbounded::<Question>();
        let client = settings.silent()?;
        std::thread::Builder::new()
            .name("cutwater:ask".into())
            .spawn(move || {
                for question in inbox {
                    client.context().log_in(client.client());
                    while client.poll(Duration::ZERO).is_some() {}
                    question(&client);
                }
            })
            .context("starting the thread that asks brokers")?;
        Ok(Asker(questions))
    }

    /// Has `question` asked. Its answer comes to the receiver, and then `waker` is called.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        waker: &Arc<OnceLock<Waker>>,
        question: impl FnOnce(&BaseConsumer<Client>) -> Result<T> + Send + 'static,
    ) -> Receiver<Result<T>> {
        let (done, answer) = bounded(1);
        let waker = Arc::clone(waker);
        let ask = move |client: &BaseConsumer<Client>| {
            let result = question(client);
            if result.is_err() {
                std::thread::sleep(PAUSE);
            }
            // Fails when the feed has gone: then nobody wants to know.
            let _ = done.send(result);
            if let Some(wake) = waker.get() {
                wake();
            }
        };
        // The thread lives as long as this does.
        let _ = self.0.send(Box::new(ask));
        answer
    }
}
