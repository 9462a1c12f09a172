//! The dataflow `line-lengths`: counts lines by their length. Make of it what you need.

use cutwater::prelude::*;

/// Counts lines of text by their length
#[derive(clap::Args, Clone, Debug)]
pub struct LineLengths {
    /// Leave shorter lines out
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub at_least: i64,
}

/// What is known of a line.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// Its characters.
    pub characters: i64,
}

/// Reads a record.
struct ReadLine;

impl Decode for ReadLine {
    type Row = Line;

    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Line>) -> Result<(), Malformed> {
        let value = record.value.ok_or(Malformed::because("the value is null"))?;
        let line = std::str::from_utf8(value).map_err(|_| Malformed::because("the value is not UTF-8"))?;
        rows.push(LineRef { characters: line.chars().count() as i64 });
        Ok(())
    }
}

impl Dataflow for LineLengths {
    const NAME: &'static str = "line-lengths";

    fn build(&self, flow: &Flow<'_>) {
        let at_least = self.at_least;
        flow.input("lines")
            .decode(ReadLine)
            .filter(move |line| line.characters >= at_least)
            // What is counted survives a restart, under this name.
            .persist("lines")
            .count()
            .output("lengths", &["characters"], &["lines"]);
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::{Sample, Test, lines, records};

    use super::*;

    // `cutwater test` reads the same files.
    const LINES: &str = include_str!("../fixtures/line-lengths/lines.jsonl");
    const LENGTHS: &str = include_str!("../fixtures/line-lengths/lengths.jsonl");

    #[test]
    fn lines_are_counted_by_their_length() {
        let test = Test::of(LineLengths { at_least: 1 })
            .epoch(records(LINES).into_iter().map(|line| ("lines", line)))
            .restart()
            .epoch([("lines", Sample::from("more"))]);
        // With 1, 2 and 3 workers, with and without the restart: the answers agree.
        let outcome = test.check();
        let expected: Vec<String> = lines(LENGTHS).iter().map(|row| format!("+1 {row}")).collect();
        assert_eq!(outcome.changes_of("lengths", 1), expected);
        assert_eq!(
            outcome.changes_of("lengths", 2),
            [r#"-1 {"characters":4,"lines":1}"#, r#"+1 {"characters":4,"lines":2}"#]
        );
    }
}
