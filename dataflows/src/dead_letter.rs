//! Dead letters: records that could not be decoded, as rows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

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

fn base64(bytes: &[u8]) -> Text {
    Text::from(STANDARD.encode(bytes).as_str())
}
