//! Lines into a topic, a record a line; and the way from a file to its counts.

use std::process::Command;

use crate::support::broker::real;
use crate::support::kafka::Topic;
use crate::support::program::{Program, cutwater, word_count};
use crate::support::rows::{Counts, assert_counts, finals};
use crate::support::text::{noise, zipf_lines};
use crate::support::unique;

fn produce(topic: &str) -> Program {
    cutwater(["produce", "--brokers", &real().address, "--topic", topic])
}

/// The values of a topic's records, sorted.
fn values(topic: &Topic) -> Vec<String> {
    let mut values: Vec<_> =
        topic.records().into_iter().map(|record| record.value.expect("a value")).collect();
    values.sort();
    values
}

/// What the system's own tools count in a file.
fn uniq(path: &str) -> Counts {
    let script = format!("tr -s '[:space:]' '\\n' <{path} | grep . | sort | uniq -c");
    let output = Command::new("sh").args(["-c", &script]).env("LC_ALL", "C").output().expect("starting sh");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    let count = |line: &str| {
        let (count, word) = line.trim_start().split_once(' ').expect("a count and a word");
        (word.to_owned(), count.parse().expect("a count"))
    };
    String::from_utf8(output.stdout).expect("text").lines().map(count).collect()
}

#[test]
fn a_file_is_counted_as_the_systems_tools_count_it() {
    let path = "/usr/share/common-licenses/GPL-3";
    let topic = real().known_topic(&unique(), 4);
    let ended = produce(&topic.name).args(["--partitions", "4", path]).run().expect(0);
    assert!(ended.stdout.is_empty(), "standard output is for rows");
    let lines = std::fs::read_to_string(path).expect("Debian's package base-files has it").lines().count();
    ended.says(&["done: ", &format!("{lines} records")]);
    // All are acknowledged when it returns.
    assert_eq!(topic.records().len(), lines);
    let program = word_count(&topic.address, &topic.name).with("--until-end --emit final -w 2 -n 2");
    assert_counts(&finals(&program.rows()), &uniq(path));
}

#[test]
fn lines_are_records_byte_for_byte() {
    let topic = real().topic(2);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("lines");
    std::fs::write(&file, "one\n\n two \ncarriage\r\n\u{1f980}\nno line feed").expect("a file");
    let ended =
        produce(&topic.name).args([&file]).args(["-"]).input(b"from standard input\n").run().expect(0);
    ended.says(&["done: 7 records"]);
    let mut expected = ["one", "", " two ", "carriage\r", "\u{1f980}", "no line feed", "from standard input"];
    expected.sort_unstable();
    assert_eq!(values(&topic), expected);
}

#[test]
fn keys_are_split_off() {
    let topic = real().topic(3);
    let lines: String = (0..30).map(|n| format!("key{}:value:{n}\n", n % 5)).collect();
    produce(&topic.name).args(["--key", ":"]).input(lines.as_bytes()).run().expect(0);
    let records = topic.records();
    assert_eq!(records.len(), 30);
    for record in &records {
        let number: u32 =
            record.value.as_ref().and_then(|v| v.strip_prefix("value:")).unwrap().parse().unwrap();
        assert_eq!(record.key.as_deref(), Some(format!("key{}", number % 5).as_str()));
        let same = records.iter().filter(|other| other.key == record.key);
        assert!(same.into_iter().all(|other| other.partition == record.partition), "a key has one partition");
    }
}

#[test]
fn what_can_not_be_sent_is_an_error() {
    // A name that no topic can have: others are made by this broker, as by most.
    produce("no/topic").run().fails(1, &["there is no topic", "no/topic", "--partitions"]);
    let topic = real().topic(1);
    produce(&topic.name).args(["/no/such/file"]).run().fails(1, &["/no/such/file"]);
    produce(&topic.name).args(["--key", "="]).input(b"a=1\nnone\n").run().fails(1, &["standard input:2"]);
    // More than the broker takes, compressed or not.
    let long = zipf_lines(9, 2_000_000).concat() + "\nshort\n";
    let properties = ["-X", "compression.type=none"];
    produce(&topic.name)
        .args(properties)
        .input(long.as_bytes())
        .run()
        .fails(1, &["1 of 2 records", "standard input:1"]);
    assert!(values(&topic).contains(&"short".to_owned()), "one that is too large does not stop the others");
}

#[test]
fn a_topic_that_takes_little_gets_small_batches() {
    let topic = real().narrow_topic(5000);
    let lines: Vec<String> = (0..2000).map(|number| format!("line {number} {}", noise(100))).collect();
    produce(&topic.name)
        .args(["-X", "compression.type=none"])
        .input(lines.join("\n").as_bytes())
        .run()
        .expect(0);
    let mut sent = lines;
    sent.sort();
    assert_eq!(values(&topic), sent);
}
