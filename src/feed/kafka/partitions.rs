//! One worker's partitions: read by `assign`, each from the next offset to its stop.
//!
//! While epochs are read again, each partition is read up to a bound at a time. The client hands over records of all
//! partitions in the order in which they came: those beyond the bound are stashed, and come first when it has moved on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, bail};
use crossbeam_channel::{Receiver, TryRecvError};
use cutwater_dataflows::source::Moved;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::super::{Budget, Each, Feed, Place, Polled, Waker};
use super::ask::{Asker, Ends};
use super::batch::{Batch, Told};
use super::commits::Commits;
use super::damage::{self, Damage, Trouble, is_of_a_place};
use super::direct::Direct;
use super::discovery::Found;
use super::partition::Partition;
use super::reader::{At, Reader};
use super::start::{Start, There, Wanted, available, starts};
use super::watch::{Read, Watch};
use super::{From, OnDataLoss, REQUEST, Reading};
use crate::fault::Fault;
use crate::fold::Folded;
use crate::kafka::access::Act;
use crate::kafka::client::{Client, Settings, queue};
use crate::kafka::identity::{Ids, Pinned};
use crate::kafka::native::batch::Batches;
use crate::kafka::retry::retry;
use crate::kafka::topics::Pattern;
use crate::state::cut::Topics;

/// How long a request made while reading may take.
const LATER: Duration = Duration::from_secs(2);
/// Messages in one call to librdkafka.
const BATCH: usize = 1024;
/// Why there is a client.
const CLIENT: &str = "a feed with partitions has a client";

/// What the feeds of a process share.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) found: Arc<Found>,
    pub(super) ends: Arc<Ends>,
    pub(super) asker: Arc<Asker>,
    pub(super) watch: Arc<Watch>,
    /// What fetches records, where that is not librdkafka.
    pub(super) direct: Option<Arc<Direct>>,
    /// The number of feeds.
    pub(super) feeds: usize,
}

/// Partitions that are about to join, as of a state of what is found.
struct Joining {
    changes: u64,
    partitions: Vec<(String, i32)>,
    starts: Receiver<Result<Vec<Start>>>,
}

/// One worker's partitions of one input.
pub(super) struct KafkaFeed {
    settings: Settings,
    reading: Reading,
    patterns: Vec<Pattern>,
    place: Place,
    found: Arc<Found>,
    fault: Fault,
    /// The state of `found` that this feed has seen; `None` before it has seen any.
    changes: Option<u64>,
    /// Partitions that were found and are asked about.
    joining: Option<Joining>,
    /// Partitions whose next offset is gone, by slot, and what they have instead.
    lost: BTreeMap<usize, Receiver<Result<There>>>,
    tools: Tools,
    /// Whom the client calls; known once the operator is built.
    waker: Arc<OnceLock<Waker>>,
    /// Made when the first partition joins: a worker without partitions has no client.
    client: Option<Reader>,
    partitions: Vec<Partition>,
    slots: HashMap<(String, i32), usize>,
    /// The slot of the last record: the next one is most likely of the same partition.
    last: usize,
    /// True while the partitions are paused.
    held: bool,
    /// True while the partitions are bounded.
    bounded: bool,
    /// True iff a partition may have stashed something, or may be paused because it has.
    stashing: bool,
    commits: Commits,
    damage: Damage,
}

impl KafkaFeed {
    /// The feed of the worker at `place`, without partitions yet.
    pub(super) fn new(
        settings: Settings,
        reading: Reading,
        patterns: Vec<Pattern>,
        place: Place,
        tools: Tools,
        fault: &Fault,
    ) -> Self {
        let commits = Commits::new(&reading.group);
        KafkaFeed {
            settings,
            reading,
            patterns,
            place,
            found: Arc::clone(&tools.found),
            fault: fault.clone(),
            changes: None,
            joining: None,
            lost: BTreeMap::new(),
            tools,
            waker: Arc::default(),
            client: None,
            partitions: Vec::new(),
            slots: HashMap::new(),
            last: 0,
            held: false,
            bounded: false,
            stashing: false,
            commits,
            damage: Damage::default(),
        }
    }

    /// Takes on the partitions that are there, from where the user says.
    ///
    /// # Errors
    /// If the offsets to start at can't be had.
    pub(super) fn begin(&mut self) -> Result<()> {
        let changes = self.found.changes();
        self.add(self.unread(), Wanted::From(self.reading.from))?;
        self.changes = Some(changes);
        Ok(())
    }

    /// Takes on the partitions that runs before have read, from these offsets. Others join at a boundary.
    ///
    /// # Errors
    /// If a partition or an offset is not there any more.
    pub(super) fn resume(&mut self, begin: &Topics) -> Result<()> {
        let topics = self.found.topics();
        let (mut known, mut offsets) = (Vec::new(), Vec::new());
        let place = self.place;
        for (topic, partitions) in begin {
            let there = topics.iter().find(|(name, _)| name == topic).map(|(_, partitions)| *partitions);
            for (&partition, &offset) in partitions.iter().filter(|(p, _)| place.owns(topic, **p)) {
                let read =
                    || format!("runs before have read {topic} partition {partition} up to offset {offset}");
                if !self.patterns.iter().any(|pattern| pattern.matches(topic)) {
                    bail!("{}, but the input is no longer bound to that topic", read());
                }
                match there {
                    Some(partitions) if partition < partitions => {}
                    Some(partitions) => {
                        bail!("{}, but the topic has {partitions} partitions; was it recreated?", read())
                    }
                    None => {
                        self.miss(topic, partition, offset);
                        continue;
                    }
                }
                known.push((topic.clone(), partition));
                offsets.push(offset);
            }
        }
        self.add(known, Wanted::Known(&offsets))
    }

    /// Takes on a partition whose topic was deleted: nothing is read of it. Whether something would have to be was looked at
    /// before (see `state::gone`).
    fn miss(&mut self, topic: &str, partition: i32, offset: i64) {
        self.slots.insert((topic.to_owned(), partition), self.partitions.len());
        let start = Start { wanted: offset, first: offset, end: offset, last: offset };
        let mut missing =
            Partition::new(topic.to_owned(), partition, offset, &start, false, Arc::new(Read::unseen()));
        missing.leave();
        self.partitions.push(missing);
    }

    /// The partitions that are this worker's and not yet read.
    fn unread(&self) -> Vec<(String, i32)> {
        let topics = self.found.topics();
        topics
            .iter()
            .filter(|(topic, _)| self.patterns.iter().any(|pattern| pattern.matches(topic)))
            .flat_map(|(topic, partitions)| (0..*partitions).map(move |partition| (topic.clone(), partition)))
            .filter(|(topic, partition)| {
                self.place.owns(topic, *partition) && !self.slots.contains_key(&(topic.clone(), *partition))
            })
            .collect()
    }

    /// Takes on partitions, before anything is read.
    fn add(&mut self, new: Vec<(String, i32)>, wanted: Wanted<'_>) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let consumer = Arc::clone(self.connect()?);
        let starts =
            retry(&self.fault, || starts(&consumer, &self.tools.ends, &self.reading, wanted, &new, REQUEST))?;
        self.take_on(new, starts, matches!(wanted, Wanted::From(_)))
    }

    /// The client, which is made when the first partition joins.
    fn connect(&mut self) -> Result<&Arc<BaseConsumer<Client>>> {
        if self.client.is_none() {
            let mut consumer = self.settings.consumer(&self.reading.group, self.tools.feeds)?;
            let waker = Arc::clone(&self.waker);
            consumer.set_nonempty_callback(move || {
                if let Some(wake) = waker.get() {
                    wake();
                }
            });
            let direct = self.tools.direct.as_ref();
            let room = queue(self.tools.feeds) * 1024;
            let direct = direct.map(|direct| direct.reader(&self.waker, room)).transpose()?;
            self.client = Some(Reader::new(Batches::new(Arc::new(consumer), BATCH), direct));
        }
        Ok(self.consumer())
    }

    /// Takes on partitions that are read from there. `new`: no run has read them before.
    fn take_on(&mut self, partitions: Vec<(String, i32)>, starts: Vec<Start>, new: bool) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let with_starts = partitions.iter().zip(&starts);
        let list: Vec<At<'_>> = with_starts
            .map(|((topic, partition), start)| (topic.as_str(), *partition, start.first))
            .collect();
        self.connect()?;
        self.reader().add(&list)?;
        for ((topic, partition), start) in partitions.into_iter().zip(starts) {
            tracing::debug!(
                "worker {}: {topic} partition {partition} from {}",
                self.place.worker,
                start.first
            );
            self.slots.insert((topic.clone(), partition), self.partitions.len());
            let read = self.tools.watch.add(&topic, partition);
            // The ledger's cuts are met to the offset, also where the records are gone.
            let next = if new { start.first } else { start.wanted };
            self.tools.watch.begins(&topic, partition, next);
            let id = self.found.ids().get(&topic);
            let added = Partition::new(topic, partition, next, &start, self.reading.until_end, read).of(id);
            self.partitions.push(if new { added.joining() } else { added });
        }
        Ok(())
    }

    fn consumer(&self) -> &Arc<BaseConsumer<Client>> {
        self.client.as_ref().expect(CLIENT).consumer()
    }

    fn reader(&mut self) -> &mut Reader {
        self.client.as_mut().expect(CLIENT)
    }

    /// Has all partitions that are not finished fetched once more, each from where it left off.
    fn assign(&mut self) -> Result<()> {
        let left = self.partitions.iter().filter(|p| !p.finished() && !p.gone);
        let list: Vec<At<'_>> = left.map(|p| (p.topic.as_str(), p.partition, p.position())).collect();
        self.client.as_mut().expect(CLIENT).assign(&list)?;
        // That has resumed them all.
        self.held = false;
        self.partitions.iter_mut().for_each(|partition| partition.paused = false);
        Ok(())
    }

    /// Pauses the partitions that have stashed enough, and resumes those that have nothing left of it.
    fn throttle(&mut self) -> Result<()> {
        let Some(client) = &mut self.client else { return Ok(()) };
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for partition in &mut self.partitions {
            if partition.gone {
                partition.paused = false;
                continue;
            }
            let list = match partition.paused {
                false if partition.overflows() => &mut pause,
                true if !partition.stashes() => &mut resume,
                _ => continue,
            };
            list.push((partition.topic.as_str(), partition.partition));
            partition.paused = !partition.paused;
        }
        if !pause.is_empty() {
            tracing::debug!(
                "worker {}: {} partitions are far ahead, pausing",
                self.place.worker,
                pause.len()
            );
            client.pause(&pause, true)?;
        }
        if !resume.is_empty() {
            client.pause(&resume, false)?;
        }
        self.stashing = self.partitions.iter().any(|partition| partition.paused || partition.stashes());
        Ok(())
    }

    /// True once all is read that is to be read, for now or for good.
    fn has_ended(&self) -> bool {
        if self.bounded {
            return self.partitions.iter().all(Partition::arrived);
        }
        // Partitions that have yet to join are not read yet.
        self.reading.until_end
            && self.changes == Some(self.found.changes())
            && self.partitions.iter().all(Partition::finished)
    }

    /// Pauses or resumes all partitions.
    fn hold(&mut self, hold: bool) -> Result<()> {
        if self.held == hold {
            return Ok(());
        }
        self.held = hold;
        let Some(client) = &mut self.client else { return Ok(()) };
        if hold {
            tracing::debug!("worker {}: output is slow, pausing", self.place.worker);
        }
        let held = self.partitions.iter().filter(|p| !p.finished() && !p.paused && !p.gone);
        client.pause(&held.map(|p| (p.topic.as_str(), p.partition)).collect::<Vec<_>>(), hold)
    }

    /// Has a partition that was halted fetched again from where it is read: librdkafka has passed over what has failed.
    fn reread(&mut self, slot: usize) -> Result<()> {
        let partition = &mut self.partitions[slot];
        partition.release();
        let at = (partition.topic.as_str(), partition.partition, partition.position());
        self.client.as_mut().expect(CLIENT).seek(at)
    }

    /// The wanted offset of a partition is gone, or an error of the partition ends the run.
    fn trouble(&mut self, trouble: Trouble) -> Result<()> {
        let Trouble { ref topic, partition, code, ref text, .. } = trouble;
        if code == RDKafkaErrorCode::GroupAuthorizationFailed {
            return Err(self.settings.denied(Act::Group(&self.reading.group)));
        }
        let Some(&slot) = self.slots.get(&(topic.clone(), partition)) else {
            // Of the whole client; unreachable brokers are told by its log.
            tracing::debug!("consumer error: {text} ({code})");
            return Ok(());
        };
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                self.ask_what_is_there(slot);
                Ok(())
            }
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => self.gone(slot, text),
            RDKafkaErrorCode::TopicAuthorizationFailed => Err(self.settings.denied(Act::Read(topic))),
            code if is_of_a_place(code) => {
                self.damage.again(&trouble, &self.settings)?;
                self.reread(slot)
            }
            _ => {
                // librdkafka tries again by itself.
                self.damage.warn(&trouble);
                Ok(())
            }
        }
    }
}

impl KafkaFeed {
    /// The topic of a partition was deleted: where its name was not typed but matches, the others are read on.
    ///
    /// # Errors
    /// If the topic was named, or records are lost that were to be read, and must not be.
    fn gone(&mut self, slot: usize, text: &str) -> Result<()> {
        let Partition { topic, partition, .. } = &self.partitions[slot];
        let place = format!("{topic} partition {partition}");
        if self.patterns.iter().any(|pattern| matches!(pattern, Pattern::Name(name) if name == topic)) {
            bail!("{place} is gone: {text}; was the topic deleted?");
        }
        let lost = self.partitions[slot].leave();
        if lost == 0 {
            tracing::debug!("{place} is gone: {text}");
        } else if self.reading.on_data_loss == OnDataLoss::Fail {
            bail!(
                "{place} is gone: the topic was deleted, and {lost} records of it were still to be read; \
                 --on-data-loss continue goes on without them"
            );
        } else {
            static GONE: Folded = Folded::new("partitions that are gone");
            GONE.warn_always(|| {
                format!("{place} is gone: the topic was deleted; going on without the {lost} records that were left")
            });
        }
        Ok(())
    }

    /// Has somebody ask what a partition has whose next offset is gone: the worker does not wait for the answer.
    fn ask_what_is_there(&mut self, slot: usize) {
        let Partition { topic, partition, .. } = &self.partitions[slot];
        let (topic, partition, ends) = (topic.clone(), *partition, Arc::clone(&self.tools.ends));
        let wanted = self.partitions[slot].position();
        let answer = self.tools.asker.ask(&self.waker, move |client| {
            There::ask(client, &ends, (&topic, partition), |end| wanted > end, LATER)
        });
        self.lost.insert(slot, answer);
    }

    /// Goes on with partitions whose next offset is gone, once it is known what they have.
    fn find_lost(&mut self) -> Result<()> {
        let answers: Vec<(usize, Result<There>)> =
            self.lost.iter().filter_map(|(&slot, answer)| Some((slot, answer.try_recv().ok()?))).collect();
        let mut found = false;
        for (slot, answer) in answers {
            self.lost.remove(&slot);
            match answer {
                Ok(there) => {
                    let (loss, again) = (self.reading.on_data_loss, self.bounded);
                    let lost = &mut self.partitions[slot];
                    let wanted = lost.position();
                    let start = available(loss, (&lost.topic, lost.partition), wanted, there, again)?;
                    lost.pass(start);
                    found = true;
                }
                // The broker is away.
                Err(error) => {
                    tracing::debug!("{error:#}; asking again");
                    self.ask_what_is_there(slot);
                }
            }
        }
        if found { self.assign() } else { Ok(()) }
    }

    /// Has somebody ask where the partitions begin that were found and are this worker's.
    fn ask_to_join(&mut self) {
        let changes = self.found.changes();
        if self.joining.is_some() || self.changes == Some(changes) {
            return;
        }
        let partitions = self.unread();
        if partitions.is_empty() {
            self.changes = Some(changes);
            return;
        }
        for (topic, partition) in &partitions {
            self.tools.watch.add(topic, *partition);
        }
        let (reading, asked, ends) = (self.reading.clone(), partitions.clone(), Arc::clone(&self.tools.ends));
        let starts = self.tools.asker.ask(&self.waker, move |client| {
            starts(client, &ends, &reading, Wanted::From(From::Earliest), &asked, LATER)
        });
        self.joining = Some(Joining { changes, partitions, starts });
    }

    /// Takes on the partitions that were asked about, once it is known where they begin.
    fn join(&mut self) -> Result<()> {
        let Some(Joining { changes, partitions, starts }) = self.joining.take() else { return Ok(()) };
        match starts.try_recv() {
            Err(TryRecvError::Empty) => self.joining = Some(Joining { changes, partitions, starts }),
            // Brokers learn of a partition one after the other, and it has no leader at first; or they are away.
            Ok(Err(error)) if error.is::<KafkaError>() => {
                tracing::debug!("worker {}: {error:#}; asking again", self.place.worker);
            }
            Ok(Err(error)) => return Err(error),
            Ok(Ok(starts)) => {
                let count = partitions.len();
                self.take_on(partitions, starts, true)?;
                self.changes = Some(changes);
                tracing::info!("worker {}: {count} new partitions", self.place.worker);
            }
            Err(TryRecvError::Disconnected) => {}
        }
        Ok(())
    }

    /// The ids that the client fetches by: what it hands over from here on is of topics with these ids.
    ///
    /// # Errors
    /// If one is not that of the topic that the run reads.
    fn verify(client: &Client, ids: &Pinned) -> Result<()> {
        let changed = client.changed_ids();
        if changed.is_empty() {
            return Ok(());
        }
        changed.into_iter().try_for_each(|(topic, id)| ids.learn(&Ids::from([(topic, Some(id))])))
    }

    /// Says what a bounded run has not read.
    fn tell_held_back(&self) {
        for partition in &self.partitions {
            if let Some((from, to)) = partition.held_back() {
                let Partition { topic, partition, .. } = partition;
                static UNREAD: Folded = Folded::new("partitions that were not read to the end");
                UNREAD.warn_always(|| {
                    format!(
                        "{topic} partition {partition}: up to {} records, offsets {from} to {}, were not read: when this run \
                         began they waited for an open transaction",
                        to - from,
                        to - 1
                    )
                });
            }
        }
    }
}

impl KafkaFeed {
    /// Hands over what was stashed, where the budget has room for records. What the poll comes to, if that ends it.
    fn serve_stashed(&mut self, left: &mut Budget, each: &mut Each<'_>) -> Result<Option<Polled>> {
        if !self.stashing || left.records == 0 {
            return Ok(None);
        }
        self.partitions.iter_mut().for_each(|partition| partition.serve(left, each));
        self.throttle()?;
        Ok(if self.has_ended() {
            Some(Polled::Ended)
        } else if left.records == 0 || left.bytes == 0 {
            Some(Polled::More)
        } else {
            None
        })
    }

    /// Hands over the next messages of the client, `most` at most: how many there were, and how many bytes of records.
    fn read_batch(&mut self, most: usize, each: &mut Each<'_>) -> Result<(usize, usize)> {
        let client = self.client.as_mut().expect("a feed that is polled has a client");
        let failing = client.consumer().context().is_failing();
        let mut told = Told::default();
        let mut batch = Batch {
            slots: &self.slots,
            partitions: &mut self.partitions,
            last: &mut self.last,
            failing,
            told: &mut told,
            each,
        };
        let check = |client: &Client| KafkaFeed::verify(client, self.found.ids());
        let read = client.poll(most, check, &mut batch)?;
        let Told { bytes, early, troubles, answered } = told;
        if self.bounded || early {
            self.throttle()?;
        }
        for trouble in troubles {
            self.trouble(trouble)?;
        }
        damage::check_answers(self.consumer().context(), &self.settings)?;
        if !answered.is_empty() {
            self.consumer().context().answered(&answered);
        }
        Ok((read, bytes))
    }
}

impl Feed for KafkaFeed {
    fn wake(&mut self, waker: Waker) {
        self.found.wake(Arc::clone(&waker));
        // Records that come before this call need no waker: an operator runs once by itself.
        let _ = self.waker.set(waker);
    }

    fn poll(&mut self, budget: Budget, each: &mut Each<'_>) -> Result<Polled> {
        if self.has_ended() {
            return Ok(Polled::Ended);
        }
        if self.client.is_none() {
            return Ok(Polled::Waiting);
        }
        self.consumer().context().log_in(self.consumer().client());
        if let Some(client) = &self.client {
            self.commits.poll(client.consumer(), &self.tools.asker, &self.waker);
        }
        if !self.lost.is_empty() {
            self.find_lost()?;
        }
        self.hold(budget.records == 0)?;
        let mut left = budget;
        if let Some(polled) = self.serve_stashed(&mut left, each)? {
            return Ok(polled);
        }
        left.records = left.records.max(1);
        loop {
            let most = left.records.min(BATCH);
            let (read, bytes) = self.read_batch(most, each)?;
            if self.has_ended() {
                return Ok(Polled::Ended);
            }
            if read < most {
                self.partitions.iter().for_each(Partition::show);
                return Ok(Polled::Waiting);
            }
            left.records = left.records.saturating_sub(read);
            left.bytes = left.bytes.saturating_sub(bytes);
            if left.records == 0 || left.bytes == 0 {
                return Ok(Polled::More);
            }
        }
    }

    fn bound(&mut self, stops: Option<Topics>) -> Result<()> {
        self.bounded = stops.is_some();
        let Some(stops) = stops else {
            self.partitions.iter_mut().for_each(|partition| partition.bound(None));
            return Ok(());
        };
        for partition in &mut self.partitions {
            let next = partition.next;
            partition.bound(Some(next));
        }
        for (topic, partitions) in &stops {
            for (&partition, &stop) in partitions.iter().filter(|(p, _)| self.place.owns(topic, **p)) {
                let slot = self.slots.get(&(topic.clone(), partition));
                let Some(slot) = slot.and_then(|&slot| self.partitions.get_mut(slot)) else {
                    bail!(
                        "{topic} partition {partition} is to be read up to offset {stop}, but from nowhere"
                    );
                };
                if stop > slot.end && !slot.gone {
                    bail!(
                        "{topic} partition {partition}: runs before have read up to offset {stop}, but the partition \
                         ends at {}; was the topic recreated, or has it lost records?",
                        slot.end
                    );
                }
                slot.bound(Some(stop));
                slot.moved = true;
            }
        }
        Ok(())
    }

    fn moved(&mut self) -> Vec<Moved> {
        let client = &self.client;
        let mut moved: Vec<Moved> = self
            .partitions
            .iter_mut()
            .filter(|p| p.moved)
            .map(|p| {
                p.moved = false;
                p.found();
                let known = client.as_ref().and_then(|client| client.known_end(&p.topic, p.partition));
                p.end = if p.gone { p.next } else { p.end.max(known.unwrap_or(0)).max(p.next) };
                let (topic, start, id) = (p.topic.clone(), p.start.take(), p.id.take());
                Moved { topic, partition: p.partition, start, id, next: p.next, end: p.end }
            })
            .collect();
        moved.sort();
        moved
    }

    fn behind(&self, each: &mut dyn FnMut(&str, i32)) {
        self.partitions.iter().filter(|p| p.is_behind()).for_each(|p| each(&p.topic, p.partition));
    }

    fn boundary(&mut self) -> Result<()> {
        if self.bounded {
            return Ok(());
        }
        self.join()?;
        self.ask_to_join();
        Ok(())
    }

    fn published(&mut self, moved: &[Moved], last: bool) {
        if last {
            self.tell_held_back();
        }
        if !self.reading.commits {
            return;
        }
        for Moved { topic, partition, next, .. } in moved {
            let place = (topic.clone(), *partition);
            // The group holds no offsets of topics that were deleted.
            if self.slots.get(&place).is_none_or(|&slot| !self.partitions[slot].gone) {
                self.commits.add(place, *next);
            }
        }
        if last && let Some(client) = &self.client {
            self.commits.finish(client.consumer());
        }
    }
}
