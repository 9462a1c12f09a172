//! Counts how often each word occurs.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::dataflow::Samples;
use crate::prelude::*;
use crate::testing::Sample;

pub use crate::words::{StopWords, Tokenizer, Words};

/// Counts how often each word occurs in lines of text
///
/// Words are counted as they are written, unless the options say otherwise: "é" as one code point and as two are two words, and
/// so are "Word" and "word". --normalise takes them for the same. A byte order mark at the start of a record is no part of its
/// first word.
///
/// Example: cutwater run word-count -t lines --tokenizer unicode --stop-words en.txt --min-length 2
#[derive(clap::Args, Clone, Default)]
pub struct WordCount {
    /// Which words a line has
    #[command(flatten)]
    pub words: Words,
}

impl WordCount {
    /// Words as this tokenizer finds them.
    pub fn by(tokenizer: Tokenizer) -> Self {
        WordCount { words: Words { tokenizer, ..Words::default() } }
    }
}

impl fmt::Debug for WordCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words.debug("WordCount", f)
    }
}

impl Dataflow for WordCount {
    const NAME: &'static str = "word-count";

    fn build(&self, flow: &Flow<'_>) {
        let words = self.words.of(flow.input("lines"));
        words.persist("words").count().output("counts", &["word"], &["count"]);
    }
}

/// Lines of ten words, the word of rank *k* with a weight of 1/*k*.
pub fn samples(seed: u64) -> Samples {
    let mut random = StdRng::seed_from_u64(seed);
    let words = move || {
        let words = (0..10).map(|_| {
            // The inverse of the distribution 1/k, near enough: the exponential of a uniform.
            let rank = (random.random::<f64>() * (WORDS as f64).ln()).exp() as usize;
            format!("word{rank}")
        });
        let line = words.collect::<Vec<_>>().join(" ");
        Some(("lines", Sample::from(line.into_bytes())))
    };
    Box::new(std::iter::from_fn(words))
}

/// How many words there are in the samples.
const WORDS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Test;

    #[test]
    fn words_are_counted_as_the_options_say_whatever_the_workers() {
        let words = Words { min_length: 2, normalise: true, ..Words::default() };
        let outcome = Test::of(WordCount { words })
            .epoch([("lines", "a The the")])
            .restart()
            .epoch([("lines", "THE end")])
            .check();
        assert_eq!(outcome.rows("counts"), [r#"{"word":"end","count":1}"#, r#"{"word":"the","count":3}"#]);
    }

    #[test]
    fn a_state_from_before_the_options_is_of_the_same_dataflow() {
        assert_eq!(format!("{:?}", WordCount::default()), "WordCount { tokenizer: Whitespace }");
    }
}
