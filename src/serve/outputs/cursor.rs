//! Cursors: where an answer ended, as a text that goes into the next request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cutwater_dataflows::Epoch;
use xxhash_rust::xxh3::xxh3_64;

use super::select::{From, PARAMETERS};
use crate::serve::answer::Params;

/// Where an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The epoch of that answer.
    pub(super) epoch: Epoch,
    /// What was asked.
    pub(super) asked: u64,
    pub(super) from: From,
}

/// Stands for what is asked of an output, so that a cursor is of no other question.
pub(super) fn asked(output: &str, params: &Params) -> u64 {
    let mut text = output.to_owned();
    for name in PARAMETERS {
        for value in params.all(name) {
            text += &format!("\0{name}={value}");
        }
    }
    xxh3_64(text.as_bytes())
}

impl Cursor {
    /// As a text.
    pub(super) fn write(&self) -> String {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.asked.to_be_bytes());
        let (skip, row): (u64, Option<&[u8]>) = match &self.from {
            From::Skip(skip) => (*skip, None),
            From::Row(row, skip) => (*skip, Some(row)),
        };
        bytes.extend_from_slice(&skip.to_be_bytes());
        bytes.push(row.is_some().into());
        bytes.extend_from_slice(row.unwrap_or_default());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Of a text; `None` if it is no cursor.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (epoch, rest) = bytes.split_first_chunk()?;
        let (asked, rest) = rest.split_first_chunk()?;
        let (skip, rest) = rest.split_first_chunk()?;
        let skip = u64::from_be_bytes(*skip);
        let from = match rest.split_first()? {
            (0, []) => From::Skip(skip),
            (1, row) => From::Row(row.to_vec(), skip),
            _ => return None,
        };
        Some(Cursor { epoch: u64::from_be_bytes(*epoch), asked: u64::from_be_bytes(*asked), from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() {
        for from in
            [From::Skip(0), From::Skip(u64::MAX), From::Row(Vec::new(), 1), From::Row(b"a\0b".to_vec(), 7)]
        {
            let cursor = Cursor { epoch: 12, asked: u64::MAX - 1, from };
            let text = cursor.write();
            assert_eq!(Cursor::read(&text), Some(cursor));
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
        }
        for wrong in ["", "x", "AAAA", "=", "%", &"A".repeat(33)] {
            assert_eq!(Cursor::read(wrong), None, "{wrong}");
        }
    }
}
