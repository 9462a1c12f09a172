//! The ledger: the cut of every epoch, on disk before anything of the epoch leaves.
//!
//! It is lines of JSON, in segments: files that are named by the first epoch in them. The first line of a segment is a
//! header with the whole cut before that epoch, so that the segments before it can be retired; each line after it is
//! the [`Entry`] of an epoch, with what has moved. Each line ends with its checksum (see [`sealed`](super::sealed)).
//!
//! Where the storage appends, several epochs are one write and one sync at the end of the last segment. A crash may
//! leave anything in place of what was not synced. Each line says up to which epoch the ledger was durable when it was
//! written: a bad line that no later one knows to have been durable is where a torn tail begins, and that is cut off;
//! any other bad line is damage. That what was cut off had not been durable is known only so far: who knows better (a
//! checkpoint of a later epoch, a sink that holds one) must compare with [`Ledger::last`].
//!
//! Where the storage does not append, epochs that are synced together are a segment of their own, which is *created*:
//! of two runs that resume from the same epoch, one finds the file there, and ends.

mod cuts;
mod lookup;
mod reading;
mod retire;
mod segment;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow, bail, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::watermark::Times;

use super::cut::Cut;
use super::resume::Entry;
use super::sealed::seal;
use super::storage::Storage;
pub use cuts::LedgerCuts;
pub use lookup::Lookup;
use reading::Sequence;
pub use reading::{Found, Problem, Reading};
pub use retire::{Retired, Retirer};
use segment::{Header, Segment};
pub use verify::{Verified, verify};

/// The folder of the segments.
pub const FOLDER: &str = "ledger";
/// A segment that has that many bytes gets no more lines.
const SEGMENT_BYTES: u64 = 1 << 20;

/// The ledger of a job, for who alone writes it.
pub struct Ledger {
    storage: Arc<dyn Storage>,
    job: String,
    /// A random number: which run it is.
    run: String,
    /// The first epoch that this run writes.
    since: Epoch,
    /// Those that are durable, in their order.
    segments: Segments,
    /// [`SEGMENT_BYTES`]; less in tests.
    segment_bytes: u64,
    /// Where lines are appended: the last segment, and its durable bytes.
    tail: Option<(Segment, u64)>,
    /// What is durable.
    durable: Sequence,
    /// What is appended.
    appended: Sequence,
    /// The entries that are not durable, and their lines.
    entries: Vec<Entry>,
    lines: Vec<u8>,
}

/// What the ledger says of an epoch and those after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// The cut of the epoch.
    pub cut: Cut,
    /// Its times.
    pub times: Times,
    /// The entries after it.
    pub entries: Vec<Entry>,
}

/// The segments of a ledger, shared by who writes and who retires them.
#[derive(Clone, Default)]
struct Segments(Arc<Mutex<Vec<Segment>>>);

impl Segments {
    fn now(&self) -> Vec<Segment> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first epoch in them.
    fn first(&self) -> Option<Epoch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).first().map(|segment| segment.first)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Segment>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Ledger {
    /// Opens the ledger of a job for writing, and cuts off a torn tail. All that it holds then is durable.
    ///
    /// Reads the end only: damage further up is found when it is read, or by [`verify`].
    ///
    /// # Errors
    /// If it is damaged, or of another job: names file and line. If it can't be read or written.
    pub fn open(storage: Arc<dyn Storage>, job: &str) -> Result<Ledger> {
        let mut segments = segment::list(&*storage)?;
        let mut begin = segment::begin(&segments, Epoch::MAX);
        if storage.appends() && begin > 0 {
            // The one before, too: it is the end where the last one holds nothing.
            begin = segment::begin(&segments[..begin], segments[begin].first - 1);
        }
        let mut reading = Reading::of(&*storage, Some(job), segments[begin..].to_vec());
        let mut torn = None;
        for found in &mut reading {
            match found? {
                Found::Segment(..) | Found::Entry { .. } => {}
                Found::Damage(problem) => bail!("the ledger is damaged: {problem}"),
                Found::Torn(problem) => torn = Some(problem),
            }
        }
        let Reading { sequence, tail, .. } = reading;
        let tail = match tail.filter(|_| storage.appends()) {
            Some((segment, length)) => repair(&*storage, segment, length, torn, sequence.next)?,
            None => None,
        };
        if storage.appends() && tail.is_none() {
            segments.pop();
        }
        let last = sequence.next.map_or(0, |next| next - 1);
        let durable = Sequence::after(last, sequence);
        // Lines that follow a joined segment need one of their own.
        let joined = |tail: &Segment| segments.iter().any(|s| s.last.is_some_and(|last| last >= tail.first));
        Ok(Ledger {
            job: job.to_owned(),
            run: format!("{:016x}", rand::random::<u64>()),
            since: last + 1,
            segment_bytes: SEGMENT_BYTES,
            tail: tail.filter(|(segment, _)| !joined(segment)),
            segments: Segments(Arc::new(Mutex::new(segments))),
            appended: durable.clone(),
            durable,
            entries: Vec::new(),
            lines: Vec::new(),
            storage,
        })
    }

    /// The last epoch that is durable; 0 where there is none.
    pub fn last(&self) -> Epoch {
        self.durable.next.map_or(0, |next| next - 1)
    }

    /// The first and the last epoch that are durable; `None` where there is none.
    pub fn range(&self) -> Option<(Epoch, Epoch)> {
        let last = self.last();
        let first = self.segments.first().unwrap_or(last);
        (last > 0).then_some((first.min(last), last))
    }

    /// The cut of that epoch.
    pub fn cut(&self) -> &Cut {
        &self.durable.cut
    }

    /// All epochs up to this one had been published when the last entry was written.
    pub fn published(&self) -> Epoch {
        self.durable.published
    }

    /// Cut and times of an epoch, and the entries after it: those that are durable.
    ///
    /// # Errors
    /// If the ledger doesn't reach from that epoch to its end, or is damaged there: names file and line.
    pub fn since(&self, epoch: Epoch) -> Result<Since> {
        let (place, last) = (self.storage.place(), self.last());
        ensure!(
            epoch <= last,
            "the ledger in {place} has lost its end: it ends with epoch {last}, and epoch {epoch} was in it"
        );
        let segments = self.segments.now();
        let begin = segment::begin(&segments, epoch + 1);
        let segments = segments[begin..].to_vec();
        let mut known: Option<(Cut, Times)> = None;
        let mut entries = Vec::new();
        for found in Reading::of(&*self.storage, Some(&self.job), segments) {
            match found? {
                Found::Segment(cut, times) => {
                    known.get_or_insert((cut, times));
                }
                Found::Entry { entry, .. } if entry.epoch <= epoch => {
                    let (cut, times) = known.get_or_insert_default();
                    cut.advance(&entry.cut);
                    *times = entry.times;
                }
                Found::Entry { entry, .. } if entry.epoch <= last => entries.push(entry),
                Found::Entry { .. } | Found::Torn(_) => {}
                Found::Damage(problem) => bail!("the ledger is damaged: {problem}"),
            }
        }
        let first = entries.first().map_or(last + 1, |entry| entry.epoch);
        ensure!(
            first == epoch + 1,
            "the ledger in {place} is needed from epoch {} on, and begins with epoch {first}: what was before is lost",
            epoch + 1
        );
        let end = entries.last().map_or(epoch, |entry| entry.epoch);
        ensure!(
            end == last,
            "the ledger in {place} has lost its end: it had epoch {last}, and ends with epoch {end}"
        );
        let (cut, times) = known.unwrap_or_default();
        Ok(Since { cut, times, entries })
    }

    /// Adds the entry of the next epoch, in memory: [`Ledger::sync`] makes it durable.
    ///
    /// # Errors
    /// If it is not of the next epoch, or a partition goes back.
    pub fn append(&mut self, entry: Entry) -> Result<()> {
        let next = self.appended.next.unwrap_or(1);
        ensure!(entry.epoch == next, "the ledger goes on with epoch {next}, not with epoch {}", entry.epoch);
        self.appended.advance(&entry).map_err(|why| anyhow!(why))?;
        self.lines.extend(segment::line(&entry, self.last()));
        self.entries.push(entry);
        Ok(())
    }

    /// Makes all that was added durable, with one write. After an error it can be tried again, before more is added.
    ///
    /// # Errors
    /// If it can't be written. If another run writes the ledger now.
    pub fn sync(&mut self) -> Result<()> {
        let Some(first) = self.entries.first() else { return Ok(()) };
        match &mut self.tail {
            Some((segment, length)) if *length < self.segment_bytes => {
                self.storage.append(&segment.name(), *length, &self.lines)?;
                *length += self.lines.len() as u64;
            }
            _ => {
                let segment = Segment { first: first.epoch, last: None };
                let length = self.begin(&segment, first)?;
                self.tail = self.storage.appends().then(|| (segment.clone(), length));
                // Only now: what is before it may be retired when it is durable.
                self.segments.change(|segments| segments.push(segment));
            }
        }
        self.lines.clear();
        for entry in self.entries.drain(..) {
            self.durable.advance(&entry).map_err(|why| anyhow!(why))?;
        }
        Ok(())
    }

    /// Writes a segment of a header and all lines. Returns its length.
    fn begin(&self, segment: &Segment, first: &Entry) -> Result<u64> {
        let header = Header {
            format: segment::FORMAT,
            job: self.job.clone(),
            run: self.run.clone(),
            since: self.since,
            epoch: first.epoch,
            time: first.time,
            published: self.published(),
            cut: self.durable.cut.clone(),
            times: self.durable.times.clone(),
        };
        let bytes = [seal(&header).as_slice(), &self.lines].concat();
        let name = segment.name();
        if self.storage.appends() {
            self.storage.append(&name, 0, &bytes)?;
        } else if !self.storage.create(&name, &bytes)?
            && self.storage.read(&name, None)?.as_ref() != Some(&bytes)
        {
            // If it is what we wanted to write, we did so before, and have not heard of it.
            bail!(
                "another run has taken over: {}/{name}, the next file of the ledger, is there already; one run at a \
                 time can write a state",
                self.storage.place()
            );
        }
        Ok(bytes.len() as u64)
    }

    /// Who retires what is not needed of it any more, from any thread.
    pub fn retirer(&self) -> Retirer {
        Retirer::new(Arc::clone(&self.storage), self.segments.clone())
    }
}

/// Cuts off what is torn behind `length` bytes of the last segment, and has the rest be durable. Returns the tail;
/// `None` where the segment held nothing, and was removed. `next` is the epoch after those that were read.
fn repair(
    storage: &dyn Storage,
    segment: Segment,
    length: u64,
    torn: Option<Problem>,
    next: Option<Epoch>,
) -> Result<Option<(Segment, u64)>> {
    let name = segment.name();
    if let Some(torn) = torn {
        // A segment is the first that there ever was, or begins where another ends.
        if length == 0 && segment.first != next.unwrap_or(1) {
            bail!("the ledger is damaged: {torn}");
        }
        tracing::warn!("the ledger ends with what was not written completely; it is cut off: {torn}");
    }
    if length == 0 {
        storage.remove(&name)?;
        return Ok(None);
    }
    // Even where nothing is cut off: what was read may not be durable yet, and is about to be relied upon.
    storage.append(&name, length, b"")?;
    Ok(Some((segment, length)))
}
