//! What a seeded feed reads: topics, partitions and records, all from a seed.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// For each partition of an input, the offset after the last record below the cut. A partition that is not
/// there has none.
pub type Cut = BTreeMap<Key, i64>;

/// Input, topic and partition.
pub type Key = (String, String, i32);

/// All records of all inputs.
pub struct World {
    /// The seed it was made from.
    pub seed: u64,
    /// The partitions.
    pub logs: Vec<Log>,
    /// Empty: records are handed over at random. Else the world is a script, and these are the logs that close
    /// its batches.
    pub(super) closers: Vec<usize>,
}

/// A partition.
pub struct Log {
    /// Input, topic and partition.
    pub key: Key,
    /// Where reading starts.
    pub start: i64,
    /// Its records, by offset.
    pub records: Vec<Stored>,
    /// The end: beyond the last record and what gap follows it.
    pub end: i64,
    /// The partition appears when that many records of its input have been handed over. Until then, its worker
    /// waits for it.
    pub appears_after: usize,
    /// In a script, how many of the records belong to the batches up to each.
    pub(super) batches: Vec<usize>,
}

/// A record.
#[derive(Debug)]
pub struct Stored {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// Words that records are made of.
const WORDS: [&str; 8] = ["the", "a", "The", "cut", "e\u{301}", "\u{1f980}", "of", "water"];
/// What stands between them.
const SPACES: [&str; 4] = [" ", "  ", "\u{3000}", "\t\u{a0}"];

impl World {
    /// Up to a few hundred records in up to a dozen partitions of each input. Some partitions are empty, some
    /// appear late; offsets have gaps; some values are null or no UTF-8.
    pub fn random(seed: u64, inputs: &[&str]) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut logs = Vec::new();
        for input in inputs {
            let first = logs.len();
            for topic in 0..rng.random_range(1..=3) {
                let topic = format!("{input}-{topic}-{}", rng.random_range(0..100));
                for partition in 0..rng.random_range(1..=4) {
                    let most = *[0, 1, 10, 80].choose(&mut rng).expect("there are some");
                    let count = rng.random_range(0..=most);
                    let values = (0..count).map(|_| value(&mut rng)).collect();
                    logs.push(Log::new(
                        &mut rng,
                        ((*input).to_owned(), topic.clone(), partition),
                        values,
                        Vec::new(),
                    ));
                }
            }
            // Whoever appears late must not wait for records of others that wait for theirs.
            let early: Vec<bool> = (first..logs.len()).map(|_| rng.random_bool(0.7)).collect();
            let records: usize = logs[first..]
                .iter()
                .zip(&early)
                .filter(|(_, early)| **early)
                .map(|(l, _)| l.records.len())
                .sum();
            for (log, _) in logs[first..].iter_mut().zip(early).filter(|(_, early)| !early) {
                log.appears_after = rng.random_range(0..=records);
            }
        }
        World { seed, logs, closers: Vec::new() }
    }

    /// As many records in each partition of one topic, all there from the start.
    pub fn even(seed: u64, input: &str, partitions: i32, records: usize) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let logs = (0..partitions)
            .map(|partition| {
                let values = (0..records).map(|_| value(&mut rng)).collect();
                Log::new(&mut rng, (input.to_owned(), "even".to_owned(), partition), values, Vec::new())
            })
            .collect();
        World { seed, logs, closers: Vec::new() }
    }

    /// A script: `batches` batches of records in `partitions` partitions of one topic. The feeds of all workers
    /// hand over a batch as a whole and then wait until their epoch is closed. One record of each batch comes
    /// after all others, and is of `bytes` bytes or more: when `bytes` is what caps an epoch, and nothing else
    /// closes one, then batch `k` is epoch `k + 1` for any number of workers.
    pub fn script(seed: u64, input: &str, partitions: i32, batches: usize, bytes: usize) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let closers: Vec<usize> = (0..batches).map(|_| rng.random_range(0..partitions as usize)).collect();
        let logs = (0..partitions)
            .map(|partition| {
                let (mut values, mut ends) = (Vec::new(), Vec::new());
                for closer in &closers {
                    let count = rng.random_range(0..10);
                    values.extend((0..count).map(|_| value(&mut rng)));
                    if *closer == partition as usize {
                        values.push(Some(format!("closes{}", " ".repeat(bytes)).into_bytes()));
                    }
                    ends.push(values.len());
                }
                Log::new(&mut rng, (input.to_owned(), "script".to_owned(), partition), values, ends)
            })
            .collect();
        World { seed, logs, closers }
    }

    /// The records below a cut, each with its partition.
    pub fn below<'a>(&'a self, cut: &'a Cut) -> impl Iterator<Item = (&'a Key, &'a Stored)> {
        self.logs.iter().flat_map(|log| {
            let next = cut.get(&log.key).copied().unwrap_or(log.start);
            log.records.iter().take_while(move |record| record.offset < next).map(|record| (&log.key, record))
        })
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        self.logs.iter().map(|log| log.records.len()).sum()
    }

    /// In a script, the number of records of a batch, without the one that closes it.
    pub(super) fn batch(&self, batch: usize) -> usize {
        let of = |log: &Log| log.batches[batch] - if batch == 0 { 0 } else { log.batches[batch - 1] };
        self.logs.iter().map(of).sum::<usize>() - 1
    }
}

impl Log {
    fn new(rng: &mut StdRng, key: Key, values: Vec<Option<Vec<u8>>>, batches: Vec<usize>) -> Log {
        let gap = |rng: &mut StdRng| if rng.random_bool(0.2) { rng.random_range(1..5) } else { 0 };
        let start = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..1000) };
        let mut end = start;
        let records = values
            .into_iter()
            .map(|value| {
                let offset = end + gap(rng);
                end = offset + 1;
                let key = rng.random_bool(0.5).then(|| b"key".to_vec());
                Stored { offset, key, value }
            })
            .collect();
        end += gap(rng);
        Log { key, start, records, end, appears_after: 0, batches }
    }
}

fn value(rng: &mut StdRng) -> Option<Vec<u8>> {
    match rng.random_range(0..20) {
        0 => None,
        1 => Some(b"not \xff UTF-8".to_vec()),
        2 => Some(Vec::new()),
        _ => {
            let mut text = String::new();
            for _ in 0..rng.random_range(1..6) {
                text += WORDS.choose(rng).expect("there are some");
                text += SPACES.choose(rng).expect("there are some");
            }
            Some(text.into_bytes())
        }
    }
}
