//! The records of the open epoch, until they are known to be committed.

use std::ops::Range;

/// The records of one epoch, in order.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    /// Of each record: its topic, and where its key and value are.
    pub(super) records: Vec<(usize, Range<usize>, Option<Range<usize>>)>,
}

impl Kept {
    /// Takes a record of the topic with this number.
    pub(super) fn push(&mut self, topic: usize, key: &[u8], value: Option<&[u8]>) {
        let mut place = |bytes: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            start..self.bytes.len()
        };
        let record = (topic, place(key), value.map(place));
        self.records.push(record);
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept_as_they_were() {
        let mut kept = Kept::default();
        kept.push(1, b"key", Some(b"value"));
        kept.push(0, b"", None);
        kept.push(2, b"x", Some(b""));
        let shown: Vec<_> = kept
            .records
            .iter()
            .map(|(topic, key, value)| {
                let text = |place: &Range<usize>| std::str::from_utf8(&kept.bytes[place.clone()]).unwrap();
                (*topic, text(key), value.as_ref().map(text))
            })
            .collect();
        let expected = [(1, "key", Some("value")), (0, "", None), (2, "x", Some(""))];
        assert_eq!(shown, expected);
    }
}
