//! Why records became dead letters, counted: so many kinds of reasons at most, whatever people send.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Kinds that are counted each by itself.
const KINDS: usize = 20;
/// Characters of a kind's name at most.
const LONGEST: usize = 100;
/// The kind of all reasons after those.
pub const OTHER: &str = "other";

/// How often records became dead letters, by the kind of the reason.
///
/// ```
/// use cutwater_dataflows::reasons::Reasons;
///
/// let mut reasons = Reasons::default();
/// for reason in ["not UTF-8 from byte 3", "not UTF-8 from byte 12", "late: its event time is ..."] {
///     reasons.add(reason, 1);
/// }
/// assert_eq!(reasons.iter().collect::<Vec<_>>(), [("late", 1), ("not UTF-8 from byte N", 2)]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    /// So many more records have this reason.
    pub fn add(&mut self, reason: &str, records: u64) {
        self.add_kind(kind(reason), records);
    }

    /// Those of both.
    pub fn add_all(&mut self, others: &Reasons) {
        others.0.iter().for_each(|(kind, &records)| self.add_kind(kind.clone(), records));
    }

    fn add_kind(&mut self, kind: String, records: u64) {
        let own = self.0.len() - usize::from(self.0.contains_key(OTHER));
        let kind = if self.0.contains_key(&kind) || own < KINDS { kind } else { OTHER.to_owned() };
        *self.0.entry(kind).or_default() += records;
    }

    /// The kinds in the order of their names, each with its number of records.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(kind, &records)| (kind.as_str(), records))
    }

    /// All records.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// The kind of a reason: what it says without what was in the record. A text in quotes is `"…"`, a number is `N`, and
/// whatever is late is `late`.
pub fn kind(reason: &str) -> String {
    if reason.starts_with("late: ") {
        return "late".to_owned();
    }
    let kind = without_values(reason);
    match kind.char_indices().nth(LONGEST) {
        Some((end, _)) => kind[..end].to_owned() + "…",
        None => kind,
    }
}

/// A text with reasons, without what was in records: a text in quotes is `"…"`, and a number is `N`.
pub fn without_values(text: &str) -> String {
    let mut kind = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                kind.push_str("\"…\"");
                // Within, quotes are escaped as in a literal of Rust.
                let mut escaped = false;
                for char in chars.by_ref() {
                    if char == '"' && !escaped {
                        break;
                    }
                    escaped = char == '\\' && !escaped;
                }
            }
            // The digits of a word, as in UTF-8 or int64, are part of it.
            '0'..='9'
                if !kind.ends_with(|last: char| last.is_alphanumeric() || last == '-' || last == '_') =>
            {
                kind.push('N');
                while chars.next_if(|next| next.is_ascii_digit() || matches!(next, '.' | ',')).is_some() {}
            }
            char => kind.push(char),
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_record_is_no_part_of_a_kind() {
        for (reason, expected) in [
            ("", ""),
            ("null value", "null value"),
            ("not UTF-8 from byte 17", "not UTF-8 from byte N"),
            (
                "price: expected decimal(2), found \"a \\\" b\" at 3",
                "price: expected decimal(N), found \"…\" at N",
            ),
            ("price: expected int, found 1,234.5", "price: expected int, found N"),
            ("late: its event time 1970-01-01 is", "late"),
            ("schema 7: unknown", "schema N: unknown"),
            ("an open \"quote", "an open \"…\""),
        ] {
            assert_eq!(kind(reason), expected);
        }
        assert_eq!(kind(&"ä".repeat(500)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn there_are_so_many_kinds_at_most_and_no_record_is_lost() {
        let mut reasons = Reasons::default();
        (0..100u8).for_each(|n| reasons.add(&char::from(200 + n / 2).to_string().repeat(2), 2));
        assert_eq!((reasons.iter().count(), reasons.total()), (KINDS + 1, 200));
        let mut both = reasons.clone();
        both.add_all(&reasons);
        assert_eq!((both.iter().count(), both.total()), (KINDS + 1, 400));
    }
}
