//! What has come out, read as strictly as it was promised.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use rdkafka::Message;
use serde::Deserialize;

use super::COMMITTED;
use super::recount::{Count, Dead, Words};
use crate::support::committed::{Letter, each, epoch};
use crate::support::kafka::Topic;
use crate::support::rows::{Change, Row};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    word: String,
}

/// The upserts of a topic, sorted. Within a partition epochs never decrease; a word is in one partition, is there once
/// an epoch, and occurs more often each time.
pub fn upserts(topic: &Topic, words: &mut Words) -> Vec<Count> {
    let mut epochs: HashMap<i32, u64> = HashMap::new();
    let mut last: HashMap<u32, (i32, Count)> = HashMap::new();
    let mut counts = Vec::new();
    each(topic, COMMITTED, |message| {
        let shown =
            || format!("{} partition {} offset {}", topic.name, message.partition(), message.offset());
        let key: Key = json(message.key().unwrap_or_default(), shown);
        let row: Row =
            json(message.payload().unwrap_or_else(|| panic!("{}: a word has gone", shown())), shown);
        assert_eq!(key.word, row.word, "{}", shown());
        let epoch = epoch(message).unwrap_or_else(|| panic!("{}: no epoch", shown()));
        let count = Count { epoch, word: words.number(&row.word), count: row.count };
        let before = epochs.insert(message.partition(), epoch).unwrap_or(0);
        assert!(before <= epoch, "{}: epoch {epoch} after epoch {before}", shown());
        if let Some((partition, before)) = last.insert(count.word, (message.partition(), count)) {
            assert_eq!(partition, message.partition(), "{}: {row:?} was in another partition", shown());
            let grows = before.epoch < epoch && before.count < count.count;
            assert!(grows, "{}: {row:?} of epoch {epoch} after {before:?}", shown());
        }
        counts.push(count);
    });
    counts.sort_unstable();
    counts
}

/// The records that are dead letters of `input`, each once.
pub fn dead_letters(topic: &Topic, input: &Topic) -> BTreeSet<Dead> {
    let mut letters = BTreeSet::new();
    let mut last = 0;
    each(topic, COMMITTED, |message| {
        let shown = || format!("{} offset {}", topic.name, message.offset());
        let letter = Letter::of(message);
        assert_eq!(letter.topic, input.name, "{}", shown());
        let epoch = epoch(message).unwrap_or_else(|| panic!("{}: no epoch", shown()));
        assert!(last <= epoch, "{}: epoch {epoch} after epoch {last}", shown());
        last = epoch;
        let new = letters.insert((letter.partition, letter.offset, epoch));
        assert!(new, "{}: partition {} offset {} twice", shown(), letter.partition, letter.offset);
    });
    letters
}

/// The rows that the changes of a file bring, sorted. Every line is whole, epochs ascend, and what is withdrawn was
/// there.
pub fn changes(path: &Path, words: &mut Words) -> Vec<Count> {
    let shown = path.display();
    let mut file = BufReader::new(File::open(path).unwrap_or_else(|error| panic!("{shown}: {error}")));
    let mut counts = Vec::new();
    let mut table = Table::default();
    let mut line = String::new();
    while file.read_line(&mut line).unwrap_or_else(|error| panic!("{shown}: {error}")) > 0 {
        assert!(line.ends_with('\n'), "{shown}: the last line is torn: {line:?}");
        let change = Change::parse(line.trim_end());
        let count =
            Count { epoch: change.epoch, word: words.number(&change.row.word), count: change.row.count };
        table.apply(count, change.diff);
        if change.diff > 0 {
            counts.push(count);
        }
        line.clear();
    }
    table.settle();
    counts.sort_unstable();
    counts
}

/// The counts that changes add up to.
#[derive(Default)]
struct Table {
    epoch: u64,
    counts: HashMap<u32, i64>,
    /// Of the epoch that is being read.
    withdrawn: HashMap<u32, i64>,
    brought: HashMap<u32, i64>,
}

impl Table {
    fn apply(&mut self, Count { epoch, word, count }: Count, diff: i64) {
        assert!(epoch >= self.epoch, "the file goes back from epoch {} to {epoch}", self.epoch);
        if epoch > self.epoch {
            self.settle();
            self.epoch = epoch;
        }
        let rows = match diff {
            -1 => &mut self.withdrawn,
            1 => &mut self.brought,
            _ => panic!("epoch {epoch}: word {word} {count} changes by {diff}"),
        };
        let before = rows.insert(word, count);
        assert_eq!(before, None, "epoch {epoch}: word {word} changes by {diff} twice");
    }

    /// All changes of the epoch have been read.
    fn settle(&mut self) {
        let epoch = self.epoch;
        for (word, count) in self.withdrawn.drain() {
            assert_eq!(self.counts.remove(&word), Some(count), "epoch {epoch}: word {word} is withdrawn");
        }
        for (word, count) in self.brought.drain() {
            assert_eq!(self.counts.insert(word, count), None, "epoch {epoch}: word {word} is there already");
        }
    }
}

/// Fails with the first differences between what has come out and what must have.
pub fn assert_same(what: &str, found: &[Count], expected: &[Count], words: &Words) {
    if found == expected {
        return;
    }
    let (have, want): (HashSet<Count>, HashSet<Count>) =
        (found.iter().copied().collect(), expected.iter().copied().collect());
    let show = |name: &str, mut counts: Vec<Count>| {
        counts.sort_unstable();
        let line = |c: &Count| format!("  epoch {}: {:?} {}", c.epoch, words.name(c.word), c.count);
        let lines: Vec<String> = counts.iter().take(10).map(line).collect();
        format!("{} {name}:\n{}\n", counts.len(), lines.join("\n"))
    };
    let missing = show("missing", want.difference(&have).copied().collect());
    let extra = show("that must not be there", have.difference(&want).copied().collect());
    panic!("{what}: of {} rows there are\n{missing}{extra}", expected.len());
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8], shown: impl Fn() -> String) -> T {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{}: {:?}: {error}", shown(), String::from_utf8_lossy(bytes)))
}
