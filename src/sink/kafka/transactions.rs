//! Delivery in transactions: the records of an epoch, of all Kafka sinks of a run, are one.
//!
//! The records of an epoch are sent as they come, and kept until the epoch's transaction is known to be committed. When
//! a transaction fails, what the topics hold is read, from the epoch that stands beside the group's offsets, before
//! anything is written again: it is never guessed. Only the records of one epoch are ever kept.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::source::Report;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::topic_partition_list::Offset;

use super::calls::Calls;
use super::group::{Committed, Group, Partition};
use super::pending::Pending;
use super::resume::{held, others};
use super::shared::Deliver;
use super::was_committed::was_committed;
use super::writer::{TransactionError, Writer};
use crate::crash;
use crate::fault::Fault;
use crate::fold::Folded;
use crate::kafka::client::Settings;
use crate::kafka::mark::Mark;
use crate::kafka::topics;
use crate::retry::Retry;
use crate::state::resume::Resume;

/// The longest wait before a transaction is retried.
const LONGEST: Duration = Duration::from_secs(5);
/// How many producers write in turn.
const WRITERS: usize = 2;
/// How many transactions of an epoch may fail as they are open for too long.
const OVERDUE: u32 = 3;

/// Whose turn an epoch is. All runs of a job agree on it, so that each has to fence the others before it writes an epoch
/// that they may be writing.
///
/// A commit is answered before the broker has ended the transaction everywhere. Until then it refuses the producer's next
/// one, and librdkafka waits 20 ms before it asks again: one in seven transactions met that. Another producer is not refused.
fn turn(epoch: Epoch) -> usize {
    (epoch % WRITERS as u64) as usize
}

/// The transactions of a run, shared by its Kafka sinks.
pub(super) struct Transactions {
    group: Group,
    membership: Arc<ConsumerGroupMetadata>,
    pending: Pending,
    /// The job, or the run where it keeps no state; empty until they have started.
    job: String,
    /// They write in turn: see [`turn`]. `None` until they have started, and while one is replaced.
    writers: [Option<Writer>; WRITERS],
    calls: Calls,
    /// What the group holds of this job.
    positions: BTreeMap<Partition, i64>,
    /// The last epoch that is committed.
    committed: Epoch,
    /// What was committed last, [`END`] included.
    done: Option<Epoch>,
    /// Topics that were read and then deleted: the group takes no offsets of them.
    gone: BTreeSet<String>,
    /// Failed transactions that were said.
    said: Folded,
}

impl Deliver for Transactions {
    fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    /// Starts, as the only run of this job that can write from now on.
    fn start(&mut self, job: &str) -> Result<()> {
        job.clone_into(&mut self.job);
        let settings = &self.group.settings;
        topics::connect(&settings.metadata()?, settings)?;
        let deadline = Instant::now() + settings.connect_timeout;
        // All of them, before anything is read of what the topics hold: none of a former run can write after that. Each
        // waits for its coordinator, so they start side by side.
        let ids: [String; WRITERS] = std::array::from_fn(|turn| self.id(turn));
        let (most, calls) = (self.pending.most(), &self.calls);
        let started = std::thread::scope(|scope| {
            let threads = ids
                .each_ref()
                .map(|id| scope.spawn(|| Writer::start(settings, id, most, calls, Some(deadline))));
            threads.map(|thread| thread.join())
        });
        for (place, started) in self.writers.iter_mut().zip(started) {
            match started.map_err(|_| anyhow!("a thread that starts a producer has panicked"))? {
                Ok(writer) => *place = Some(writer),
                Err(TransactionError::End(error)) => return Err(error),
                Err(TransactionError::Lost(why) | TransactionError::TooLarge { why, .. }) => {
                    bail!("{why}; does another run of this job start?")
                }
            }
        }
        Ok(())
    }

    fn resume(&mut self, from: &Resume) -> Result<Epoch> {
        if self.writers.iter().all(Option::is_some) {
            return Ok(self.committed);
        }
        // First of all: this ends what a former run has left open.
        self.start(&from.job)?;
        self.gone.clone_from(&from.gone);
        let begin = from.begin();
        let there = begin.iter().filter(|(_, topic, ..)| !from.gone.contains(*topic));
        let partitions = there.map(|(_, topic, partition, _)| (topic.to_owned(), partition));
        let deadline = Instant::now() + self.group.settings.connect_timeout;
        let committed =
            self.group.read(partitions, Retry::new(&self.pending.fault, LONGEST, Some(deadline)))?;
        self.committed = held(&self.group.name, &committed, from)?;
        for (partition, Committed { offset, mark }) in committed {
            if mark.is_some_and(|mark| mark.job == self.job) {
                self.positions.insert(partition, offset);
            }
        }
        Ok(self.committed)
    }

    fn send(&mut self, epoch: Epoch) -> Result<()> {
        if self.pending.trouble.is_some() || self.pending.kept.records.is_empty() {
            return Ok(());
        }
        let sent = self.send_pending(epoch);
        self.pending.note(sent)
    }

    fn commit(&mut self, epoch: Epoch, reports: &[Report]) -> Result<()> {
        if self.done == Some(epoch) {
            return Ok(());
        }
        let mut offsets = self.offsets(epoch, reports)?;
        if !(offsets.is_empty() && self.pending.kept.records.is_empty()) {
            let begun = Instant::now();
            self.carry_out(epoch, &mut offsets)
                .map_err(|error| self.pending.explained(error, &self.group.name))?;
            self.pending.transacted.committed(begun.elapsed());
        }
        self.positions.extend(offsets);
        self.pending.clear();
        self.done = Some(epoch);
        if epoch != END {
            self.committed = epoch;
        }
        Ok(())
    }
}

impl Transactions {
    /// Transactions with the offsets of a consumer group, to be started.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub(super) fn prepare(settings: &Settings, group: &str, fault: &Fault) -> Result<Self> {
        let group = Group { name: group.to_owned(), settings: settings.clone() };
        Ok(Transactions {
            membership: Arc::new(group.metadata()?),
            group,
            pending: Pending::new(settings, fault),
            job: String::new(),
            writers: [const { None }; WRITERS],
            calls: Calls::new(fault),
            positions: BTreeMap::new(),
            committed: 0,
            done: None,
            gone: BTreeSet::new(),
            said: Folded::new("failed transactions"),
        })
    }

    fn id(&self, turn: usize) -> String {
        format!("cutwater-{}-{turn}", self.job)
    }

    /// Sends the records that are not sent yet, in a transaction that is begun where none is open.
    fn send_pending(&mut self, epoch: Epoch) -> Result<(), TransactionError> {
        let writer = self.writers[turn(epoch)].as_mut().expect("a job goes on before it writes");
        if !writer.is_open() {
            writer.begin()?;
            self.pending.sent = 0;
        }
        self.pending.send(epoch, writer)
    }

    /// The offsets that the epoch's transaction commits: those that moved. One of them at least stands with every
    /// epoch, where any is known, so that the group tells which epoch is there: where none moved, one that did before.
    fn offsets(&mut self, epoch: Epoch, reports: &[Report]) -> Result<BTreeMap<Partition, i64>> {
        let mut offsets = BTreeMap::new();
        if epoch != END {
            let moved = reports.iter().flat_map(|report| &report.moved);
            for moved in moved.filter(|moved| !self.gone.contains(&moved.topic)) {
                let partition = (moved.topic.clone(), moved.partition);
                // Two inputs may read the same partition, one ahead of the other.
                let known = self.positions.get(&partition).copied().unwrap_or(0).max(moved.next);
                match offsets.entry(partition) {
                    Entry::Vacant(entry) => drop(entry.insert(known)),
                    Entry::Occupied(mut entry) => *entry.get_mut() = known.max(*entry.get()),
                }
            }
        }
        self.meet(&offsets)?;
        if offsets.is_empty() {
            offsets.extend(
                self.positions.first_key_value().map(|(partition, offset)| (partition.clone(), *offset)),
            );
        }
        Ok(offsets)
    }

    /// Looks whether partitions that are new to this run are another job's.
    fn meet(&self, offsets: &BTreeMap<Partition, i64>) -> Result<()> {
        let new = offsets.keys().filter(|partition| !self.positions.contains_key(*partition)).cloned();
        for ((topic, partition), committed) in
            self.group.read(new, Retry::new(&self.pending.fault, LONGEST, None))?
        {
            if let Some(mark) = committed.mark
                && mark.is_kept()
                && mark.job != self.job
            {
                bail!(others(&self.group.name, &mark.job, &topic, partition));
            }
        }
        Ok(())
    }

    /// Does the epoch's transaction, again and again where it fails, until the group says that it is committed.
    fn carry_out(&mut self, epoch: Epoch, offsets: &mut BTreeMap<Partition, i64>) -> Result<()> {
        let mark = if epoch == END {
            Mark { job: self.job.clone(), epoch: self.committed, ended: true }
        } else {
            Mark { job: self.job.clone(), epoch, ended: false }
        };
        let mut retry = Retry::new(&self.pending.fault, LONGEST, None);
        let mut missing = BTreeSet::new();
        let mut overdue = 0;
        loop {
            let mut asked = false;
            let why = match self.attempt(epoch, offsets, &mark, &mut asked) {
                Ok(()) => return Ok(()),
                Err(TransactionError::End(error)) => return Err(error),
                Err(TransactionError::Lost(why)) => why,
                Err(TransactionError::TooLarge { record, bytes, why }) => {
                    self.pending.too_large(record, bytes, &why)?;
                    why
                }
            };
            if let Some(limit) = self.writers[turn(epoch)].as_ref().and_then(Writer::overdue) {
                overdue += 1;
                ensure!(overdue < OVERDUE, too_slow(&mark, limit, &why));
            }
            self.pending.transacted.again();
            tracing::debug!("{why}; starting a new producer");
            self.forget_gone(&why, offsets, &mut missing);
            self.replace(turn(epoch), &why, offsets, &mark, &mut retry)?;
            ensure!(!asked || !offsets.is_empty(), "{why}; whether it was committed can't be found out");
            if self.is_committed(offsets, &mark)? {
                tracing::warn!("{why}; but epoch {} was committed", mark.epoch);
                return Ok(());
            }
            self.said.warn(|| format!("{why}; writing epoch {} again", mark.epoch));
            retry.wait(&why)?;
        }
    }

    /// Leaves out the offsets of topics that were deleted after they were read: with them no transaction is committed.
    /// That is certain where the broker says so in `why`, and where a topic is missing for the second time: `missing` holds
    /// those that were when the transaction failed before.
    fn forget_gone(
        &mut self,
        why: &str,
        offsets: &mut BTreeMap<Partition, i64>,
        missing: &mut BTreeSet<String>,
    ) {
        let Ok(there) = self.group.settings.metadata().and_then(|client| topics::list(&client)) else {
            return;
        };
        let now: BTreeSet<String> = offsets
            .keys()
            .filter(|(topic, _)| !there.iter().any(|(name, _)| name == topic))
            .map(|(topic, _)| topic.clone())
            .collect();
        let refused = why.contains("Unknown topic or partition");
        for topic in now.iter().filter(|topic| refused || missing.contains(*topic)) {
            tracing::warn!("topic {topic} was deleted: no offsets of it are committed any more");
            self.gone.insert(topic.clone());
        }
        *missing = now;
        let gone = &self.gone;
        self.positions.retain(|(topic, _), _| !gone.contains(topic));
        offsets.retain(|(topic, _), _| !gone.contains(topic));
        if offsets.is_empty() {
            // One of them stands with every epoch, where any is known.
            offsets.extend(self.positions.first_key_value().map(|(place, offset)| (place.clone(), *offset)));
        }
    }

    /// One try. `asked` is set before the commit is asked for: from then on, it may be committed.
    fn attempt(
        &mut self,
        epoch: Epoch,
        offsets: &BTreeMap<Partition, i64>,
        mark: &Mark,
        asked: &mut bool,
    ) -> Result<(), TransactionError> {
        if let Some(trouble) = self.pending.trouble.take() {
            return Err(trouble);
        }
        self.send_pending(epoch)?;
        crash::point("transaction-sent");
        let list = list(offsets, mark).map_err(TransactionError::End)?;
        let writer = self.writers[turn(epoch)].as_mut().expect("it has sent");
        if list.count() > 0 {
            writer.offsets(&list, &self.membership)?;
        }
        crash::point("transaction-offsets");
        *asked = true;
        writer.commit()?;
        crash::point("transaction-committed");
        Ok(())
    }

    /// Starts another producer in the place of one that is lost.
    fn replace(
        &mut self,
        turn: usize,
        why: &str,
        offsets: &BTreeMap<Partition, i64>,
        mark: &Mark,
        retry: &mut Retry,
    ) -> Result<()> {
        loop {
            // Where a newer run has written, it is not disturbed. One try: what this run has left open may be in the
            // way, and the new producer ends it.
            let once = Retry::new(&self.pending.fault, LONGEST, Some(Instant::now()));
            if let Ok(committed) = self.read(offsets, once) {
                self.was_committed(&committed, offsets, mark)?;
            }
            self.writers[turn] = None;
            match Writer::start(&self.group.settings, &self.id(turn), self.pending.most(), &self.calls, None)
            {
                Ok(writer) => {
                    self.writers[turn] = Some(writer);
                    return Ok(());
                }
                Err(TransactionError::End(error)) => return Err(error),
                Err(TransactionError::Lost(again) | TransactionError::TooLarge { why: again, .. }) => {
                    tracing::debug!("{again}");
                    retry.wait(why)?;
                }
            }
        }
    }

    /// Reads whether the transaction with these offsets and this mark was committed.
    ///
    /// # Errors
    /// If another run has committed something that this one has not.
    fn is_committed(&self, offsets: &BTreeMap<Partition, i64>, mark: &Mark) -> Result<bool> {
        self.was_committed(
            &self.read(offsets, Retry::new(&self.pending.fault, LONGEST, None))?,
            offsets,
            mark,
        )
    }

    fn read(
        &self,
        offsets: &BTreeMap<Partition, i64>,
        retry: Retry,
    ) -> Result<BTreeMap<Partition, Committed>> {
        self.group.read(offsets.keys().cloned(), retry)
    }

    fn was_committed(
        &self,
        committed: &BTreeMap<Partition, Committed>,
        offsets: &BTreeMap<Partition, i64>,
        mark: &Mark,
    ) -> Result<bool> {
        was_committed(&self.group.name, committed, offsets, mark, &self.positions)
    }
}

/// What to say of an epoch whose transaction is open for too long, at each try.
fn too_slow(mark: &Mark, limit: Duration, why: &str) -> String {
    let limit = limit.as_millis();
    format!(
        "epoch {}: its transaction was open for longer than transaction.timeout.ms={limit}, {OVERDUE} times in a row, and \
         the broker ends those: {why}. Give it more time with --set transaction.timeout.ms=MS (the broker's \
         transaction.max.timeout.ms is the most), or make epochs smaller with --epoch, --max-records or --max-bytes: one \
         that is in the ledger stays as it is",
        mark.epoch
    )
}

fn list(offsets: &BTreeMap<Partition, i64>, mark: &Mark) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in offsets {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(*offset))?;
        element.set_metadata(mark.text());
    }
    Ok(list)
}
