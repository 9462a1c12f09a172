//! What a dataflow is given: one record of the feed, borrowed.

use std::borrow::Cow;

use crate::rows::Timestamp;

/// One record, borrowed from the client library's buffer for the time of one call.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The topic it was read from.
    pub topic: &'a str,
    /// The partition of that topic.
    pub partition: i32,
    /// Its offset in the partition. Offsets grow but may have gaps.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, where the topic keeps timestamps.
    pub timestamp: Option<i64>,
    /// The key's bytes; `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a null value (a tombstone).
    pub value: Option<&'a [u8]>,
    /// The headers, read when they are asked for.
    pub headers: &'a dyn Headers,
}

impl<'a> Record<'a> {
    /// A record of a value alone, for who has no topic: tests and benches of what reads records.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// let record = Record { offset: 7, ..Record::of_value(Some(b"a line")) };
    /// assert_eq!((record.offset, record.size()), (7, 6));
    /// ```
    pub fn of_value(value: Option<&'a [u8]>) -> Self {
        Record {
            topic: "test",
            partition: 0,
            offset: 0,
            timestamp: None,
            key: None,
            value,
            headers: &NoHeaders,
        }
    }

    /// Key and value, in bytes: what caps on an epoch's bytes count at least.
    pub fn size(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }

    /// Its event time, where its decoder says no other: its timestamp.
    pub fn event_time(&self) -> Option<Timestamp> {
        self.timestamp.and_then(Timestamp::from_millis)
    }
}

/// The headers of a record.
pub trait Headers {
    /// The value of the last header of that name; `None` where there is none or its value is null.
    fn last(&self, name: &str) -> Option<&[u8]>;
}

/// A record without headers.
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn last(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

/// Why a record could not be decoded. The record becomes a dead letter that carries this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub Cow<'static, str>);

impl Malformed {
    /// A reason that is known when the decoder is written.
    pub const fn because(reason: &'static str) -> Self {
        Malformed(Cow::Borrowed(reason))
    }
}
