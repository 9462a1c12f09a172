//! Rows as the program prints them, and the recount that they are held against.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

/// How often each word occurs.
pub type Counts = BTreeMap<String, i64>;

/// The oracle: a plain count of the words of these texts.
pub fn recount<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Counts {
    let mut counts: HashMap<String, i64> = HashMap::new();
    for text in texts {
        for word in text.as_ref().split_whitespace() {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(counts.insert(word.to_owned(), 1)),
            }
        }
    }
    counts.into_iter().collect()
}

/// Fails with the first differences, if there are any.
#[track_caller]
pub fn assert_counts(found: &Counts, expected: &Counts) {
    let words = found.keys().chain(expected.keys()).collect::<std::collections::BTreeSet<_>>();
    let differences: Vec<String> = words
        .into_iter()
        .filter(|&word| found.get(word) != expected.get(word))
        .map(|word| format!("{word:?}: found {:?}, expected {:?}", found.get(word), expected.get(word)))
        .collect();
    let first: Vec<_> = differences.iter().take(10).collect();
    assert!(differences.is_empty(), "{} of {} words differ: {first:#?}", differences.len(), expected.len());
}

/// A row of `word-count`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub word: String,
    pub count: i64,
}

/// A line of `--emit changes`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub epoch: u64,
    pub output: String,
    pub diff: i64,
    pub row: Row,
}

impl Change {
    /// Reads a line.
    pub fn parse(line: &str) -> Change {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no change: {error}"))
    }
}

/// Reads the lines of `--emit final`: each word once, in order.
pub fn finals<S: AsRef<str>>(lines: &[S]) -> Counts {
    let rows: Vec<Row> = lines
        .iter()
        .map(|line| {
            serde_json::from_str(line.as_ref()).unwrap_or_else(|e| panic!("{:?}: {e}", line.as_ref()))
        })
        .collect();
    assert!(rows.is_sorted_by(|a, b| a.word < b.word), "the rows are not sorted by key, each key once");
    rows.into_iter().map(|row| (row.word, row.count)).collect()
}

/// The collection that changes add up to, and what must hold of them on the way: each epoch's rows are together,
/// epochs ascend from 1 without gaps, and after each epoch a word has one row or none.
#[derive(Default)]
pub struct Replay {
    /// The last epoch; 0 before the first.
    pub epoch: u64,
    rows: HashMap<Row, i64>,
    counts: Counts,
    /// The sum of `counts`.
    total: i64,
    /// Words that changed in the last epoch.
    touched: Vec<String>,
}

impl Replay {
    /// Replays all these lines.
    pub fn of<S: AsRef<str>>(lines: &[S]) -> Replay {
        let mut replay = Replay::default();
        for line in lines {
            replay.apply(Change::parse(line.as_ref()));
        }
        replay
    }

    /// Applies a change, in the order of the lines.
    pub fn apply(&mut self, change: Change) {
        let Change { epoch, output, diff, row } = change;
        assert_eq!(output, "counts");
        assert_ne!(diff, 0, "a change that is none: {row:?}");
        if epoch != self.epoch {
            assert_eq!(epoch, self.epoch + 1, "epochs ascend without gaps");
            self.check();
            self.epoch = epoch;
        }
        self.touched.push(row.word.clone());
        let sum = self.rows.entry(row.clone()).or_default();
        *sum += diff;
        match *sum {
            0 => {
                self.rows.remove(&row);
                if self.counts.get(&row.word) == Some(&row.count) {
                    self.counts.remove(&row.word);
                    self.total -= row.count;
                }
            }
            1 => {
                let before = self.counts.insert(row.word, row.count).unwrap_or(0);
                self.total += row.count - before;
            }
            sum => panic!("epoch {epoch}: {row:?} is there {sum} times"),
        }
    }

    /// The last epoch is whole: each word that changed in it has exactly the row that `counts` has.
    fn check(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        assert_eq!(self.rows.len(), self.counts.len(), "epoch {}: a word with two rows", self.epoch);
        for word in touched {
            if let Some(&count) = self.counts.get(&word) {
                assert!(count > 0, "{word:?} {count} times");
                assert_eq!(self.rows.get(&Row { word, count }), Some(&1), "epoch {}", self.epoch);
            }
        }
    }

    /// The counts now, at the end of an epoch.
    pub fn counts(&mut self) -> &Counts {
        self.check();
        &self.counts
    }

    /// The sum of all counts.
    pub fn total(&self) -> i64 {
        self.total
    }
}
