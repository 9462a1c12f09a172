//! The words that occur most often.

use std::fmt;

use crate::prelude::*;
use crate::words::Words;

pub use crate::word_count::samples;

/// Ranks the words that occur most often in lines of text
///
/// Output top has a row for each rank, from 1 without gaps: the word and how often it occurs. Words of the same count rank by
/// their bytes. Words are those that word-count counts, with the same options.
///
/// Example: cutwater run top-words -t lines --top 20 --tokenizer unicode --stop-words en.txt -o kafka:top --emit upserts
#[derive(clap::Args, Clone)]
pub struct TopWords {
    /// Which words a line has
    #[command(flatten)]
    pub words: Words,
    /// How many words are ranked
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 10)]
    pub top: u32,
}

impl fmt::Debug for TopWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words.fields(&mut f.debug_struct("TopWords")).field("top", &self.top).finish()
    }
}

impl Dataflow for TopWords {
    const NAME: &'static str = "top-words";

    fn build(&self, flow: &Flow<'_>) {
        let counts = self.words.of(flow.input("lines")).persist("words").count();
        // All words are one group: the greatest count first, then the least word.
        let counts = counts.map::<((), (i64, Text))>(|&(word, count)| ((), (!count, word)));
        let top = counts.least("top", self.top);
        let top = top.map::<(i64, Text, i64)>(|&((), (rank, (count, word)))| (rank, word, !count));
        top.unique_by(1).output("top", &["rank"], &["word", "count"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Test, lines, records};

    fn top(top: u32) -> Test {
        Test::of(TopWords { words: Words::default(), top })
    }

    #[test]
    fn the_fixture_is_ranked() {
        let given = records(include_str!("../fixtures/top-words/lines.jsonl"));
        let given: Vec<_> = given.into_iter().map(|line| ("lines", line)).collect();
        let (first, rest) = given.split_at(2);
        let outcome = top(10).epoch(first.to_vec()).restart().epoch(rest.to_vec()).check();
        // The file is in the order of the ranks, these are in that of their texts.
        let mut expected = lines(include_str!("../fixtures/top-words/top.jsonl"));
        expected.sort();
        assert_eq!(outcome.rows("top"), expected);
    }

    #[test]
    fn a_word_that_comes_up_moves_those_that_it_passes() {
        let outcome = top(2)
            .epoch([("lines", "c b b a")])
            .epoch([("lines", "c")])
            .restart()
            .epoch([("lines", "c")])
            .epoch([("lines", "a")])
            .check();
        let row =
            |diff, rank, word, count| format!(r#"{diff} {{"rank":{rank},"word":"{word}","count":{count}}}"#);
        assert_eq!(outcome.changes_of("top", 1), [row("+1", 1, "b", 2), row("+1", 2, "a", 1)]);
        assert_eq!(outcome.changes_of("top", 2), [row("-1", 2, "a", 1), row("+1", 2, "c", 2)]);
        let passed = [row("-1", 1, "b", 2), row("+1", 1, "c", 3), row("+1", 2, "b", 2), row("-1", 2, "c", 2)];
        assert_eq!(outcome.changes_of("top", 3), passed);
        // It has as many as the second one, and ranks before it by its bytes.
        assert_eq!(outcome.changes_of("top", 4), [row("+1", 2, "a", 2), row("-1", 2, "b", 2)]);
    }

    #[test]
    fn options_that_leave_nothing_to_do_are_wrong_usage() {
        let command = <TopWords as clap::Args>::augment_args(clap::Command::new("run"));
        assert!(command.clone().try_get_matches_from(["run", "--top", "1"]).is_ok());
        assert!(command.try_get_matches_from(["run", "--top", "0"]).is_err());
    }
}
