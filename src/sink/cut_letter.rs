//! Dead letters that are larger than their sink takes: key and value are cut, and the reason says so.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Characters of a reason that are kept.
const REASON: usize = 1000;

/// A reason, no longer than is of use.
pub(super) fn shortened(reason: String) -> String {
    match reason.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason,
    }
}

/// What the reason says, after a semicolon, of a key or value of which so many bytes are there.
pub(crate) fn cut_from(what: &str, kept: usize) -> String {
    format!("; only the first {kept} of the {what}'s ")
}

/// As much of a record's key and value as there is room for: the value is cut, then the key, and `reason` says so.
pub(super) fn fit<'a>(
    reason: &mut String,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    room: usize,
) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let mut cut = |what: &str, bytes: Option<&'a [u8]>, room: usize| {
        let bytes = bytes?;
        let kept = &bytes[..bytes.len().min(room)];
        if kept.len() < bytes.len() {
            *reason += &format!("{}{} bytes", cut_from(what, kept.len()), bytes.len());
        }
        Some(kept)
    };
    let key = cut("key", key, room);
    let value = cut("value", value, room - length(key));
    (key, value)
}

/// A dead letter as a line of a sink.
#[derive(Deserialize, Serialize)]
struct Line {
    epoch: u64,
    output: String,
    diff: i64,
    row: Row,
}

/// A dead letter's row.
#[derive(Deserialize, Serialize)]
pub(super) struct Row {
    pub(super) topic: String,
    pub(super) partition: i64,
    pub(super) offset: i64,
    pub(super) timestamp: Option<i64>,
    pub(super) reason: String,
    key_base64: Option<String>,
    value_base64: Option<String>,
}

impl Row {
    /// Its record's key and value.
    ///
    /// # Errors
    /// If they are not in base 64: that is a fault of ours.
    pub(super) fn bytes(&self) -> Result<[Option<Vec<u8>>; 2]> {
        let bytes = |text: &Option<String>| text.as_ref().map(|text| STANDARD.decode(text)).transpose();
        let key = bytes(&self.key_base64).context("a dead letter's key")?;
        let value = bytes(&self.value_base64).context("a dead letter's value")?;
        Ok([key, value])
    }
}

/// The line of a dead letter, with less and less of its key and value: half of them, a quarter, and so on to nothing.
///
/// # Errors
/// If it is no such line: that is a fault of ours.
pub(super) fn shorter(line: &[u8]) -> Result<impl Iterator<Item = Vec<u8>> + use<>> {
    let Line { epoch, output, diff, row } = serde_json::from_slice(line).context("a dead letter's line")?;
    let [key, value] = row.bytes()?;
    let reason = shortened(row.reason);
    let mut room = key.as_ref().map_or(0, Vec::len) + value.as_ref().map_or(0, Vec::len);
    Ok(std::iter::from_fn(move || {
        room = room.checked_sub(room.div_ceil(2)).filter(|_| room > 0)?;
        let mut reason = reason.clone();
        let (key, value) = fit(&mut reason, key.as_deref(), value.as_deref(), room);
        let [key_base64, value_base64] = [key, value].map(|bytes| bytes.map(|bytes| STANDARD.encode(bytes)));
        let (topic, output) = (row.topic.clone(), output.clone());
        let row = Row { topic, reason, key_base64, value_base64, ..row };
        let mut line = serde_json::to_vec(&Line { epoch, output, diff, row }).expect("it is JSON");
        line.push(b'\n');
        Some(line)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gets_shorter_until_key_and_value_are_gone() {
        let line = br#"{"epoch":1,"output":"x","diff":1,"row":{"topic":"t","partition":0,"offset":7,"timestamp":5,"reason":"bad","key_base64":"aw==","value_base64":"dmFs"}}"#;
        let lines: Vec<String> =
            shorter(line).unwrap().map(|line| String::from_utf8(line).unwrap()).collect();
        let end = |reason: &str, key: &str, value: &str| {
            format!(r#""reason":"bad{reason}","key_base64":"{key}","value_base64":"{value}"}}}}"#) + "\n"
        };
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with(
            r#"{"epoch":1,"output":"x","diff":1,"row":{"topic":"t","partition":0,"offset":7,"timestamp":5,"#
        ));
        assert!(
            lines[0].ends_with(&end("; only the first 1 of the value's 3 bytes", "aw==", "dg==")),
            "{lines:?}"
        );
        assert!(
            lines[1].ends_with(&end("; only the first 0 of the value's 3 bytes", "aw==", "")),
            "{lines:?}"
        );
        let none = "; only the first 0 of the key's 1 bytes; only the first 0 of the value's 3 bytes";
        assert!(lines[2].ends_with(&end(none, "", "")), "{lines:?}");
    }
}
