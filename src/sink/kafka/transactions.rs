//! What all Kafka sinks of a run share: an epoch's records, and the one transaction that they are written in.
//!
//! The records of an epoch are sent as they come, and kept until the epoch's transaction is known to be committed. When
//! a transaction fails, what the topics hold is read, from the epoch that stands beside the group's offsets, before
//! anything is written again: it is never guessed. Only the records of one epoch are ever kept.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::source::Report;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::topic_partition_list::Offset;

use super::calls::Calls;
use super::group::{Committed, Group, Mark, Partition};
use super::kept::Kept;
use super::letter::Letter;
use super::resume::{held, others};
use super::target::Target;
use super::was_committed::was_committed;
use super::writer::{Outgoing, TransactionError, Writer};
use crate::crash;
use crate::fault::Fault;
use crate::fold::Folded;
use crate::kafka::client::Settings;
use crate::kafka::limits::BATCH;
use crate::kafka::topics::{self, Making};
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
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Transactions>>);

impl Shared {
    /// Starts the transactions of a run without state, which has this name: all its sinks are open. A job that keeps
    /// state starts them when it is known what it resumes from.
    ///
    /// # Errors
    /// If no broker answers in time, or it allows no transactions.
    pub fn start(&self, run: &str) -> Result<()> {
        self.lock().start(run)
    }

    /// Transactions with the offsets of a consumer group, to be started.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub fn prepare(settings: &Settings, group: &str, fault: &Fault) -> Result<Self> {
        let group = Group { name: group.to_owned(), settings: settings.clone() };
        let transactions = Transactions {
            membership: Arc::new(group.metadata()?),
            group,
            fault: fault.clone(),
            topics: Vec::new(),
            job: String::new(),
            writers: [const { None }; WRITERS],
            calls: Calls::new(fault),
            kept: Kept::default(),
            sent: 0,
            trouble: None,
            positions: BTreeMap::new(),
            committed: 0,
            done: None,
            gone: BTreeSet::new(),
            said: Folded::new("failed transactions"),
        };
        Ok(Shared(Arc::new(Mutex::new(transactions))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Transactions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of [`Shared`].
pub(super) struct Transactions {
    group: Group,
    /// Ends everything that waits.
    fault: Fault,
    membership: Arc<ConsumerGroupMetadata>,
    topics: Vec<Target>,
    /// The job, or the run where it keeps no state; empty until they have started.
    job: String,
    /// They write in turn: see [`turn`]. `None` until they have started, and while one is replaced.
    writers: [Option<Writer>; WRITERS],
    calls: Calls,
    /// The records of the open epoch.
    kept: Kept,
    /// How many of them were sent in the open transaction.
    sent: usize,
    /// What went wrong when they were sent: found out about when the epoch is committed.
    trouble: Option<TransactionError>,
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

impl Transactions {
    /// Finds a topic that will be written to, or makes it; returns its number.
    pub(super) fn topic(&mut self, name: &str, making: Option<Making>) -> Result<usize> {
        let settings = &self.group.settings;
        let probe = settings.metadata()?;
        topics::connect(&probe, settings)?;
        let there = |all: &[topics::Topic]| all.iter().any(|(topic, _)| topic == name);
        let all = topics::settled(
            &self.fault,
            || topics::list(&probe),
            |all| making.is_some() || all.as_ref().is_ok_and(|all| there(all)),
        )?;
        if !there(&all) {
            let Some(making) = making else {
                bail!(
                    "sink kafka:{name}: {} (--create-topics PARTITIONS[:REPLICATION] makes missing topics; or make it \
                     with {})",
                    topics::missing(name, &all),
                    topics::how_to_make(&settings.brokers, name)
                );
            };
            topics::create(&probe, settings, name, making, &[])?;
            tracing::info!("made topic {name}, {} partitions", making.partitions);
        }
        self.topics.push(Target::find(&probe, settings, name));
        Ok(self.topics.len() - 1)
    }

    /// A topic that will be written to, by its number.
    pub(super) fn target(&mut self, topic: usize) -> &mut Target {
        &mut self.topics[topic]
    }

    /// The most bytes to send together to any of the topics.
    fn most(&self) -> usize {
        self.topics.iter().map(|target| target.limit.batch()).min().unwrap_or(BATCH)
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
        let (most, calls) = (self.most(), &self.calls);
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

    fn id(&self, turn: usize) -> String {
        format!("cutwater-{}-{turn}", self.job)
    }

    /// A job goes on: returns the epoch up to which the topics hold everything. Asked by each of its sinks; the first
    /// one finds out.
    pub(super) fn resume(&mut self, from: &Resume) -> Result<Epoch> {
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
        let committed = self.group.read(partitions, Retry::new(&self.fault, LONGEST, Some(deadline)))?;
        self.committed = held(&self.group.name, &committed, from)?;
        for (partition, Committed { offset, mark }) in committed {
            if mark.is_some_and(|mark| mark.job == self.job) {
                self.positions.insert(partition, offset);
            }
        }
        Ok(self.committed)
    }

    /// Takes a record of the open epoch.
    pub(super) fn keep(&mut self, topic: usize, key: &[u8], value: Option<&[u8]>) {
        self.kept.push(topic, Some(key), value, None);
    }

    /// Takes a dead letter of the open epoch.
    pub(super) fn keep_letter(
        &mut self,
        topic: usize,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        letter: Letter,
    ) {
        self.kept.push(topic, key, value, Some(letter));
    }

    /// Sends the records that it has taken. What goes wrong with them is found out about when the epoch is committed.
    pub(super) fn send_kept(&mut self, epoch: Epoch) -> Result<()> {
        if self.trouble.is_some() || self.kept.records.is_empty() {
            return Ok(());
        }
        match self.send(epoch) {
            Err(TransactionError::End(error)) => Err(error),
            Err(trouble) => {
                self.trouble = Some(trouble);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Sends the records that are not sent yet, in a transaction that is begun where none is open.
    fn send(&mut self, epoch: Epoch) -> Result<(), TransactionError> {
        let writer = self.writers[turn(epoch)].as_mut().expect("a job goes on before it writes");
        if !writer.is_open() {
            writer.begin()?;
            self.sent = 0;
        }
        // What is sent once, after the end, belongs to no epoch.
        let number = (epoch != END).then(|| epoch.to_string());
        for record in &self.kept.records[self.sent..] {
            let target = &self.topics[record.topic];
            let (key, value) = (self.kept.key(record), self.kept.value(record));
            let fit = record.letter.as_ref().map(|letter| letter.fit(key, value, target.most()));
            let (letter, key, value) = match &fit {
                Some((letter, key, value)) => (Some(letter), *key, *value),
                None => (None, key, value),
            };
            writer.send(&Outgoing { topic: &target.name, key, value, epoch: number.as_deref(), letter })?;
            self.sent += 1;
        }
        Ok(())
    }

    /// Commits the epoch, once for all sinks.
    pub(super) fn commit(&mut self, epoch: Epoch, reports: &[Report]) -> Result<()> {
        if self.done == Some(epoch) {
            return Ok(());
        }
        let mut offsets = self.offsets(epoch, reports)?;
        if !(offsets.is_empty() && self.kept.records.is_empty()) {
            self.carry_out(epoch, &mut offsets)
                .with_context(|| format!("writing to {}", self.shown_topics()))?;
        }
        self.positions.extend(offsets);
        self.kept.clear();
        self.done = Some(epoch);
        if epoch != END {
            self.committed = epoch;
        }
        Ok(())
    }

    fn shown_topics(&self) -> String {
        let names: Vec<&str> = self.topics.iter().map(|target| target.name.as_str()).collect();
        format!("{} {}", if names.len() == 1 { "topic" } else { "topics" }, names.join(", "))
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
        for ((topic, partition), committed) in self.group.read(new, Retry::new(&self.fault, LONGEST, None))? {
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
        let mut retry = Retry::new(&self.fault, LONGEST, None);
        let mut missing = BTreeSet::new();
        let mut overdue = 0;
        loop {
            let mut asked = false;
            let why = match self.attempt(epoch, offsets, &mark, &mut asked) {
                Ok(()) => return Ok(()),
                Err(TransactionError::End(error)) => return Err(error),
                Err(TransactionError::Lost(why)) => why,
                Err(TransactionError::TooLarge { record, bytes, why }) => {
                    self.too_large(record, bytes, &why)?;
                    why
                }
            };
            if let Some(limit) = self.writers[turn(epoch)].as_ref().and_then(Writer::overdue) {
                overdue += 1;
                ensure!(overdue < OVERDUE, too_slow(&mark, limit, &why));
            }
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

    /// A record of the transaction is too large for its topic. A dead letter is cut more, for the next try.
    ///
    /// # Errors
    /// If it is a row: that ends the run.
    fn too_large(&mut self, record: usize, bytes: usize, why: &str) -> Result<()> {
        let record = self.kept.records.get(record).with_context(|| why.to_owned())?;
        let target = &mut self.topics[record.topic];
        if record.letter.is_some() && target.cut_below(bytes) {
            return Ok(());
        }
        Err(target.refuses(&self.group.settings, self.kept.key(record).unwrap_or_default(), bytes, why))
    }

    /// One try. `asked` is set before the commit is asked for: from then on, it may be committed.
    fn attempt(
        &mut self,
        epoch: Epoch,
        offsets: &BTreeMap<Partition, i64>,
        mark: &Mark,
        asked: &mut bool,
    ) -> Result<(), TransactionError> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        self.send(epoch)?;
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
            let once = Retry::new(&self.fault, LONGEST, Some(Instant::now()));
            if let Ok(committed) = self.read(offsets, once) {
                self.was_committed(&committed, offsets, mark)?;
            }
            self.writers[turn] = None;
            match Writer::start(&self.group.settings, &self.id(turn), self.most(), &self.calls, None) {
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
        self.was_committed(&self.read(offsets, Retry::new(&self.fault, LONGEST, None))?, offsets, mark)
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
