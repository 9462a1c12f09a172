//! What is counted: lines of words from a seed, and how often each word was drawn.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::Distribution;
use rand_distr::weighted::WeightedAliasIndex;
use serde::{Deserialize, Serialize};

use crate::shown::count;

/// How often words come.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// All words of seven letters, each as often as any other
    Uniform,
    /// Words of three to nine letters, the one of rank k with a weight of 1/k
    Zipf,
}

/// A workload, but for how many records of it are made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// How often words come.
    pub law: Law,
    /// Words a record.
    pub words: usize,
    /// Distinct words there are to draw from.
    pub vocabulary: usize,
    /// Partitions of the topic.
    pub partitions: i32,
    /// The same seed gives the same records.
    pub seed: u64,
}

impl Spec {
    /// Bytes of a record, about: words with a space between.
    pub(super) fn bytes(&self) -> f64 {
        let word = match self.law {
            Law::Uniform => 7.0,
            Law::Zipf => 6.0,
        };
        (word + 1.0) * self.words as f64 - 1.0
    }
}

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placing {
    /// Each partition in turn: every worker meets every word.
    InTurn,
    /// As if keyed: each partition has words of its own, so that the order in which a word is counted is that in which
    /// it was appended.
    ByWord,
}

/// A word, by its place in the vocabulary.
pub(super) type Word = u32;

/// Draws records, and counts what it drew.
pub(super) struct Text {
    spec: Spec,
    placing: Placing,
    words: Arc<Vec<String>>,
    /// For Zipf's law; none for the uniform one.
    ranks: Option<WeightedAliasIndex<f64>>,
    random: Xoshiro256PlusPlus,
    drawn: Vec<u64>,
    records: u64,
    bytes: u64,
}

impl Text {
    /// The text of `spec`.
    pub(super) fn new(spec: &Spec, placing: Placing) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(spec.seed);
        let words = vocabulary(spec, &mut random);
        let ranks = (spec.law == Law::Zipf).then(|| {
            let weights = (1..=words.len()).map(|rank| 1.0 / rank as f64).collect();
            WeightedAliasIndex::new(weights).expect("weights are positive")
        });
        let drawn = vec![0; words.len()];
        Text {
            spec: spec.clone(),
            placing,
            words: Arc::new(words),
            ranks,
            random,
            drawn,
            records: 0,
            bytes: 0,
        }
    }

    /// The vocabulary.
    pub(super) fn words(&self) -> &Arc<Vec<String>> {
        &self.words
    }

    /// Draws the next record into `line`. Returns its partition and its first word.
    pub(super) fn record(&mut self, line: &mut String) -> (i32, Word) {
        line.clear();
        let partitions = self.spec.partitions as usize;
        let mut partition = (self.records % self.spec.partitions as u64) as usize;
        let mut first = 0;
        for position in 0..self.spec.words {
            let mut word = match &self.ranks {
                Some(ranks) => ranks.sample(&mut self.random),
                None => self.random.random_range(0..self.words.len()),
            };
            if position == 0 {
                first = word;
                if self.placing == Placing::ByWord {
                    partition = word % partitions;
                }
            } else {
                line.push(' ');
                if self.placing == Placing::ByWord {
                    word = nearest(word, partition, partitions, self.words.len());
                }
            }
            line.push_str(&self.words[word]);
            self.drawn[word] += 1;
        }
        self.records += 1;
        self.bytes += line.len() as u64;
        (partition as i32, first as Word)
    }

    /// How often this word has been drawn.
    pub(super) fn drawn(&self, word: Word) -> u64 {
        self.drawn[word as usize]
    }

    /// Records drawn.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Words drawn.
    pub(super) fn total(&self) -> u64 {
        self.records * self.spec.words as u64
    }

    /// Bytes drawn.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is wrong with these counts: nothing, or how many are, and one of them.
    pub(super) fn differs_from(&self, counts: &HashMap<String, u64>) -> Option<String> {
        let expected = self.words.iter().zip(&self.drawn).filter(|&(_, &drawn)| drawn > 0);
        let wrong: Vec<_> =
            expected.clone().filter(|&(word, drawn)| counts.get(word) != Some(drawn)).collect();
        if let Some((word, drawn)) = wrong.first() {
            let found = counts.get(*word).copied().unwrap_or(0);
            return Some(format!(
                "{} counted wrongly: {word:?} was sent {drawn} times and counted {found} times",
                count(wrong.len() as u64, "word")
            ));
        }
        let more = counts.len() - expected.count();
        (more > 0).then(|| format!("{} counted but never sent", count(more as u64, "word")))
    }
}

/// The word nearest in rank to `word` of those that are the partition's.
fn nearest(word: usize, partition: usize, partitions: usize, vocabulary: usize) -> usize {
    let near = word - word % partitions + partition;
    if near < vocabulary { near } else { near - partitions }
}

/// Distinct words.
fn vocabulary(spec: &Spec, random: &mut Xoshiro256PlusPlus) -> Vec<String> {
    let mut known = HashSet::with_capacity(spec.vocabulary);
    let mut words = Vec::with_capacity(spec.vocabulary);
    while words.len() < spec.vocabulary {
        let length = match spec.law {
            Law::Uniform => 7,
            // Short words run out where many are asked for.
            Law::Zipf => random.random_range(3..=9),
        };
        let word: String = (0..length).map(|_| random.random_range(b'a'..=b'z') as char).collect();
        if known.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(law: Law, words: usize) -> Spec {
        Spec { law, words, vocabulary: 1000, partitions: 3, seed: 1 }
    }

    /// Draws records, and returns them with their partitions.
    fn draw(text: &mut Text, records: usize) -> Vec<(i32, String)> {
        let mut line = String::new();
        (0..records)
            .map(|_| {
                let (partition, first) = text.record(&mut line);
                assert_eq!(line.split(' ').next(), Some(text.words()[first as usize].as_str()));
                (partition, line.clone())
            })
            .collect()
    }

    #[test]
    fn the_size_is_known_before() {
        for (law, words) in [(Law::Uniform, 1), (Law::Uniform, 3), (Law::Zipf, 10)] {
            let spec = spec(law, words);
            let mut text = Text::new(&spec, Placing::InTurn);
            draw(&mut text, 2000);
            let (told, drawn) = (2000.0 * spec.bytes(), text.bytes() as f64);
            assert!((told / drawn - 1.0).abs() < 0.15, "{law:?} {words}: {told} instead of {drawn}");
        }
    }

    #[test]
    fn what_was_drawn_is_what_the_records_hold() {
        for (law, words) in [(Law::Uniform, 1), (Law::Zipf, 10)] {
            let mut text = Text::new(&spec(law, words), Placing::InTurn);
            let mut counts = HashMap::new();
            for (_, line) in draw(&mut text, 2000) {
                assert_eq!(line.split(' ').count(), words);
                line.split(' ').for_each(|word| *counts.entry(word.to_owned()).or_default() += 1);
            }
            assert_eq!(text.differs_from(&counts), None);
            assert_eq!(text.total(), counts.values().sum::<u64>());
            let word = text.words()[0].clone();
            *counts.get_mut(&word).unwrap() += 1;
            assert!(text.differs_from(&counts).unwrap().contains("1 word counted wrongly"));
            counts.remove(&word);
            assert!(text.differs_from(&counts).unwrap().contains("counted 0 times"));
        }
    }

    #[test]
    fn a_word_that_was_never_sent_is_found() {
        let text = Text::new(&spec(Law::Uniform, 1), Placing::InTurn);
        let wrong = text.differs_from(&HashMap::from([("word".to_owned(), 1)])).unwrap();
        assert_eq!(wrong, "1 word counted but never sent");
    }

    #[test]
    fn words_can_be_partitioned() {
        for (law, words) in [(Law::Uniform, 1), (Law::Zipf, 10)] {
            let mut text = Text::new(&spec(law, words), Placing::ByWord);
            let mut of = HashMap::new();
            let mut records = [0; 3];
            for (partition, line) in draw(&mut text, 3000) {
                records[partition as usize] += 1;
                for word in line.split(' ') {
                    assert_eq!(*of.entry(word.to_owned()).or_insert(partition), partition, "{word}");
                }
            }
            assert!(records.iter().all(|&records| records > 700), "{records:?}");
        }
    }

    #[test]
    fn words_are_distinct() {
        for law in [Law::Uniform, Law::Zipf] {
            let text = Text::new(&spec(law, 1), Placing::InTurn);
            let distinct: HashSet<&String> = text.words().iter().collect();
            assert_eq!(distinct.len(), 1000);
        }
        assert!((0..1000).all(|word| nearest(word, 2, 3, 1000) < 1000));
    }
}
