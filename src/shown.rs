//! Foreign text in messages: what a broker, a server, a file or a record says must not steer the terminal.

use std::borrow::Cow;

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

/// Control characters, and those of Unicode that end lines or change the direction of text.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(shown("\u{1b}[31mred\u{7}\r\n\u{9b}2J"), "\\u{1b}[31mred\\u{7}\\r\\n\\u{9b}2J");
        assert_eq!(shown("a\u{202e}b"), "a\\u{202e}b");
        assert!(matches!(shown("na\u{ef}ve \u{1f980} text"), Cow::Borrowed(_)));
        assert_eq!(shown_but("\u{1b}[1m\r", |c| c == '\u{1b}'), "\u{1b}[1m\\r");
    }
}
