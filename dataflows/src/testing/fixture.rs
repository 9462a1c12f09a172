//! Records and rows of files, as `cutwater test` takes them.

use super::Sample;

/// The records of a text, one a line: its value. Where a line has a tab, what stands before the first one is the record's key,
/// and nothing after it is a null value.
///
/// ```
/// use cutwater_dataflows::testing::{Sample, records};
///
/// let records = records("1\t{\"a\":\"x\"}\n1\t\nan event\n");
/// assert_eq!(records[0], Sample::from(("1", "{\"a\":\"x\"}")));
/// assert_eq!(records[1], Sample { key: Some("1".into()), ..Sample::default() });
/// assert_eq!(records[2], Sample::from("an event"));
/// ```
pub fn records(text: &str) -> Vec<Sample> {
    let record = |line: &str| match line.split_once('\t') {
        Some((key, "")) => Sample { key: Some(key.into()), ..Sample::default() },
        Some(pair) => Sample::from(pair),
        None => Sample::from(line),
    };
    text.lines().map(record).collect()
}

/// The lines of a text: the rows that are expected.
pub fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
