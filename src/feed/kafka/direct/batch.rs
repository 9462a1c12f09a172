//! Record batches, read where they lie: the second format of Kafka's log (magic 2, since Kafka 0.11), as
//! [Kafka's documentation](https://kafka.apache.org/documentation/#recordbatch) gives it.
//!
//! Nothing here is copied and nothing is made for a record: what is borrowed from is the answer of the broker, or what one
//! batch expands to. A record costs some nanoseconds, a batch a checksum. Any bytes are records or an error.

use rdkafka::types::RDKafkaErrorCode;

use cutwater_dataflows::record::Headers;

/// Bytes of a batch before its records.
pub(super) const HEADER: usize = 61;
/// Bytes of a batch before what its length counts.
const BEFORE_LENGTH: usize = 12;
/// From here on the checksum is of it.
const CHECKED: usize = 21;

/// Attributes of a batch.
const CODEC: i16 = 0x07;
const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// What is wrong with a batch. It is tried again, as it may have been damaged on its way, and then ends the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// As librdkafka would call it.
    pub code: RDKafkaErrorCode,
    /// What it is.
    pub text: String,
}

impl Wrong {
    /// It is not what a broker writes.
    pub(super) fn damaged(text: impl Into<String>) -> Self {
        Wrong { code: RDKafkaErrorCode::BadMessage, text: text.into() }
    }
}

/// One batch, whole: its header is there, and its length is that of these bytes.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The first batch of these bytes; `None` if not all of it is there, as at the end of an answer.
    ///
    /// # Errors
    /// If it is not of the second format, or its length can't be.
    pub(super) fn first(bytes: &'a [u8]) -> Result<Option<Self>, Wrong> {
        if bytes.len() <= 16 {
            return Ok(None);
        }
        if bytes[16] != 2 {
            return Err(Wrong {
                code: RDKafkaErrorCode::NotImplemented,
                text: format!(
                    "a batch is of format {}, which brokers before Kafka 0.11 wrote: --fetch librdkafka reads it",
                    bytes[16]
                ),
            });
        }
        let length = be32(bytes, 8);
        let Some(whole) = usize::try_from(length).ok().map(|length| length + BEFORE_LENGTH) else {
            return Err(Wrong::damaged(format!("a batch of {length} bytes")));
        };
        if whole < HEADER {
            return Err(Wrong::damaged(format!("a batch of {length} bytes")));
        }
        Ok(bytes.get(..whole).map(|bytes| Batch { bytes }))
    }

    /// Its bytes, header included.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The offset of its first record, if that is still there.
    pub(super) fn base(&self) -> i64 {
        be64(self.bytes, 0)
    }

    /// The offset after its last record, whether that is still there or not.
    ///
    /// # Errors
    /// If it can't be.
    pub(super) fn after(&self) -> Result<i64, Wrong> {
        let (base, last) = (self.base(), be32(self.bytes, 23));
        let after = base.checked_add(i64::from(last)).and_then(|last| last.checked_add(1));
        match after {
            Some(after) if base >= 0 && last >= 0 => Ok(after),
            _ => Err(Wrong::damaged(format!("a batch of offset {base} with {last} more"))),
        }
    }

    /// The epoch of the leader that appended it.
    pub(super) fn leader_epoch(&self) -> i32 {
        be32(self.bytes, 12)
    }

    /// # Errors
    /// If it is damaged, as its checksum says.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let (told, is) = (be32(self.bytes, 17).cast_unsigned(), crc32c::crc32c(&self.bytes[CHECKED..]));
        if told == is {
            return Ok(());
        }
        Err(Wrong::damaged(format!(
            "the checksum of the batch at {} is {is:08x} instead of {told:08x}",
            self.base()
        )))
    }

    fn attributes(&self) -> i16 {
        i16::from_be_bytes([self.bytes[21], self.bytes[22]])
    }

    /// How its records are compressed; 0 if they are not.
    pub(super) fn codec(&self) -> i16 {
        self.attributes() & CODEC
    }

    /// True iff it is part of a transaction.
    pub(super) fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL != 0
    }

    /// True iff it holds a marker instead of records.
    pub(super) fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }

    /// Who has written it.
    pub(super) fn producer(&self) -> i64 {
        be64(self.bytes, 43)
    }

    /// How its records are to be read.
    ///
    /// # Errors
    /// If it has fewer than none.
    pub(super) fn records(&self) -> Result<Records, Wrong> {
        let fixed = (self.attributes() & APPEND_TIME != 0).then(|| be64(self.bytes, 35));
        let count = be32(self.bytes, 57);
        let Ok(left) = u32::try_from(count) else {
            return Err(Wrong::damaged(format!("a batch of {count} records")));
        };
        Ok(Records { base: self.base(), since: be64(self.bytes, 27), fixed, left, at: 0 })
    }
}

/// How far the records of a batch are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    base: i64,
    /// What times are told from.
    since: i64,
    /// The time of all of them, where the broker gave it.
    fixed: Option<i64>,
    /// How many are not read yet.
    left: u32,
    /// Where the next one begins in the body.
    at: usize,
}

impl Records {
    /// True once all are read.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// # Errors
    /// If a body of so many bytes has more than the records that were read.
    pub(super) fn check_end(&self, length: usize) -> Result<(), Wrong> {
        if self.at == length {
            return Ok(());
        }
        Err(Wrong::damaged(format!("a batch has {} bytes after its last record", length - self.at)))
    }

    /// The next record of a body, which is that of the batch and expanded; `None` after the last.
    ///
    /// # Errors
    /// If the body is not what it should be.
    #[inline]
    pub(super) fn next<'a>(&mut self, body: &'a [u8]) -> Result<Option<Raw<'a>>, Wrong> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(record) = self.read(body) else {
            return Err(Wrong::damaged(format!("a record is cut off, {} before the batch's end", self.left)));
        };
        self.left -= 1;
        Ok(Some(record))
    }

    #[inline(always)]
    fn read<'a>(&mut self, body: &'a [u8]) -> Option<Raw<'a>> {
        let mut at = self.at;
        let length = usize::try_from(varint(body, &mut at)?).ok()?;
        let end = at.checked_add(length)?;
        let record = body.get(at..end)?;
        // Its attributes, of which none are defined.
        let mut at = 1;
        let timestamp = self.since.wrapping_add(varint(record, &mut at)?);
        let offset = self.base.checked_add(varint(record, &mut at)?)?;
        let key = slice(record, &mut at)?;
        let value = slice(record, &mut at)?;
        let headers = RawHeaders(record.get(at..)?);
        self.at = end;
        Some(Raw { offset, timestamp: self.fixed.unwrap_or(timestamp), key, value, headers })
    }
}

/// A record, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since the Unix epoch; negative where there is none.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: RawHeaders<'a>,
}

/// The headers of a record as they lie there, their number first: looked at when one is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RawHeaders<'a>(pub &'a [u8]);

impl Headers for RawHeaders<'_> {
    fn last(&self, name: &str) -> Option<&[u8]> {
        self.find(name)
    }
}

impl<'a> RawHeaders<'a> {
    /// The value of the last header of that name; `None` where there is none, its value is null, or these are no headers.
    pub fn find(self, name: &str) -> Option<&'a [u8]> {
        let (bytes, mut at, mut found) = (self.0, 0, None);
        for _ in 0..varint(bytes, &mut at)? {
            let key = slice(bytes, &mut at)??;
            let value = slice(bytes, &mut at)?;
            if key == name.as_bytes() {
                found = value;
            }
        }
        found
    }
}

/// What a control batch says: true iff it ends a transaction that was aborted.
///
/// # Errors
/// If it is not what it should be.
pub(super) fn is_abort(records: &mut Records, body: &[u8]) -> Result<bool, Wrong> {
    let marker = records.next(body)?;
    // Its version, then its type: 0 is an abort, 1 a commit; others are not of transactions.
    Ok(marker.and_then(|marker| marker.key).is_some_and(|key| key.len() >= 4 && key[2..4] == [0, 0]))
}

/// A signed number of up to ten bytes, seven bits in each, the lowest bit its sign.
#[inline(always)]
fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(i64::from(first >> 1) ^ -i64::from(first & 1));
    }
    long_varint(bytes, at, first)
}

#[inline(never)]
fn long_varint(bytes: &[u8], at: &mut usize, first: u8) -> Option<i64> {
    let (mut raw, mut shift) = (u64::from(first & 0x7f), 7);
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
    }
}

/// Bytes after their length, which is negative where there are none.
#[inline(always)]
fn slice<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = varint(bytes, at)?;
    if length < 0 {
        return Some(None);
    }
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let found = bytes.get(*at..end)?;
    *at = end;
    Some(Some(found))
}

#[inline(always)]
fn be32(bytes: &[u8], at: usize) -> i32 {
    let four: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
    i32::from_be_bytes(four)
}

#[inline(always)]
fn be64(bytes: &[u8], at: usize) -> i64 {
    let eight: [u8; 8] = bytes[at..at + 8].try_into().expect("eight bytes");
    i64::from_be_bytes(eight)
}
