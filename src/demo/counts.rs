//! The rows of the demo's run, kept as a reader of its changes would keep them, and their comparison with a recount.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;
use serde::{Deserialize, Serialize};

use crate::sink::Sink;

/// A sink that keeps the count of each word, as of the last epoch. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Counts(Arc<Mutex<HashMap<String, i64>>>);

/// The most frequent words as of the last epoch.
pub(super) struct Top {
    /// How many distinct words there are.
    pub(super) distinct: usize,
    /// The most frequent ones, in order.
    pub(super) words: Vec<(String, i64)>,
}

/// A row of the output `counts`.
#[derive(Deserialize, Serialize)]
pub(super) struct Row<'a> {
    /// The word.
    #[serde(borrow)]
    pub(super) word: Cow<'a, str>,
    /// How often it was counted.
    pub(super) count: i64,
}

impl Counts {
    /// The `number` most frequent words.
    pub(super) fn top(&self, number: usize) -> Top {
        let held = self.lock();
        let mut words: Vec<(&String, i64)> = held.iter().map(|(word, &count)| (word, count)).collect();
        let order = |a: &(&String, i64), b: &(&String, i64)| b.1.cmp(&a.1).then(a.0.cmp(b.0));
        if number < words.len() {
            // Sorting them all would hold up the run.
            words.select_nth_unstable_by(number, order);
            words.truncate(number);
        }
        words.sort_by(order);
        Top {
            distinct: held.len(),
            words: words.into_iter().map(|(word, count)| (word.clone(), count)).collect(),
        }
    }

    /// All words whose count is not `expected`, in order: the word, what was counted, what was expected.
    pub(super) fn differences(&self, expected: &HashMap<&str, u64>) -> Vec<(String, i64, u64)> {
        let held = self.lock();
        let unexpected = held.keys().map(String::as_str).filter(|word| !expected.contains_key(word));
        let mut differences: Vec<(String, i64, u64)> = expected
            .keys()
            .copied()
            .chain(unexpected)
            .map(|word| {
                (word, held.get(word).copied().unwrap_or(0), expected.get(word).copied().unwrap_or(0))
            })
            .filter(|&(_, found, expected)| u64::try_from(found) != Ok(expected))
            .map(|(word, found, expected)| (word.to_owned(), found, expected))
            .collect();
        differences.sort();
        differences
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Counts {
    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        // Locked once an epoch: nobody sees a part of one.
        let mut held = self.lock();
        for change in changes {
            let shown = || String::from_utf8_lossy(&change.row);
            let row: Row<'_> = serde_json::from_slice(&change.row)
                .with_context(|| format!("reading row {} of {output}", shown()))?;
            let sound = match change.diff {
                1 => held.insert(row.word.into_owned(), row.count).is_none(),
                -1 => held.remove(&*row.word) == Some(row.count),
                _ => false,
            };
            if !sound {
                bail!(
                    "output {output}, epoch {epoch}: change {:+} of {} does not fit the rows before it",
                    change.diff,
                    shown()
                );
            }
        }
        Ok(())
    }

    fn commit(&mut self, _epoch: Epoch, _reports: &[Report]) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(word: &str, count: i64, diff: i64) -> Change {
        let key = format!(r#"{{"word":"{word}"}}"#);
        let row = format!(r#"{{"word":"{word}","count":{count}}}"#);
        Change { key: key.into(), row: row.into(), diff }
    }

    fn sample() -> Counts {
        let mut counts = Counts::default();
        counts.write(1, "counts", &[change("a", 2, 1), change("b", 5, 1), change("c", 2, 1)]).unwrap();
        counts.write(2, "counts", &[change("b", 5, -1), change("b", 6, 1)]).unwrap();
        counts
    }

    #[test]
    fn changes_add_up_and_the_most_frequent_come_first() {
        let top = sample().top(2);
        assert_eq!(top.distinct, 3);
        assert_eq!(top.words, [("b".to_owned(), 6), ("a".to_owned(), 2)]);
        assert_eq!(sample().top(9).words.len(), 3);
    }

    #[test]
    fn a_change_that_does_not_fit_is_an_error() {
        for wrong in [change("b", 5, -1), change("b", 7, 1), change("new", 1, -1), change("new", 1, 2)] {
            assert!(sample().write(3, "counts", std::slice::from_ref(&wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_count_that_differs_is_found() {
        let counts = sample();
        let right = HashMap::from([("a", 2), ("b", 6), ("c", 2)]);
        assert_eq!(counts.differences(&right), []);
        let wrong = HashMap::from([("a", 3), ("b", 6), ("d", 1)]);
        assert_eq!(
            counts.differences(&wrong),
            [("a".to_owned(), 2, 3), ("c".to_owned(), 2, 0), ("d".to_owned(), 0, 1)]
        );
    }
}
