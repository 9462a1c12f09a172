//! Reading the ledger: segment by segment, each entry held against those before it.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Result, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::watermark::Times;

use super::segment::{self, Header, Scan, Segment};
use crate::state::cut::Cut;
use crate::state::resume::Entry;
use crate::state::storage::Storage;

/// Something wrong with a line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, with where it is.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}: {}", self.file, self.line, self.why)
    }
}

/// What is found in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A segment begins, with cut and times of the epoch before its first.
    Segment(Cut, Times),
    /// An entry. Those of segments that overlap come once.
    Entry {
        /// The entry.
        entry: Entry,
        /// Where its partitions were before it; without those whose start it names.
        before: Cut,
    },
    /// Damage. What comes after it may not fit to what came before.
    Damage(Problem),
    /// The last thing: from this line on there is what was never durable, or is about to be written.
    Torn(Problem),
}

/// Reads the ledger, in order. It may be written at the same time, and retired.
pub struct Reading<'a> {
    storage: &'a dyn Storage,
    /// Whose ledger it must be; if it is not known, that of the first segment's job.
    job: Option<String>,
    waiting: VecDeque<Segment>,
    /// The segment that was gone when it was to be read.
    gone: Option<Segment>,
    found: VecDeque<Found>,
    pub(super) sequence: Sequence,
    /// The segment that was read last, and its bytes before what is torn.
    pub(super) tail: Option<(Segment, u64)>,
}

impl<'a> Reading<'a> {
    /// Reads all that there is, for the job if it is known.
    ///
    /// # Errors
    /// If the files can't be listed.
    pub fn all(storage: &'a dyn Storage, job: Option<&str>) -> Result<Self> {
        let segments = segment::list(storage)?;
        Ok(Reading::of(storage, job, segments))
    }

    /// Reads these segments.
    pub(super) fn of(
        storage: &'a dyn Storage,
        job: Option<&str>,
        segments: impl IntoIterator<Item = Segment>,
    ) -> Self {
        Reading {
            storage,
            job: job.map(str::to_owned),
            waiting: segments.into_iter().collect(),
            gone: None,
            found: VecDeque::new(),
            sequence: Sequence::default(),
            tail: None,
        }
    }

    fn read(&mut self, segment: Segment) -> Result<()> {
        let name = segment.name();
        let Some(bytes) = self.storage.read(&name, None)? else { return self.look_again(segment) };
        let scan = segment::scan(&bytes, segment.first);
        let file = format!("{}/{name}", self.storage.place());
        let problem = |line: usize, why: String| Problem { file: file.clone(), line: line + 1, why };
        let Scan { header, entries, torn, length } = scan;
        self.sequence.forget_before(segment.first);
        match header {
            Ok(header) => {
                let job = self.job.get_or_insert_with(|| header.job.clone());
                let wrong = self.sequence.header(&segment, &header, job);
                self.found.push_back(Found::Segment(header.cut, header.times));
                self.found.extend(wrong.into_iter().map(|why| Found::Damage(problem(0, why))));
            }
            Err(why) if torn.is_none() => self.damage(problem(0, why)),
            Err(_) => {}
        }
        for (index, entry) in entries.into_iter().enumerate() {
            match entry.and_then(|entry| self.sequence.entry(entry)) {
                Ok(Some((entry, before))) => self.found.push_back(Found::Entry { entry, before }),
                Ok(None) => {}
                Err(why) => self.damage(problem(index + 1, why)),
            }
        }
        if let Some(torn) = &torn {
            let problem = problem(torn.line, torn.why.clone());
            // Only who appends can be torn, and only at the end.
            if self.storage.appends() && self.waiting.is_empty() {
                self.found.push_back(Found::Torn(problem));
            } else {
                self.damage(problem);
            }
        }
        self.tail = Some((segment, length));
        Ok(())
    }

    fn damage(&mut self, problem: Problem) {
        self.sequence.lose();
        self.found.push_back(Found::Damage(problem));
    }

    /// A segment was retired since it was listed, or joined with others.
    fn look_again(&mut self, segment: Segment) -> Result<()> {
        if self.gone.as_ref() == Some(&segment) {
            bail!("{}/{} is listed, but not there", self.storage.place(), segment.name());
        }
        let next = self.sequence.next.unwrap_or(segment.first);
        let segments = segment::list(self.storage)?;
        let begin = segment::begin(&segments, next);
        self.waiting = segments.into_iter().skip(begin).collect();
        if self.waiting.front().is_some_and(|front| front.first > next) {
            self.sequence.lose();
        }
        self.gone = Some(segment);
        Ok(())
    }
}

impl Iterator for Reading<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Result<Found>> {
        while self.found.is_empty() {
            let segment = self.waiting.pop_front()?;
            if let Err(error) = self.read(segment) {
                self.waiting.clear();
                return Some(Err(error));
            }
        }
        self.found.pop_front().map(Ok)
    }
}

/// Holds each entry against those before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence {
    /// The epoch that must come next, if it is known.
    pub(super) next: Option<Epoch>,
    /// Cut and times of the epoch before.
    pub(super) cut: Cut,
    pub(super) times: Times,
    /// All epochs up to this one were published when the last line was written.
    pub(super) published: Epoch,
    /// Lines that are missing may have moved the cut.
    lossy: bool,
    /// Entries that segments may hold again, by epoch.
    recent: BTreeMap<Epoch, Entry>,
}

impl Sequence {
    /// What comes after this epoch, which is the last one of `before`.
    pub(super) fn after(epoch: Epoch, before: Sequence) -> Self {
        let Sequence { cut, times, published, .. } = before;
        Sequence { next: Some(epoch + 1), cut, times, published, ..Sequence::default() }
    }

    /// A segment begins. Returns what is wrong.
    fn header(&mut self, segment: &Segment, header: &Header, job: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        if header.job != job {
            wrong.push(format!(
                "it is of job {}, not of job {job}: two states are mixed, or job.json was replaced",
                header.job
            ));
        }
        if header.epoch != segment.first {
            wrong.push(format!("it begins with epoch {}, its name says {}", header.epoch, segment.first));
        }
        match self.next {
            // It overlaps those before.
            Some(next) if header.epoch < next => return wrong,
            Some(next) if header.epoch > next => wrong.push(gap(next, header.epoch)),
            Some(_) if !self.lossy && header.cut != self.cut => {
                wrong.push("its cut is not that of the epoch before it".to_owned());
            }
            Some(_) if !self.lossy && header.times != self.times => {
                wrong.push("its times are not those of the epoch before it".to_owned());
            }
            Some(_) | None => {}
        }
        self.next = Some(header.epoch);
        self.cut = header.cut.clone();
        self.times = header.times.clone();
        self.published = self.published.max(header.published);
        self.lossy = false;
        wrong
    }

    /// Takes the next entry; returns it and where its partitions were before, unless it has come before.
    fn entry(&mut self, entry: Entry) -> Result<Option<(Entry, Cut)>, String> {
        let next = self.next.unwrap_or(entry.epoch);
        if entry.epoch < next {
            return match self.recent.get(&entry.epoch) {
                Some(before) if *before != entry => {
                    Err(format!("epoch {} was there before, with another cut or time", entry.epoch))
                }
                _ => Ok(None),
            };
        }
        if entry.epoch > next {
            return Err(gap(next, entry.epoch));
        }
        let before = self.before(&entry);
        self.advance(&entry)?;
        self.recent.insert(entry.epoch, entry.clone());
        Ok(Some((entry, before)))
    }

    /// Where the partitions are that an entry moves.
    fn before(&self, entry: &Entry) -> Cut {
        let mut before = Cut::default();
        for (input, topic, partition, _) in entry.cut.iter() {
            if let Some(offset) = self.cut.get(input, topic, partition) {
                before.set(input, topic, partition, offset);
            }
        }
        before
    }

    /// Moves the cut as an entry says, which is of the next epoch.
    pub(super) fn advance(&mut self, entry: &Entry) -> Result<(), String> {
        for (input, topic, partition, next) in entry.cut.iter() {
            let from = self.cut.get(input, topic, partition);
            if let Some(from) = from.or_else(|| entry.starts.get(input, topic, partition))
                && next < from
            {
                return Err(format!(
                    "epoch {}: {topic} partition {partition} goes back from offset {from} to {next}",
                    entry.epoch
                ));
            }
        }
        self.cut.advance(&entry.cut);
        self.times = entry.times.clone();
        self.next = Some(entry.epoch + 1);
        self.published = self.published.max(entry.published);
        Ok(())
    }

    /// Lines are missing: the next one may be of any epoch.
    fn lose(&mut self) {
        self.next = None;
        self.lossy = true;
    }

    /// No segment begins before this epoch any more.
    fn forget_before(&mut self, epoch: Epoch) {
        self.recent = self.recent.split_off(&epoch);
    }
}

fn gap(next: Epoch, found: Epoch) -> String {
    if found == next + 1 {
        format!("epoch {found} follows, epoch {next} is missing")
    } else {
        format!("epoch {found} follows, epochs {next} to {} are missing", found - 1)
    }
}
