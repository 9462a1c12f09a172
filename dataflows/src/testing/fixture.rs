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

/// The records of a file, one a line, whatever its bytes are; what follows the last line feed is a line if it is not empty.
///
/// A line is the record's value. Where records are `keyed`, as those of a table are, it is the key, a tab, and the value, which
/// is null where nothing follows the tab; a line without a tab is a value without a key.
///
/// ```
/// use cutwater_dataflows::testing::read_records;
///
/// let table = read_records(b"a\t{\"id\":1}\na\t\n", true);
/// assert_eq!(table[0], ("a", r#"{"id":1}"#).into());
/// assert_eq!((table[1].key.as_deref(), &table[1].value), (Some(&b"a"[..]), &None));
/// assert_eq!(read_records(b"a\tb", false), ["a\tb".into()]);
/// ```
pub fn read_records(file: &[u8], keyed: bool) -> Vec<Sample> {
    let lines = file.split_inclusive(|&byte| byte == b'\n');
    lines.map(|line| record(line.strip_suffix(b"\n").unwrap_or(line), keyed)).collect()
}

fn record(line: &[u8], keyed: bool) -> Sample {
    match line.iter().position(|&byte| byte == b'\t') {
        Some(tab) if keyed => {
            let value = &line[tab + 1..];
            let value = (!value.is_empty()).then(|| value.to_vec());
            Sample { key: Some(line[..tab].to_vec()), value, timestamp: None }
        }
        _ => line.to_vec().into(),
    }
}

/// The line that [`read_records`] reads as this record, but for its timestamp, and its key where it is not `keyed`. A null value that
/// can't be said is an empty one.
///
/// # Errors
/// If it holds what ends a key or a line.
pub fn write_record(record: &Sample, keyed: bool) -> Result<Vec<u8>, &'static str> {
    let mut line = Vec::new();
    if let (true, Some(key)) = (keyed, &record.key) {
        if key.contains(&b'\t') {
            return Err("its key has a tab, which ends a key");
        }
        line.extend_from_slice(key);
        line.push(b'\t');
    }
    line.extend_from_slice(record.value.as_deref().unwrap_or_default());
    if line.contains(&b'\n') {
        return Err("it has a line feed, which ends a record");
    }
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_as_the_records_that_they_were() {
        let keyed = [
            Sample { key: Some(b"k".to_vec()), value: None, timestamp: None },
            Sample { key: Some(Vec::new()), value: Some(b"v\t\xff".to_vec()), timestamp: None },
            Sample { key: None, value: Some(b"no key".to_vec()), timestamp: None },
        ];
        let file: Vec<u8> = keyed.iter().flat_map(|record| write_record(record, true).unwrap()).collect();
        assert_eq!(read_records(&file, true), keyed);
        assert_eq!(read_records(b"a\n\nb\r\nc", false), ["a", "", "b\r", "c"].map(Sample::from));
        assert!(read_records(b"", false).is_empty());
        assert_eq!(write_record(&("key", "v").into(), false).unwrap(), b"v\n");
        assert!(write_record(&("a\tb", "v").into(), true).unwrap_err().contains("tab"));
        assert!(write_record(&"a\nb".into(), false).unwrap_err().contains("line feed"));
    }
}
