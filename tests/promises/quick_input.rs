//! Input of every kind: what can be counted is, and what can't be is kept.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use unicode_segmentation::UnicodeSegmentation;

use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::program::word_count;
use crate::support::rows::{Counts, assert_counts, finals, recount};

/// A line of the sink of `--dead-letter`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    epoch: u64,
    output: String,
    diff: i64,
    row: DeadLetter,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetter {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    reason: String,
    key_base64: Option<String>,
    value_base64: Option<String>,
}

/// Records that are no text, among records that are.
pub fn check_dead_letters(topic: &Topic, shape: &str) {
    let good = ["one two", "three", "two", "", "four"];
    let bad: [Option<&[u8]>; 5] = [None, Some(b"\xff"), Some(b"abc \xc3( def"), Some(b"cut \xe2\x82"), None];
    let writer = topic.writer();
    for (number, (good, bad)) in good.iter().zip(bad).enumerate() {
        let partition = number as i32 % topic.partitions;
        writer.send(partition, Some(good.as_bytes()));
        writer.send(partition, bad);
    }
    writer.flush();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kept = folder.path().join("dead");
    let ended = word_count(&topic.address, &topic.name)
        .with("--until-end --emit final")
        .with(shape)
        .args(["--dead-letter", &format!("file:{}", kept.display())])
        .run()
        .expect(0);
    assert_counts(&finals(&ended.stdout), &recount(good));
    ended.says(&["done: ", "10 records", "5 dead letters"]);

    let lines = std::fs::read_to_string(kept).expect("the file of dead letters");
    let letters: BTreeMap<(i32, i64), DeadLetter> = lines
        .lines()
        .map(|line| {
            let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!((line.output.as_str(), line.diff), ("dead-letters", 1));
            assert!(line.epoch > 0 && line.row.topic == topic.name && line.row.key_base64.is_none());
            assert!(line.row.timestamp.is_some(), "the record's time is kept");
            ((line.row.partition, line.row.offset), line.row)
        })
        .collect();
    assert_eq!(letters.len(), bad.len());
    let mut next = vec![0; topic.partitions as usize];
    for (number, bad) in bad.into_iter().enumerate() {
        let partition = number % topic.partitions as usize;
        let letter = &letters[&(partition as i32, next[partition] + 1)];
        next[partition] += 2;
        let value = letter.value_base64.as_ref().map(|text| STANDARD.decode(text).expect("base 64"));
        assert_eq!(value.as_deref(), bad);
        let reason = match bad {
            None => "the value is null",
            Some(_) => "the value is not UTF-8 from byte",
        };
        assert!(letter.reason.starts_with(reason), "{}", letter.reason);
    }
}

/// Lines that are easily split wrongly, cut off or too long for a buffer.
fn corners() -> Vec<String> {
    let mut long_line: String = (0..150_000).map(|n| format!("long{} ", n % 5000)).collect();
    long_line.truncate(1_000_000);
    let long_words = ["a", "\u{e9}", "\u{1f980}"].map(|unit| unit.repeat(100_000 / unit.len()));
    [
        "no\u{a0}break",
        "ideographic\u{3000}space \u{3000}\u{3000}",
        "e\u{301} \u{e9} e\u{301}e\u{301} n\u{303}o",
        "\u{1f980} \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea}\u{1f44d}\u{1f3fd}",
        "carriage return\r",
        "line\nin\r\nline\u{2028}\u{2029}\u{85}x\u{b}y\u{c}z",
        "",
        " ",
        "\r",
        "zero\u{200b}width \u{feff}bom",
        "Don't STOP, can\u{2019}t 3.14 \u{df} \u{130} \u{39f}\u{394}\u{39f}\u{3a3}",
        "\"quoted\" back\\slash \u{0} \u{1b}[0m {\"json\":1}",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([long_line])
    .chain(long_words)
    .collect()
}

/// Counts the corners with both tokenizers.
pub fn check_corners(topic: &Topic, shape: &str) {
    let lines = corners();
    topic.send(&lines);
    let program = || word_count(&topic.address, &topic.name).with("--until-end --emit final").with(shape);
    assert_counts(&finals(&program().rows()), &recount(&lines));
    let mut unicode = Counts::new();
    for word in lines.iter().flat_map(|line| line.unicode_words()) {
        *unicode.entry(word.to_lowercase()).or_default() += 1;
    }
    assert_counts(&finals(&program().with("--tokenizer unicode").rows()), &unicode);
}

/// A flood of records that can't be decoded is a line or two, and shows nothing of what is in them.
#[test]
fn a_flood_of_dead_letters_is_folded_without_their_bytes() {
    let topic = mock().topic(2);
    let writer = topic.writer();
    for number in 0..2000 {
        writer.send(number % 2, Some(b"secret \xff"));
    }
    writer.flush();
    let run =
        || word_count(&topic.address, &topic.name).with("-w 2 -e 1ms --max-records 50 --until-end -o none");
    let ended = run().run().expect(0);
    ended.says(&["2,000 dead letters", "done: "]);
    let lines: Vec<_> = ended.stderr.iter().filter(|line| line.contains("WARN")).collect();
    assert!(lines[0].contains(&format!("dead letter: {} partition", topic.name)), "{lines:?}");
    // One at first, one at the end, and one each ten seconds that this machine may take.
    assert!(lines.len() < 10 && lines[1].contains(" more in "), "{lines:?}");
    assert!(!ended.stderr.iter().any(|line| line.contains("secret")), "{:?}", ended.stderr);
    let told: u64 = lines.iter().map(|line| more(line)).sum();
    assert_eq!(
        told + lines.iter().filter(|line| line.contains("dead letter: ")).count() as u64,
        2000,
        "{lines:?}"
    );
    run().with("--log debug --log-payloads").run().expect(0).says(&["secret \\xff"]);
}

/// The number in `(3,412 more in 10 s)`.
fn more(line: &str) -> u64 {
    let Some((before, _)) = line.split_once(" more in ") else { return 0 };
    let number = before.rsplit([' ', '(']).next().unwrap_or_default().replace(',', "");
    number.parse().unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn bad_records_become_dead_letters() {
    check_dead_letters(&mock().topic(1), "");
    check_dead_letters(&mock().topic(3), "-w 2 -n 2");
}

#[test]
fn corners_of_unicode_and_of_size() {
    check_corners(&mock().topic(2), "-w 2");
}
