//! Dead letters: records that could not be decoded, as rows.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::dataflow::OutputShape;
use crate::flat::FlatBatch;
use crate::flow::Render;
use crate::record::{Malformed, Record};
use crate::row::{Row, Text};

/// `((topic, partition, offset), (timestamp, reason, (key, value)))`; key and value in base 64.
pub type DeadLetter = ((Text, i64, i64), (Option<i64>, Text, (Option<Text>, Option<Text>)));

/// The columns that tell one dead letter from another.
pub const KEY: [&str; 3] = ["topic", "partition", "offset"];
/// The other columns of a dead letter. `key_base64` and `value_base64` hold the record's bytes, null where
/// the record's are.
pub const VALUE: [&str; 4] = ["timestamp", "reason", "key_base64", "value_base64"];

const _: () = assert!(KEY.len() + VALUE.len() == <DeadLetter as Row>::WIDTH);

/// The dead letter of a record.
pub(crate) fn row(record: &Record<'_>, reason: &Malformed) -> DeadLetter {
    (
        (record.topic.into(), record.partition.into(), record.offset),
        (record.timestamp, Text::from(&*reason.0), (record.key.map(base64), record.value.map(base64))),
    )
}

/// The dead letter of a row that its sink, here a topic, does not take. Row and key are those that it would have had
/// there; it is of no partition and no offset (-1).
pub fn of_row(topic: &str, key: &[u8], row: &[u8], reason: &str) -> DeadLetter {
    ((topic.into(), -1, -1), (None, Text::from(reason), (Some(base64(key)), Some(base64(row)))))
}

/// Dead letters, each once, as [`render`] takes them.
pub fn batch(letters: impl IntoIterator<Item = DeadLetter>) -> FlatBatch {
    let (mut batch, mut bytes) = (FlatBatch::default(), Vec::new());
    for letter in letters {
        bytes.clear();
        DeadLetter::encode(letter.borrow(), &mut bytes);
        batch.push(&bytes, 1);
    }
    batch
}

/// Shows dead letters.
pub fn render() -> Render {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let shape = OutputShape {
        name: "dead-letters".to_owned(),
        key: names(&KEY),
        value: names(&VALUE),
        kept: false,
        unique: true,
    };
    Arc::new(move |batches| crate::render::render::<DeadLetter>(&shape, batches))
}

fn base64(bytes: &[u8]) -> Text {
    Text::from(STANDARD.encode(bytes).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::NoHeaders;

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
        let shown = render()(&[batch([row(&record, &Malformed::because("bad"))])]);
        assert_eq!(&shown[0].key[..], br#"{"topic":"t","partition":3,"offset":7}"#);
        let whole = concat!(
            r#"{"topic":"t","partition":3,"offset":7,"#,
            r#""timestamp":5,"reason":"bad","key_base64":null,"value_base64":"/wA="}"#
        );
        assert_eq!(String::from_utf8_lossy(&shown[0].row), whole);
    }
}
