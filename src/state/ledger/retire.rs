//! Retiring: old segments go, and where each sync makes a file, small ones are joined.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use cutwater_dataflows::Epoch;

use super::Segments;
use super::segment::{self, Header, Scan, Segment, scan};
use crate::state::storage::Storage;

/// So many segments are joined at least.
const JOINED: usize = 16;
/// Segments are joined until they have that many bytes.
const JOINED_BYTES: usize = 1 << 20;

/// Retires what is not needed of a ledger. Clones share it; while one works, the ledger is written all the same.
#[derive(Clone)]
pub struct Retirer {
    storage: Arc<dyn Storage>,
    segments: Segments,
    /// [`JOINED_BYTES`]; less in tests.
    pub(super) joined_bytes: usize,
    /// One at a time.
    working: Arc<Mutex<()>>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Segments that were removed with their entries.
    pub removed: usize,
    /// Segments whose entries are in another one now.
    pub joined: usize,
}

impl Retirer {
    pub(super) fn new(storage: Arc<dyn Storage>, segments: Segments) -> Self {
        Retirer { storage, segments, joined_bytes: JOINED_BYTES, working: Arc::default() }
    }

    /// Removes segments that hold only epochs before `keep_from`, written before the time `before`: microseconds since
    /// the Unix epoch. What remains has the cut of the epoch before `keep_from`.
    ///
    /// Where storage does not append, a run that has slept since before that time, while another took over and wrote
    /// on, is no longer kept from writing the epochs that were retired.
    ///
    /// # Errors
    /// If a segment can't be read or removed. It can be tried again.
    pub fn retire(&self, keep_from: Epoch, before: u64) -> Result<Retired> {
        let _one = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = self.remove(keep_from, before)?;
        let joined = if self.storage.appends() { 0 } else { self.join()? };
        Ok(Retired { removed, joined })
    }

    fn remove(&self, keep_from: Epoch, before: u64) -> Result<usize> {
        let segments = self.segments.now();
        let mut old: Vec<&Segment> = Vec::new();
        for segment in &segments {
            let Some(next) = segments.iter().find(|next| next.first > segment.reach()) else { break };
            if next.first > keep_from || self.header(next)?.time >= before {
                break;
            }
            old.push(segment);
        }
        // A long one goes after those whose entries it holds: what is left if this ends early has no gap.
        old.sort_by_key(|segment| (segment.reach(), std::cmp::Reverse(segment.first)));
        for segment in &old {
            self.drop_segment(segment)?;
        }
        Ok(old.len())
    }

    fn header(&self, segment: &Segment) -> Result<Header> {
        let bytes = self.read(segment)?;
        scan(&bytes, segment.first).header.map_err(|why| self.damaged(segment, &why))
    }

    fn read(&self, segment: &Segment) -> Result<Vec<u8>> {
        let bytes = self.storage.read(&segment.name(), None)?;
        bytes.ok_or_else(|| self.damaged(segment, "it is gone"))
    }

    fn damaged(&self, segment: &Segment, why: &str) -> anyhow::Error {
        anyhow!("the ledger is damaged: {}/{}: {why}", self.storage.place(), segment.name())
    }

    fn drop_segment(&self, segment: &Segment) -> Result<()> {
        self.storage.remove(&segment.name())?;
        self.segments.change(|segments| segments.retain(|other| other != segment));
        Ok(())
    }

    /// Joins segments that follow on each other and are of the same run. The first of each run stays as well: it is
    /// what a run finds that does not know yet that another has taken over.
    fn join(&self) -> Result<usize> {
        let mut joined = 0;
        let mut group = Group::default();
        let segments = self.segments.now();
        let mut covered = 0;
        for segment in &segments {
            covered = covered.max(segment.last.unwrap_or(0));
            if segment.last.is_some() {
                joined += self.finish(std::mem::take(&mut group))?;
                continue;
            }
            if segment.first <= covered {
                // It is in a longer one: it stays, or was to go when the last run ended.
                let header = self.header(segment)?;
                if header.since != segment.first {
                    self.drop_segment(segment)?;
                }
                continue;
            }
            let bytes = self.read(segment)?;
            let Scan { header, entries, torn, .. } = scan(&bytes, segment.first);
            let header = header.map_err(|why| self.damaged(segment, &why))?;
            let mut last = segment.first - 1;
            for entry in entries {
                last = entry.map_err(|why| self.damaged(segment, &why))?.epoch;
            }
            if let Some(torn) = torn {
                return Err(self.damaged(segment, &torn.why));
            }
            if header.since == segment.first || group.bytes.len() > self.joined_bytes {
                joined += self.finish(std::mem::take(&mut group))?;
            }
            group.add(segment, header.since == segment.first, last, &bytes);
        }
        Ok(joined + self.finish(group)?)
    }

    fn finish(&self, group: Group) -> Result<usize> {
        let Some(first) = group.segments.first().map(|(segment, _)| segment.first) else { return Ok(0) };
        if group.segments.len() < JOINED {
            return Ok(0);
        }
        let whole = Segment { first, last: Some(group.last) };
        self.storage.put(&whole.name(), &group.bytes)?;
        self.segments.change(|segments| {
            segments.push(whole);
            segments.sort_by_key(segment::order);
        });
        let mut joined = 0;
        for (segment, _) in group.segments.iter().filter(|(_, first_of_run)| !first_of_run) {
            self.drop_segment(segment)?;
            joined += 1;
        }
        Ok(joined)
    }
}

/// Segments that are to be joined.
#[derive(Default)]
struct Group {
    /// Each with whether it is the first of its run.
    segments: Vec<(Segment, bool)>,
    /// The last epoch in them.
    last: Epoch,
    /// The header of the first, and all their lines.
    bytes: Vec<u8>,
}

impl Group {
    fn add(&mut self, segment: &Segment, first_of_run: bool, last: Epoch, bytes: &[u8]) {
        let header = bytes.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines = if self.segments.is_empty() { 0 } else { header };
        self.bytes.extend_from_slice(&bytes[lines..]);
        self.segments.push((segment.clone(), first_of_run));
        self.last = last;
    }
}
