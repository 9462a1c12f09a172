//! Dead letters: records that could not be decoded, as rows.

use std::sync::Arc;

use crate::flat::FlatBatch;
use crate::reasons::Reasons;
use crate::record::{Malformed, Record};
use crate::render::{Renderer, json};
use crate::rows::{Bytes, Row, Schema, Text, encode_into};

/// A record that could not be decoded, or a row that its sink does not take. Its bytes are in base 64 in JSON, null where
/// the record's are.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetter {
    /// The topic it was read from.
    #[row(key)]
    pub topic: Text,
    /// The partition of that topic.
    #[row(key)]
    pub partition: i64,
    /// Its offset in the partition.
    #[row(key)]
    pub offset: i64,
    /// Milliseconds since the Unix epoch, where the topic keeps timestamps.
    pub timestamp: Option<i64>,
    /// Why it could not be decoded.
    pub reason: Text,
    /// Its key.
    #[row(name = "key_base64")]
    pub key: Option<Bytes>,
    /// Its value.
    #[row(name = "value_base64")]
    pub value: Option<Bytes>,
}

/// The dead letter of a record.
fn row(record: &Record<'_>, reason: &Malformed) -> DeadLetter {
    DeadLetter {
        topic: record.topic.into(),
        partition: record.partition.into(),
        offset: record.offset,
        timestamp: record.timestamp,
        reason: Text::from(&*reason.0),
        key: record.key.map(Bytes::from),
        value: record.value.map(Bytes::from),
    }
}

/// The dead letters of an epoch.
#[derive(Default)]
pub(crate) struct Letters {
    pub(crate) batch: FlatBatch,
    pub(crate) reasons: Reasons,
}

impl Letters {
    /// Adds that of a record.
    pub(crate) fn push(&mut self, record: &Record<'_>, reason: &Malformed) {
        let letter = row(record, reason);
        self.batch.push_row::<DeadLetter>(letter.borrow(), 1);
        self.reasons.add(&reason.0, 1);
    }
}

/// The dead letter of a row that its sink, here a topic, does not take. Row and key are those that it would have had
/// there; it is of no partition and no offset (-1).
pub fn of_row(topic: &str, key: &[u8], row: &[u8], reason: &str) -> DeadLetter {
    DeadLetter {
        topic: topic.into(),
        partition: -1,
        offset: -1,
        timestamp: None,
        reason: reason.into(),
        key: Some(key.into()),
        value: Some(row.into()),
    }
}

/// Dead letters, each once.
pub fn batch(letters: impl IntoIterator<Item = DeadLetter>) -> FlatBatch {
    let (mut batch, mut bytes) = (FlatBatch::default(), Vec::new());
    for letter in letters {
        bytes.clear();
        encode_into::<DeadLetter>(letter.borrow(), &mut bytes);
        batch.push(&bytes, 1);
    }
    batch
}

/// Renders dead letters, as JSON.
pub fn renderer() -> Arc<dyn Renderer> {
    json()(&Schema::of::<DeadLetter>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::NoHeaders;
    use crate::render::{merge, rendered};

    #[test]
    fn a_dead_letter_keeps_where_it_was_why_and_its_bytes() {
        let record = Record {
            topic: "t",
            partition: 3,
            offset: 7,
            timestamp: Some(5),
            key: None,
            value: Some(b"\xff\x00"),
            headers: &NoHeaders,
        };
        let letters = batch([row(&record, &Malformed::because("bad"))]);
        let shown = merge(vec![rendered(&*renderer(), &[letters])]);
        assert_eq!(&shown[0].key[..], br#"{"topic":"t","partition":3,"offset":7}"#);
        let whole = concat!(
            r#"{"topic":"t","partition":3,"offset":7,"#,
            r#""timestamp":5,"reason":"bad","key_base64":null,"value_base64":"/wA="}"#
        );
        assert_eq!(String::from_utf8_lossy(&shown[0].row), whole);
    }
}
