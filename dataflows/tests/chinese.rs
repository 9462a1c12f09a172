//! `--tokenizer chinese`, in a build with that feature: `cargo test --features chinese --test chinese`.

use cutwater_dataflows::testing::Test;
use cutwater_dataflows::word_count::{StopWords, Tokenizer, WordCount, Words};

/// The words of a line, and how often each is there.
fn words(words: Words, line: &str) -> Vec<String> {
    Test::of(WordCount { words }).epoch([("lines", line)]).check().rows("counts")
}

fn rows(expected: &[(&str, i64)]) -> Vec<String> {
    let row = |(word, count): &(&str, i64)| format!(r#"{{"word":"{word}","count":{count}}}"#);
    let mut rows: Vec<String> = expected.iter().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn words_are_found_without_spaces_and_punctuation_is_none() {
    let chinese = Words { tokenizer: Tokenizer::Chinese, ..Words::default() };
    assert_eq!(
        words(chinese, "我们来到北京清华大学，Kafka 3！我们"),
        rows(&[("我们", 2), ("来到", 1), ("北京", 1), ("清华大学", 1), ("kafka", 1), ("3", 1)])
    );
}

#[test]
fn words_are_left_out_and_normalised_as_with_other_tokenizers() {
    let chosen = Words {
        tokenizer: Tokenizer::Chinese,
        stop_words: Some(StopWords::new(vec!["我们".into()])),
        min_length: 2,
        normalise: true,
    };
    assert_eq!(
        words(chosen, "我们和他来到北京，ＫＡＦＫＡ kafka"),
        rows(&[("来到", 1), ("北京", 1), ("kafka", 2)])
    );
}
