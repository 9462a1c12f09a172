use std::collections::BTreeMap;

use cutwater_dataflows::top_words::{TopWords, samples};
use cutwater_dataflows::words::Words;

use crate::recount::{check, epochs};

#[test]
fn top_words_are_those_of_a_recount() {
    for (seed, top) in [(0, 10), (1, 1), (2, 300)] {
        let epochs = epochs(samples(seed), seed, 2_000);
        let outcome = check(TopWords { words: Words::default(), top }, seed, &epochs);
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for (_, line) in epochs.iter().flatten() {
            let line = String::from_utf8(line.value.clone().unwrap_or_default()).expect("samples are text");
            line.split_whitespace().for_each(|word| *counts.entry(word.to_owned()).or_default() += 1);
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        // Stable: words of the same count stay in order.
        counts.sort_by_key(|(_, count)| -count);
        let row = |(rank, (word, count)): (usize, &(String, i64))| {
            format!(r#"{{"rank":{rank},"word":"{word}","count":{count}}}"#)
        };
        let mut expected: Vec<_> = (1..).zip(&counts).take(top as usize).map(row).collect();
        expected.sort();
        assert_eq!(outcome.rows("top"), expected);
    }
}
