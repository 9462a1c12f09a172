//! Segments: the files of the ledger, by name; and what the bytes of one say.

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::watermark::Times;
use serde::{Deserialize, Serialize};

use super::FOLDER;
use crate::state::cut::Cut;
use crate::state::resume::Entry;
use crate::state::sealed::{is_sealed, seal, unseal};
use crate::state::storage::Storage;

/// The format of the segments that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// A file of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first epoch in it.
    pub(super) first: Epoch,
    /// The last one, where the name says it: in a segment that was joined of others.
    pub(super) last: Option<Epoch>,
}

impl Segment {
    /// Its name in the storage.
    pub(super) fn name(&self) -> String {
        match self.last {
            None => format!("{FOLDER}/{:020}.jsonl", self.first),
            Some(last) => format!("{FOLDER}/{:020}-{last:020}.jsonl", self.first),
        }
    }

    /// The segment of a name; `None` for a file that is none.
    fn parse(name: &str) -> Option<Segment> {
        let stem = name.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".jsonl")?;
        let (first, last) = match stem.split_once('-') {
            Some((first, last)) => (first, Some(last.parse().ok()?)),
            None => (stem, None),
        };
        let segment = Segment { first: first.parse().ok()?, last };
        (segment.name() == name && segment.first > 0).then_some(segment)
    }

    /// An epoch that it holds, the last one that its name tells of.
    pub(super) fn reach(&self) -> Epoch {
        self.last.unwrap_or(self.first)
    }
}

/// The segments that are there: by their first epochs, and of those that begin with the same one, the longest first.
pub(super) fn list(storage: &dyn Storage) -> Result<Vec<Segment>> {
    let files = storage.list(FOLDER)?;
    let mut segments: Vec<Segment> = files.iter().filter_map(|(name, _)| Segment::parse(name)).collect();
    segments.sort_by_key(order);
    Ok(segments)
}

/// What segments are sorted by.
pub(super) fn order(segment: &Segment) -> (Epoch, std::cmp::Reverse<Epoch>) {
    (segment.first, std::cmp::Reverse(segment.reach()))
}

/// Where to begin to read so that an epoch and all after it are found: the segment that holds it, and of several the
/// longest; the first where there is none.
pub(super) fn begin(segments: &[Segment], epoch: Epoch) -> usize {
    let before = segments.iter().enumerate().filter(|(_, segment)| segment.first <= epoch);
    before.max_by_key(|(_, s)| (s.reach().min(epoch), s.reach())).map_or(0, |(index, _)| index)
}

/// The first line of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// [`FORMAT`]
    pub(super) format: u32,
    /// The job's identifier.
    pub(super) job: String,
    /// The run that wrote it: a random number.
    pub(super) run: String,
    /// The first epoch that this run wrote.
    pub(super) since: Epoch,
    /// The first epoch of the segment.
    pub(super) epoch: Epoch,
    /// When the entry of that epoch was written: microseconds since the Unix epoch.
    pub(super) time: u64,
    /// All epochs up to this one had been published then.
    pub(super) published: Epoch,
    /// The times of the epoch before the first.
    #[serde(flatten)]
    pub(super) times: Times,
    /// Its cut.
    pub(super) cut: Cut,
}

/// The line of an entry.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// See [`Synced`].
    #[serde(skip_serializing_if = "Option::is_none")]
    synced: Option<Epoch>,
}

/// What the line of an entry says of those before it.
#[derive(Deserialize)]
struct Synced {
    /// All epochs up to this one were durable when the line was written; where it is left out, all before its own.
    synced: Option<Epoch>,
}

/// The line of an entry that is written when all epochs up to `synced` are durable.
pub(super) fn line(entry: &Entry, synced: Epoch) -> Vec<u8> {
    seal(&Written { entry, synced: (synced + 1 < entry.epoch).then_some(synced) })
}

/// An entry, and the epoch up to which the ledger was durable when it was written.
fn parse_line(line: &[u8]) -> Parsed {
    let entry: Entry = unseal(line)?;
    let Synced { synced } = unseal(line)?;
    let synced = synced.unwrap_or(entry.epoch.saturating_sub(1));
    Ok((entry, synced))
}

fn parse_header(line: &[u8]) -> Result<Header, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = unseal(line)?;
    if format != FORMAT {
        return Err(format!("it has format {format}, this program reads format {FORMAT}"));
    }
    unseal(line)
}

/// What the bytes of a segment say.
pub(super) struct Scan {
    /// Its header; else what is wrong with it.
    pub(super) header: Result<Header, String>,
    /// Its entries, in the order of their lines; else what is wrong with a line.
    pub(super) entries: Vec<Result<Entry, String>>,
    /// Where lines begin of which nothing says that they were ever durable, and the first of which is bad. They are
    /// not in `entries`.
    pub(super) torn: Option<Torn>,
    /// Bytes before what is torn.
    pub(super) length: u64,
}

/// The first bad line of what is torn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    /// Its index: the header's is 0.
    pub(super) line: usize,
    /// What is wrong with it.
    pub(super) why: String,
}

/// Reads a segment whose first epoch is `first`.
///
/// A crash may leave anything in place of lines that were not durable: a bad line is where those begin, unless a line
/// after it tells that its epoch was durable. Then it is damage, and so is a line that is sealed and can't be
/// understood.
pub(super) fn scan(bytes: &[u8], first: Epoch) -> Scan {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    if lines.is_empty() {
        lines.push(b"");
    }
    let header = whole(lines[0]).and_then(parse_header);
    let parsed: Vec<Parsed> = lines[1..].iter().map(|line| whole(line).and_then(parse_line)).collect();
    let torn = first_bad(&header, &parsed).filter(|torn| {
        // The epoch of the bad line is this one, or an earlier one.
        let before = parsed[..torn.line.saturating_sub(1)].last().and_then(|before| before.as_ref().ok());
        let epoch = before.map_or(first, |(entry, _)| entry.epoch + 1);
        !is_durable(epoch, &lines[torn.line..])
    });
    let kept = torn.as_ref().map_or(lines.len(), |torn| torn.line);
    let length = lines[..kept].iter().map(|line| line.len() as u64).sum();
    let entries = parsed.into_iter().take(kept.saturating_sub(1)).map(|line| line.map(|(entry, _)| entry));
    Scan { header, entries: entries.collect(), torn, length }
}

/// An entry with the epoch up to which the ledger was durable, or what is wrong with its line.
type Parsed = Result<(Entry, Epoch), String>;

/// A line without the line feed that must be at its end.
fn whole(line: &[u8]) -> Result<&[u8], String> {
    line.strip_suffix(b"\n").ok_or_else(|| "its end is missing".to_owned())
}

fn first_bad(header: &Result<Header, String>, parsed: &[Parsed]) -> Option<Torn> {
    let errors = std::iter::once(header.as_ref().err()).chain(parsed.iter().map(|line| line.as_ref().err()));
    let mut bad = errors.enumerate().filter_map(|(line, why)| Some(Torn { line, why: why?.clone() }));
    bad.next()
}

/// True iff a line tells that the epoch was durable, or that these are not the lines that were written.
fn is_durable(epoch: Epoch, lines: &[&[u8]]) -> bool {
    lines.iter().any(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        // A bad line may have swallowed good ones with the line feeds before them.
        let starts = (0..line.len()).filter(|&start| line[start..].starts_with(b"{\""));
        starts.map(|start| &line[start..]).filter(|line| is_sealed(line)).any(|line| match parse_line(line) {
            Ok((_, synced)) => synced >= epoch,
            // The header may be all that was written, but for its line feed.
            Err(_) => parse_header(line).map_or(true, |header| header.epoch < epoch),
        })
    })
}
