//! Dead letters in Kafka's own form, as Kafka Streams has it: the record's key and value as they were, and in headers
//! where it was and why it is here.

use std::borrow::Cow;

use anyhow::{Context as _, Result};

use crate::sink::cut_letter::{self, Row};

/// Bytes that a record has beside its key, its value and what a letter's headers say.
const OVERHEAD: usize = 512;

/// What the headers of a dead letter say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) offset: i64,
    pub(super) message: String,
    /// The record's time, in milliseconds since the Unix epoch: the letter's own record has another.
    pub(super) timestamp: Option<i64>,
}

/// The header with the record's time, which Kafka Streams has no name for.
pub const TIMESTAMP: &str = "__cutwater.timestamp";

impl Letter {
    /// The headers but for `epoch`.
    pub(super) fn headers(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let mut headers = vec![
            ("__streams.errors.topic", Cow::Borrowed(self.topic.as_str())),
            ("__streams.errors.partition", Cow::Owned(self.partition.to_string())),
            ("__streams.errors.offset", Cow::Owned(self.offset.to_string())),
            ("__streams.errors.message", Cow::Borrowed(self.message.as_str())),
        ];
        headers.extend(self.timestamp.map(|time| (TIMESTAMP, Cow::Owned(time.to_string()))));
        headers
    }

    /// What goes into a record of up to `most` bytes, all told. Where key and value are larger, the value is cut, then
    /// the key, and the message says so.
    pub(super) fn fit<'a>(
        &self,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        most: usize,
    ) -> (Letter, Option<&'a [u8]>, Option<&'a [u8]>) {
        let mut letter = self.clone();
        let room = most.saturating_sub(OVERHEAD + self.topic.len() + self.message.len());
        let (key, value) = cut_letter::fit(&mut letter.message, key, value, room);
        (letter, key, value)
    }
}

/// A dead letter, read back from its row.
pub(super) struct Read {
    pub(super) letter: Letter,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

/// Reads a dead letter's row.
///
/// # Errors
/// If it is not one: that is a fault of ours.
pub(super) fn read(row: &[u8]) -> Result<Read> {
    let row: Row = serde_json::from_slice(row).context("a dead letter's row")?;
    let [key, value] = row.bytes()?;
    let message = cut_letter::shortened(row.reason);
    Ok(Read {
        letter: Letter {
            topic: row.topic,
            partition: row.partition,
            offset: row.offset,
            message,
            timestamp: row.timestamp,
        },
        key,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        Letter { topic: "t".into(), partition: 3, offset: 7, message: "bad".into(), timestamp: Some(5) }
    }

    #[test]
    fn a_row_is_read_back() {
        let row = br#"{"topic":"t","partition":3,"offset":7,"timestamp":5,"reason":"bad","key_base64":null,"value_base64":"/wA="}"#;
        let read = read(row).expect("it is one");
        assert_eq!((read.letter, read.key, read.value), (letter(), None, Some(vec![0xff, 0])));
    }

    #[test]
    fn what_is_too_large_is_cut_and_says_so() {
        let (key, value) = (b"key".as_slice(), vec![b'v'; 5000]);
        let whole = letter().fit(Some(key), Some(&value), 10_000);
        assert_eq!(whole, (letter(), Some(key), Some(&*value)));

        let (said, kept, cut) = letter().fit(Some(key), Some(&value), 2000);
        let cut = cut.expect("a value");
        assert!(kept == Some(key) && cut.len() > 1000 && cut.len() + OVERHEAD < 2000, "{}", cut.len());
        assert_eq!(said.message, format!("bad; only the first {} of the value's 5000 bytes", cut.len()));

        let (said, kept, cut) = letter().fit(Some(&value), Some(&value), 2000);
        assert!(kept.is_some_and(|key| key.len() > 1000) && cut == Some(b""));
        assert!(said.message.contains("of the key's 5000") && said.message.contains("of the value's 5000"));

        assert_eq!(letter().fit(None, Some(&value), 0).2, Some(b"".as_slice()));
    }
}
