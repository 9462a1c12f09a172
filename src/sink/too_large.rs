//! Rows that are larger than their sink takes.

use cutwater_dataflows::dead_letter::{DeadLetter, of_row};
use cutwater_dataflows::render::Change;

use crate::shown::shown;

/// What to do about a row that is larger than its sink takes.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTooLarge {
    /// End with an error that names the output, the row's key and its size
    Fail,
    /// The row becomes a dead letter, and the run goes on
    DeadLetter,
}

/// A row that was not given to its sink.
pub struct TooLarge {
    /// The topic that would have taken it.
    pub topic: String,
    /// The row.
    pub change: Change,
    /// Why not, in words.
    pub reason: String,
}

impl TooLarge {
    /// Its dead letter: of no partition, and of no offset.
    pub fn letter(&self) -> DeadLetter {
        of_row(&self.topic, &self.change.key, &self.change.row, &self.reason)
    }
}

/// Characters of a key that are shown.
const SHOWN: usize = 60;

/// The beginning of a row's key, for people.
pub fn beginning(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", shown(&text[..end])),
        None => shown(&text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_short_and_harmless() {
        assert_eq!(beginning(br#"{"word":"a"}"#), r#"{"word":"a"}"#);
        assert_eq!(beginning(b"\x1b[0m\xff"), "\\u{1b}[0m\u{fffd}");
        let long = beginning("\u{e9}".repeat(1000).as_bytes());
        assert_eq!(long, format!("{}…", "\u{e9}".repeat(SHOWN)));
    }
}
