//! The records of the open epoch, until they are known to be committed.

use std::ops::Range;

use super::letter::Letter;

/// The records of one epoch, in order.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    pub(super) records: Vec<Record>,
}

/// One of them: where its key and value are.
pub(super) struct Record {
    /// The number of its topic.
    pub(super) topic: usize,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    /// What its headers say, if it is a dead letter.
    pub(super) letter: Option<Box<Letter>>,
}

impl Kept {
    /// Takes a record of the topic with this number.
    pub(super) fn push(
        &mut self,
        topic: usize,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        letter: Option<Letter>,
    ) {
        let mut place = |bytes: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            start..self.bytes.len()
        };
        let (key, value) = (key.map(&mut place), value.map(&mut place));
        self.records.push(Record { topic, key, value, letter: letter.map(Box::new) });
    }

    /// The key of a record.
    pub(super) fn key(&self, record: &Record) -> Option<&[u8]> {
        record.key.clone().map(|place| &self.bytes[place])
    }

    /// The value of a record.
    pub(super) fn value(&self, record: &Record) -> Option<&[u8]> {
        record.value.clone().map(|place| &self.bytes[place])
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
        kept.push(1, Some(b"key"), Some(b"value"), None);
        kept.push(0, Some(b""), None, None);
        kept.push(2, None, Some(b""), None);
        let shown: Vec<_> =
            kept.records.iter().map(|record| (record.topic, kept.key(record), kept.value(record))).collect();
        let (key, value, empty) = (b"key".as_slice(), b"value".as_slice(), b"".as_slice());
        let expected = [(1, Some(key), Some(value)), (0, Some(empty), None), (2, None, Some(empty))];
        assert_eq!(shown, expected);
    }
}
