//! The oracle: what each epoch must have changed, by a plain count of the input in the order of the ledger's cuts.

use std::collections::{BTreeSet, HashMap};

use rdkafka::Message;

use super::COMMITTED;
use super::ledger::Ledger;
use crate::support::committed::each;
use crate::support::kafka::Topic;

/// Words, by number.
#[derive(Default)]
pub struct Words {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Words {
    /// The number of a word.
    pub fn number(&mut self, word: &str) -> u32 {
        if let Some(&number) = self.numbers.get(word) {
            return number;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(word.to_owned(), number);
        self.names.push(word.to_owned());
        number
    }

    /// The word of a number.
    pub fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }
}

/// That a word occurs so often as of an epoch in which it occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count {
    pub epoch: u64,
    pub word: u32,
    pub count: i64,
}

/// A record that is no text: where it is, and its epoch.
pub type Dead = (i32, i64, u64);

/// What must have come out.
pub struct Recount {
    /// In order.
    pub counts: Vec<Count>,
    pub dead: BTreeSet<Dead>,
    /// Records that were read.
    pub records: u64,
}

impl Recount {
    /// Recounts the input. All of its records must be in the ledger, and nothing in the ledger that is not there.
    pub fn of(input: &Topic, ledger: &Ledger, words: &mut Words) -> Recount {
        let mut occurrences: Vec<(u64, u32)> = Vec::new();
        let mut recount = Recount { counts: Vec::new(), dead: BTreeSet::new(), records: 0 };
        let mut next: HashMap<i32, i64> = HashMap::new();
        let ends = each(input, COMMITTED, |message| {
            recount.records += 1;
            let (partition, offset) = (message.partition(), message.offset());
            next.insert(partition, offset + 1);
            let epoch = ledger.epoch(partition, offset);
            match message.payload().map(std::str::from_utf8) {
                Some(Ok(line)) => {
                    occurrences.extend(line.split_whitespace().map(|word| (epoch, words.number(word))));
                }
                _ => drop(recount.dead.insert((partition, offset, epoch))),
            }
        });
        for (partition, end) in ledger.ends() {
            // Behind the last record there may be others that were aborted, and marks of transactions.
            let (least, most) = (next.get(&partition).copied().unwrap_or(0), ends[&partition]);
            assert!((least..=most).contains(&end), "partition {partition} ends at {most}, its cut is {end}");
        }
        recount.counts = sums(occurrences);
        recount
    }
}

fn sums(mut occurrences: Vec<(u64, u32)>) -> Vec<Count> {
    occurrences.sort_unstable();
    let mut sums: HashMap<u32, i64> = HashMap::new();
    let same = occurrences.chunk_by(|a, b| a == b);
    let count = |same: &[(u64, u32)]| {
        let (epoch, word) = same[0];
        let sum = sums.entry(word).or_default();
        *sum += same.len() as i64;
        Count { epoch, word, count: *sum }
    };
    same.map(count).collect()
}
