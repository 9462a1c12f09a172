//! Where partitions are read from: what the user or the ledger wants, and what the topic still has.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::ask::Ends;
use super::{From, OnDataLoss, Reading};
use crate::fold::Folded;
use crate::kafka::client::Client;
use crate::shown::count;

/// How long a request for committed offsets may take: those that an open transaction holds back are asked for again, and
/// it is said that they are waited for.
const COMMITTED: Duration = Duration::from_secs(10);

/// Which offsets are wanted.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Those that this says.
    From(From),
    /// These, one for each partition: after what runs before have read.
    Known(&'a [i64]),
}

/// Where a partition is read from.
pub(super) struct Start {
    /// The offset that is wanted.
    pub(super) wanted: i64,
    /// The offset itself, or the first that is still there.
    pub(super) first: i64,
    /// The end now, of what may be read: what belongs to an open transaction, and what comes after that, lies beyond.
    pub(super) end: i64,
    /// The end of all.
    pub(super) last: i64,
}

/// What a partition has.
#[derive(Clone, Copy, Debug)]
pub(super) struct There {
    /// Its first offset.
    pub(super) first: i64,
    /// The end of what may be read.
    pub(super) end: i64,
    /// The end of all.
    pub(super) last: i64,
}

impl There {
    /// Asks for it; for the end of all, where `all` says for which end of what may be read that is needed.
    ///
    /// # Errors
    /// If the partition's broker does not answer in time.
    pub(super) fn ask(
        consumer: &BaseConsumer<Client>,
        ends: &Ends,
        (topic, partition): (&str, i32),
        all: impl FnOnce(i64) -> bool,
        timeout: Duration,
    ) -> Result<There> {
        let (first, end) = consumer
            .fetch_watermarks(topic, partition, timeout)
            .with_context(|| format!("asking for the offsets of {topic} partition {partition}"))?;
        let last =
            if all(end) { ends.ask(&[(topic.to_owned(), partition)], timeout)?[0].max(end) } else { end };
        Ok(There { first, end, last })
    }
}

/// For each partition, where to start and where the end is now.
///
/// # Errors
/// If the cluster does not answer in time, or an offset is not there any more and must not be left out, or not yet.
pub(super) fn starts(
    consumer: &BaseConsumer<Client>,
    ends: &Ends,
    reading: &Reading,
    wanted: Wanted<'_>,
    partitions: &[(String, i32)],
    timeout: Duration,
) -> Result<Vec<Start>> {
    // What this client knows of a topic may be older than the partition.
    for (topic, _) in partitions.chunk_by(|a, b| a.0 == b.0).map(|same| &same[0]) {
        consumer
            .fetch_metadata(Some(topic), timeout)
            .with_context(|| format!("asking for the partitions of {topic}"))?;
    }
    let asked = ask(consumer, reading, wanted, partitions, timeout)?;
    let answered = |topic: &str, partition| match asked.as_ref()?.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    let start = |index: usize, topic: &str, partition: i32| {
        // What a bounded run does not read is said at its end.
        let beyond = |end| match wanted {
            Wanted::From(From::Offset(offset)) => offset > end,
            Wanted::From(From::Committed | From::Timestamp(_)) => answered(topic, partition) > Some(end),
            Wanted::Known(offsets) => offsets[index] > end,
            Wanted::From(_) => false,
        };
        let all = |end| reading.until_end || beyond(end);
        let there = There::ask(consumer, ends, (topic, partition), all, timeout)?;
        let There { first, end, last } = there;
        let offset = match wanted {
            Wanted::From(From::Earliest) => first,
            Wanted::From(From::Latest) => end,
            // No record is that young: the end.
            Wanted::From(From::Timestamp(_)) => answered(topic, partition).unwrap_or(end),
            Wanted::From(From::Committed) => answered(topic, partition).unwrap_or(first),
            Wanted::From(From::Offset(offset)) => offset,
            Wanted::Known(offsets) => offsets[index],
        };
        let again = matches!(wanted, Wanted::Known(_));
        let first = available(reading.on_data_loss, (topic, partition), offset, there, again)?;
        Ok(Start { wanted: offset, first, end, last })
    };
    partitions.iter().enumerate().map(|(index, (topic, partition))| start(index, topic, *partition)).collect()
}

/// The offsets that the brokers know to be wanted: of a time, or of the group. `None` if they aren't asked for those.
///
/// # Errors
/// If the cluster does not answer in time.
fn ask(
    consumer: &BaseConsumer<Client>,
    reading: &Reading,
    wanted: Wanted<'_>,
    partitions: &[(String, i32)],
    timeout: Duration,
) -> Result<Option<TopicPartitionList>> {
    let named = |offset: Offset| -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition_offset(topic, *partition, offset)?;
        }
        Ok(list)
    };
    Ok(match wanted {
        Wanted::From(From::Timestamp(ms)) => Some(
            consumer
                .offsets_for_times(named(Offset::Offset(ms))?, timeout)
                .context("asking for the offsets of a time")?,
        ),
        Wanted::From(From::Committed) => Some(
            consumer
                .committed_offsets(named(Offset::Invalid)?, timeout.min(COMMITTED))
                .with_context(|| {
                    format!(
                        "asking for the offsets of group {:?} (an open transaction that commits them holds them back)",
                        reading.group
                    )
                })?,
        ),
        Wanted::From(From::Earliest | From::Latest | From::Offset(_)) | Wanted::Known(_) => None,
    })
}

/// The offset to read from, if `wanted` is there; else what --on-data-loss says. `again`: runs before have read from
/// there on, or may have.
///
/// # Errors
/// If it is not there, and must be.
pub(super) fn available(
    on_data_loss: OnDataLoss,
    (topic, partition): (&str, i32),
    wanted: i64,
    there: There,
    again: bool,
) -> Result<i64> {
    let There { first, end, last } = there;
    if wanted > last {
        bail!(
            "{topic} partition {partition}: offset {wanted} was wanted, but the partition ends at {last} and begins at \
             {first}; was the topic recreated, or has it lost records?"
        );
    }
    if wanted > end {
        static HELD: Folded = Folded::new("partitions that an open transaction holds back");
        HELD.warn_always(|| {
            format!(
                "{topic} partition {partition}: offset {wanted} is there, but an open transaction holds back all from \
                 offset {end} on; reading begins when it has ended"
            )
        });
    }
    if wanted >= first {
        return Ok(wanted);
    }
    match on_data_loss {
        OnDataLoss::Fail => bail!(
            "{topic} partition {partition}: offset {wanted} was wanted, but the first available is {first}: {}; \
             --on-data-loss continue goes on without them",
            expired(first - wanted)
        ),
        OnDataLoss::Continue => {
            let again = if again {
                "; if a run before has read them, what is counted from here on is less, and epochs that are read again \
                 differ from what was published"
            } else {
                ""
            };
            static EXPIRED: Folded = Folded::new("partitions whose records have expired");
            EXPIRED.warn_always(|| {
                format!(
                    "{topic} partition {partition}: {}; going on at offset {first} instead of {wanted}{again}",
                    expired(first - wanted)
                )
            });
            Ok(first)
        }
    }
}

fn expired(records: i64) -> String {
    let have = if records == 1 { "has" } else { "have" };
    format!("{} {have} expired", count(records.unsigned_abs(), "record"))
}
