//! What a broker has handed over of one partition, and how far it is read.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use rdkafka::types::RDKafkaErrorCode;

use super::batch::{Batch, HEADER, Raw, Records, Wrong, is_abort};
use super::codecs::Codecs;

/// A partition's batches, as they came.
pub(super) struct Chunk {
    /// The batches; the last one may be cut off.
    pub(super) records: Bytes,
    /// The transactions that were aborted and have records here: who wrote them and where they begin, in order.
    pub(super) aborted: Vec<(i64, i64)>,
    /// The offset that was asked for.
    pub(super) from: i64,
    /// Are checksums looked at?
    pub(super) checked: bool,
}

/// What the headers of some batches say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// The offset after the last whole batch.
    pub(super) after: i64,
    /// The leader's epoch of that batch.
    pub(super) epoch: i32,
}

/// How far the whole batches of these bytes reach; `None` if there is none. Looks at the headers alone.
///
/// # Errors
/// If one can't be a header.
pub(super) fn reach(records: &[u8]) -> Result<Option<Reach>, Wrong> {
    let (mut at, mut reach) = (0, None);
    while let Some(batch) = Batch::first(&records[at..])? {
        reach = Some(Reach { after: batch.after()?, epoch: batch.leader_epoch() });
        at += batch.len();
    }
    Ok(reach)
}

/// Reads batches as a broker hands them over: each record that is committed goes to `each`, in order. `aborted` are the
/// transactions that were aborted, as who wrote them and where they begin; what a batch expands to may have `most` bytes. A
/// batch that is cut off at the end is left out.
///
/// ```
/// # use cutwater::feed::kafka::direct::read;
/// let mut records = 0;
/// read(bytes::Bytes::new(), Vec::new(), 1 << 20, &mut |_| records += 1).expect("nothing is no damage");
/// assert_eq!(records, 0);
/// ```
///
/// Linear in the bytes, and in what they expand to; holds one batch expanded.
///
/// # Errors
/// If they are no batches, or damaged, or one expands to more: records before that have been handed over.
pub fn read(
    batches: Bytes,
    mut aborted: Vec<(i64, i64)>,
    most: usize,
    each: &mut dyn FnMut(&Raw<'_>),
) -> Result<(), Wrong> {
    let failed = |error: std::io::Error| Wrong { code: RDKafkaErrorCode::Fail, text: error.to_string() };
    let mut codecs = Codecs::new(most).map_err(failed)?;
    aborted.sort_unstable_by_key(|(_, first)| *first);
    let chunk = Chunk { records: batches, aborted, from: 0, checked: true };
    let mut cursor = Cursor::new(chunk, Vec::new());
    while let Some(record) = cursor.next(&mut codecs)? {
        each(&record);
    }
    Ok(())
}

/// Reads a chunk, in order, and can be left at any record.
pub(super) struct Cursor {
    chunk: Chunk,
    /// Where the next batch begins.
    at: usize,
    /// The offset that this is about: the first one of a batch, or after it.
    place: i64,
    /// The batch that is read.
    open: Option<Open>,
    /// What the open batch expands to, if it is compressed.
    expanded: Vec<u8>,
    /// How many of the aborted transactions have begun.
    begun: usize,
    /// Whose transaction, as far as this is read, was aborted.
    aborted: HashSet<i64>,
}

struct Open {
    records: Records,
    /// Its body; `None` if that is what was expanded.
    body: Option<Range<usize>>,
}

impl Cursor {
    /// At the beginning of `chunk`. `spare` is memory to expand into.
    pub(super) fn new(chunk: Chunk, spare: Vec<u8>) -> Self {
        let place = chunk.from;
        Cursor { chunk, at: 0, place, open: None, expanded: spare, begun: 0, aborted: HashSet::new() }
    }

    /// What an error is about: the offset of the batch that was to be read.
    pub(super) fn place(&self) -> i64 {
        self.place
    }

    /// The memory that it has expanded into.
    pub(super) fn into_spare(self) -> Vec<u8> {
        self.expanded
    }

    /// The next record that is committed, with its batch expanded where it is compressed; `None` at the end. Offsets before the
    /// one that was asked for may come, as a broker hands over whole batches.
    ///
    /// # Errors
    /// If a batch is damaged. It is then of no use to go on.
    #[inline]
    pub(super) fn next(&mut self, codecs: &mut Codecs) -> Result<Option<Raw<'_>>, Wrong> {
        if self.open.as_ref().is_none_or(|open| open.records.is_done()) && !self.open_next(codecs)? {
            return Ok(None);
        }
        let Some(Open { records, body }) = &mut self.open else { return Ok(None) };
        records.next(match body {
            Some(body) => &self.chunk.records[body.clone()],
            None => &self.expanded,
        })
    }

    /// Opens the next batch that has records to be read; false at the end.
    #[inline(never)]
    fn open_next(&mut self, codecs: &mut Codecs) -> Result<bool, Wrong> {
        loop {
            if let Some(Open { records, body }) = self.open.take() {
                records.check_end(body.map_or(self.expanded.len(), |body| body.len()))?;
            }
            let Some(batch) = Batch::first(&self.chunk.records[self.at..])? else { return Ok(false) };
            self.place = self.place.max(batch.base());
            let body = self.at + HEADER..self.at + batch.len();
            self.at += batch.len();
            if self.chunk.checked {
                batch.check()?;
            }
            let after = batch.after()?;
            while let Some((producer, _)) =
                self.chunk.aborted.get(self.begun).filter(|(_, first)| *first < after)
            {
                self.aborted.insert(*producer);
                self.begun += 1;
            }
            let mut records = batch.records()?;
            // What compaction has left nothing of has an empty body, whatever its codec.
            if records.is_done() {
                continue;
            }
            if batch.is_control() {
                if is_abort(&mut records, &self.chunk.records[body])? {
                    self.aborted.remove(&batch.producer());
                }
                continue;
            }
            if batch.is_transactional() && self.aborted.contains(&batch.producer()) {
                continue;
            }
            let body = if batch.codec() == 0 {
                Some(body)
            } else {
                codecs.expand(batch.codec(), &self.chunk.records[body], &mut self.expanded)?;
                None
            };
            self.open = Some(Open { records, body });
            return Ok(true);
        }
    }
}
