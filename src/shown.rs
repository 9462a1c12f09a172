//! What messages show: foreign text, which must not steer the terminal, the key of a row that ends a run, other payloads only
//! where that is wished, and numbers of things.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

/// True iff `--log-payloads` was given.
static PAYLOADS: AtomicBool = AtomicBool::new(false);

/// From now on, logs show what is in records and rows.
pub fn show_payloads() {
    PAYLOADS.store(true, Ordering::Relaxed);
}

/// True iff logs may show what is in records and rows.
pub fn shows_payloads() -> bool {
    PAYLOADS.load(Ordering::Relaxed)
}

/// Characters of a key that are shown.
const SHOWN: usize = 60;

/// The beginning of the key of a row that ends a run: without it nobody finds the row.
pub fn beginning(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", shown(&text[..end])),
        None => shown(&text).into_owned(),
    }
}

/// The text with all that could steer a terminal, break its line or turn its direction written as an escape: `\u{1b}`.
pub fn shown(text: &str) -> Cow<'_, str> {
    shown_but(text, |_| false)
}

/// Likewise, but for characters that `allowed` lets through.
pub fn shown_but(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let steers = |c: char| steers(c) && !allowed(c);
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// False iff an error of the TLS library says that what answered was not TLS.
pub fn speaks_tls(error: &str) -> bool {
    !error.contains("InvalidContentType")
}

/// `1 file`, `2 files`, `1,234 files`.
pub fn count(number: u64, one: &str) -> String {
    let number_shown = indicatif::HumanCount(number);
    // The words that are counted here have a plural in s, or es.
    let s = match one {
        _ if number == 1 => "",
        one if one.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number_shown} {one}{s}")
}

/// Control characters, and those of Unicode that end lines or change the direction of text.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!(
            [0, 1, 2, 1234].map(|n| count(n, "file")),
            ["0 files", "1 file", "2 files", "1,234 files"]
        );
        assert_eq!(count(2, "process"), "2 processes");
    }

    #[test]
    fn keys_are_shown_short_and_harmless() {
        assert_eq!(beginning(br#"{"word":"a"}"#), r#"{"word":"a"}"#);
        assert_eq!(beginning(b"\x1b[0m\xff"), "\\u{1b}[0m\u{fffd}");
        let long = beginning("\u{e9}".repeat(1000).as_bytes());
        assert_eq!(long, format!("{}…", "\u{e9}".repeat(SHOWN)));
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(shown("\u{1b}[31mred\u{7}\r\n\u{9b}2J"), "\\u{1b}[31mred\\u{7}\\r\\n\\u{9b}2J");
        assert_eq!(shown("a\u{202e}b"), "a\\u{202e}b");
        assert!(matches!(shown("na\u{ef}ve \u{1f980} text"), Cow::Borrowed(_)));
        assert_eq!(shown_but("\u{1b}[1m\r", |c| c == '\u{1b}'), "\u{1b}[1m\\r");
    }
}
