//! Counts how often each word occurs.

use std::borrow::Cow;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use unicode_segmentation::UnicodeSegmentation;

use crate::dataflow::Samples;
use crate::prelude::*;
use crate::split;
use crate::testing::Sample;

/// Counts how often each word occurs in lines of text
///
/// Words are counted as they are written: nothing is normalised, so that "é" as one code point and as two are two words,
/// and so are "Word" and "word", unless the tokenizer lower-cases them. A byte order mark at the start of a record is no
/// part of its first word.
#[derive(clap::Args, Clone, Debug)]
pub struct WordCount {
    /// How a line is split into words
    #[arg(long, value_enum, default_value_t = Tokenizer::Whitespace)]
    pub tokenizer: Tokenizer,
}

impl Dataflow for WordCount {
    const NAME: &'static str = "word-count";

    fn build(&self, flow: &Flow<'_>) {
        flow.input("lines").decode(self.tokenizer).persist("words").count().output(
            "counts",
            &["word"],
            &["count"],
        );
    }
}

/// Splits the value of a record into words.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokenizer {
    /// At Unicode white space; empty words dropped, case kept
    Whitespace,
    /// Words as UAX #29 finds them, lower-cased
    Unicode,
}

impl Decode for Tokenizer {
    type Row = Text;

    fn decode(&mut self, record: &Record<'_>, words: &mut Rows<'_, Text>) -> Result<(), Malformed> {
        let value = record.value.ok_or(Malformed::because("the value is null, not a line of text"))?;
        let line = std::str::from_utf8(value).map_err(|error| {
            Malformed(Cow::Owned(format!("the value is not UTF-8 from byte {}", error.valid_up_to())))
        })?;
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        match self {
            Tokenizer::Whitespace => split::words(line, |word| words.push(word)),
            Tokenizer::Unicode => line.unicode_words().for_each(|word| words.push(&lower_case(word))),
        }
        Ok(())
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

/// What some programs begin a text file with, and so its first line.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Lower-cases a word, without an allocation where it is in lower-case ASCII already.
fn lower_case(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(word.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::decoded;

    fn words(mut tokenizer: Tokenizer, line: &[u8]) -> Vec<(Text, i64)> {
        decoded(&mut tokenizer, Some(line)).unwrap()
    }

    fn expect(expected: &[(&str, i64)]) -> Vec<(Text, i64)> {
        expected.iter().map(|&(word, count)| (Text::from(word), count)).collect()
    }

    #[test]
    fn white_space_is_unicode_white_space() {
        let line = "The\u{a0}the\u{3000}e\u{301}\te\u{301} \u{1f980}  \u{200b}x\r\n";
        assert_eq!(
            words(Tokenizer::Whitespace, line.as_bytes()),
            expect(&[("The", 1), ("e\u{301}", 2), ("the", 1), ("\u{200b}x", 1), ("\u{1f980}", 1)])
        );
        assert_eq!(words(Tokenizer::Whitespace, b""), []);
        assert_eq!(words(Tokenizer::Whitespace, b" \r\n"), []);
    }

    #[test]
    fn unicode_words_are_lower_case() {
        let line = "Don't stop, the STRASSE \u{1f980} ΟΔΟΣ";
        assert_eq!(
            words(Tokenizer::Unicode, line.as_bytes()),
            expect(&[("don't", 1), ("stop", 1), ("strasse", 1), ("the", 1), ("οδος", 1)])
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_word() {
        for tokenizer in [Tokenizer::Whitespace, Tokenizer::Unicode] {
            assert_eq!(words(tokenizer, "\u{feff}the cat".as_bytes()), expect(&[("cat", 1), ("the", 1)]));
            assert_eq!(words(tokenizer, "\u{feff}".as_bytes()), []);
        }
        // Elsewhere it is a character as any other.
        let line = "a \u{feff}b";
        assert_eq!(words(Tokenizer::Whitespace, line.as_bytes()), expect(&[("a", 1), ("\u{feff}b", 1)]));
    }

    #[test]
    fn what_is_not_text_is_malformed() {
        assert!(decoded(&mut Tokenizer::Whitespace, None).is_err());
        let error = decoded(&mut Tokenizer::Unicode, Some(b"abc \xff def")).unwrap_err();
        assert_eq!(error.0, "the value is not UTF-8 from byte 4");
    }
}
