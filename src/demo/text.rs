//! Text with the word frequencies of natural language, from a seed.

use std::collections::HashSet;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::Distribution;
use rand_distr::weighted::WeightedAliasIndex;

/// Distinct words.
const VOCABULARY: usize = 20_000;
/// Words in a line, at least and at most.
const WORDS: std::ops::RangeInclusive<usize> = 4..=12;

/// The most common English words, in order; made-up ones follow.
const COMMON: &str = "the of and to a in is it you that he was for on are with as i his they be at one have this \
     from or had by not but some what there we can out other were all your when up use word how said an each she \
     which do their time if will way about many then them would write like so these her long make thing see him \
     two has look more day could go come did my sound no most number who over know water than call first people \
     may down side been now find any new work part take get place made live where after back little only round \
     man year came show every good me give our under name very through just form much great think say help low \
     line before turn cause same mean differ move right boy old too does tell sentence set three want air well \
     also play small end put home read hand port large spell add even land here must big high such follow act why \
     ask men change went light kind off need house picture try us again animal point mother world near build self \
     earth father head stand own page should country found answer school grow study still learn plant cover food";

const ONSETS: [&str; 24] = [
    "b", "bl", "br", "c", "d", "dr", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pr", "r", "s", "st",
    "t", "tr", "v", "w",
];
const VOWELS: [&str; 8] = ["a", "e", "i", "o", "u", "ai", "ea", "ou"];
const CODAS: [&str; 10] = ["", "", "", "l", "m", "n", "r", "s", "t", "nd"];

/// Draws lines of text. The same seed gives the same lines.
pub(super) struct Text {
    words: Vec<String>,
    /// Zipf's law: the word of rank `k` is drawn with a weight of `1/k`.
    law: WeightedAliasIndex<f64>,
    random: Xoshiro256PlusPlus,
}

impl Text {
    /// The text of this seed.
    pub(super) fn new(seed: u64) -> Self {
        // Named and not the library's standard one, which may become another in a later version.
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let words = vocabulary(&mut random);
        let weights = (1..=words.len()).map(|rank| 1.0 / rank as f64).collect();
        let law = WeightedAliasIndex::new(weights).expect("weights are positive");
        Text { words, law, random }
    }

    /// The vocabulary, most frequent word first.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// Puts the next line into `line`, and calls `each` with the index of each word in the vocabulary.
    pub(super) fn line(&mut self, line: &mut String, mut each: impl FnMut(usize)) {
        line.clear();
        for position in 0..self.random.random_range(WORDS) {
            let word = self.law.sample(&mut self.random);
            if position > 0 {
                line.push(' ');
            }
            line.push_str(&self.words[word]);
            each(word);
        }
    }
}

/// Distinct words: common ones, then made-up ones, which become longer as they become rarer.
fn vocabulary(random: &mut Xoshiro256PlusPlus) -> Vec<String> {
    let mut words: Vec<String> = COMMON.split(' ').map(str::to_owned).collect();
    let mut known: HashSet<String> = words.iter().cloned().collect();
    while words.len() < VOCABULARY {
        let syllables = if words.len() < VOCABULARY / 4 { 2 } else { 3 };
        let word: String = (0..syllables)
            .flat_map(|_| [pick(random, &ONSETS), pick(random, &VOWELS), pick(random, &CODAS)])
            .collect();
        if known.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

fn pick(random: &mut Xoshiro256PlusPlus, from: &[&'static str]) -> &'static str {
    from[random.random_range(0..from.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_OF_42: [&str; 2] = [
        "fice to the drokondfim trountairgear port fainwoun to tirwouljom",
        "through cunpumor a to the the know the",
    ];

    fn lines(seed: u64, number: usize) -> Vec<String> {
        let mut text = Text::new(seed);
        let mut line = String::new();
        (0..number)
            .map(|_| {
                text.line(&mut line, |_| {});
                line.clone()
            })
            .collect()
    }

    #[test]
    fn a_seed_gives_the_same_text_and_another_one_another() {
        assert_eq!(lines(7, 1000), lines(7, 1000));
        assert_ne!(lines(7, 1000), lines(8, 1000));
    }

    #[test]
    fn the_text_of_a_seed_stays_the_same_over_versions() {
        assert_eq!(lines(42, 2), FIRST_OF_42);
    }

    #[test]
    fn words_are_distinct_and_free_of_white_space() {
        let text = Text::new(1);
        let distinct: HashSet<&String> = text.words().iter().collect();
        assert_eq!((text.words().len(), distinct.len()), (VOCABULARY, VOCABULARY));
        assert!(
            text.words().iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        );
    }

    #[test]
    fn frequencies_follow_zipf() {
        let mut text = Text::new(3);
        let mut counts = vec![0u64; VOCABULARY];
        let mut line = String::new();
        for _ in 0..200_000 {
            let mut indices = Vec::new();
            text.line(&mut line, |word| indices.push(word));
            let words: Vec<&str> = indices.iter().map(|&word| text.words()[word].as_str()).collect();
            assert_eq!(
                line.split(' ').collect::<Vec<_>>(),
                words,
                "the indices are those of the line's words"
            );
            indices.into_iter().for_each(|word| counts[word] += 1);
        }
        let total: u64 = counts.iter().sum();
        assert!((1_500_000..1_700_000).contains(&total), "8 words a line on average: {total}");
        let sum: f64 = (1..=VOCABULARY).map(|rank| 1.0 / rank as f64).sum();
        for rank in [1, 2, 5, 10, 100] {
            let expected = total as f64 / (rank as f64 * sum);
            let found = counts[rank - 1] as f64;
            assert!((found / expected - 1.0).abs() < 0.1, "rank {rank}: {found}, expected about {expected}");
        }
    }
}
