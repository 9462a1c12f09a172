//! What came of a test.

use std::collections::{BTreeMap, BTreeSet};

use crate::Epoch;

/// The changes of each output, in the order in which a sink would get them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By output and epoch: the row as JSON, and its difference.
    pub(super) changes: BTreeMap<String, BTreeMap<Epoch, Vec<(String, i64)>>>,
    /// Dead letters, as JSON.
    pub(super) dead_letters: BTreeSet<String>,
    /// How many rows each state has in the end.
    pub(super) states: BTreeMap<String, usize>,
    /// Where the key of an output does not tell its rows apart, although it is said to: the first such place.
    pub(super) not_unique: Option<String>,
}

impl Outcome {
    /// What changes in an output in an epoch: the difference with its sign, then the row as JSON.
    ///
    /// # Panics
    /// If there is no such output.
    pub fn changes_of(&self, output: &str, epoch: Epoch) -> Vec<String> {
        let changes = self.output(output).get(&epoch).into_iter().flatten();
        changes.map(|(row, diff)| format!("{diff:+} {row}")).collect()
    }

    /// The rows of an output in the end, as JSON, in order; each as often as it is there.
    ///
    /// # Panics
    /// If there is no such output, or it withdraws a row that is not there.
    pub fn rows(&self, output: &str) -> Vec<String> {
        self.try_rows(output).unwrap_or_else(|(row, count)| panic!("{output}: {row} is there {count} times"))
    }

    /// As [`Outcome::rows`].
    ///
    /// # Errors
    /// If the output withdraws a row that is not there: the row, and how often it is there, which is less than never.
    ///
    /// # Panics
    /// If there is no such output.
    pub fn try_rows(&self, output: &str) -> Result<Vec<String>, (String, i64)> {
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for (row, diff) in self.output(output).values().flatten() {
            *sums.entry(row).or_default() += diff;
        }
        let mut rows = Vec::new();
        for (row, count) in sums {
            let times = usize::try_from(count).map_err(|_| (row.to_owned(), count))?;
            rows.extend(std::iter::repeat_n(row.to_owned(), times));
        }
        Ok(rows)
    }

    /// The dead letters, as JSON.
    pub fn dead_letters(&self) -> &BTreeSet<String> {
        &self.dead_letters
    }

    /// Why records are dead letters: of each its reason, in the order of topic, partition and offset as text.
    pub fn reasons(&self) -> Vec<String> {
        let reason = |letter: &String| {
            let letter: serde_json::Value = serde_json::from_str(letter).expect("a dead letter is JSON");
            letter["reason"].as_str().unwrap_or_default().to_owned()
        };
        self.dead_letters.iter().map(reason).collect()
    }

    /// How many distinct rows the state of this name has in the end: what a checkpoint would hold.
    pub fn state_rows(&self, state: &str) -> usize {
        self.states.get(state).copied().unwrap_or_default()
    }

    fn output(&self, output: &str) -> &BTreeMap<Epoch, Vec<(String, i64)>> {
        let names = || self.changes.keys().cloned().collect::<Vec<_>>().join(", ");
        self.changes
            .get(output)
            .unwrap_or_else(|| panic!("there is no output {output:?}: there are {}", names()))
    }

    /// The first way in which `other` is another outcome.
    pub(super) fn difference(&self, other: &Outcome) -> Option<String> {
        for output in self.changes.keys().chain(other.changes.keys()) {
            let (one, two) = (&self.changes[output], &other.changes[output]);
            for epoch in one.keys().chain(two.keys()) {
                if one.get(epoch) != two.get(epoch) {
                    let (one, two) = (self.changes_of(output, *epoch), other.changes_of(output, *epoch));
                    return Some(format!(
                        "output {output}, epoch {epoch}: expected {one:#?}, found {two:#?}"
                    ));
                }
            }
        }
        (self.dead_letters != other.dead_letters).then(|| "other dead letters".to_owned())
    }
}
