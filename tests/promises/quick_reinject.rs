//! `cutwater reinject`: corrected dead letters go back to where they came from, once, and the answer is as if they had been
//! right all along.

use std::fs;

use rdkafka::message::{Headers as _, Message as _, Timestamp};
use tempfile::TempDir;

use crate::support::broker::mock;
use crate::support::committed::each;
use crate::support::kafka::Topic;
use crate::support::program::{Ended, Program, cutwater};

/// Transfers of which two can't be read, and what they were meant to be.
const TRANSFERS: [&str; 4] = [
    r#"{"from":"a","to":"b","amount":"1.00"}"#,
    r#"{"from":"a","to":"b","amount":"two"}"#,
    r#"{"from":"b","to":"c","amount":"3.00"}"#,
    r#"{"from":"a","too":"c","amount":"4.00"}"#,
];
const MEANT: [(i64, &str); 2] =
    [(1, r#"{"from":"a","to":"b","amount":2}"#), (3, r#"{"from":"a","to":"c","amount":"4.00"}"#)];

pub struct Bank {
    topic: Topic,
    folder: TempDir,
}

impl Bank {
    /// Transfers that were added up, with dead letters in a file.
    fn new() -> Self {
        Bank::on(mock().topic(1))
    }

    /// As [`Bank::new`], on this topic.
    pub fn on(topic: Topic) -> Self {
        let bank = Bank { topic, folder: tempfile::tempdir().expect("a temporary folder") };
        let writer = bank.topic.writer();
        TRANSFERS.iter().for_each(|transfer| writer.send_keyed(0, "k", transfer.as_bytes()));
        writer.flush();
        let first = bank.run().args(["--dead-letter", &bank.dead()]).run().expect(0);
        first.says(&["done: 4 records", "2 dead letters"]);
        bank
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("text").to_owned()
    }

    pub fn dead(&self) -> String {
        format!("file:{}", self.path("dead"))
    }

    pub fn run(&self) -> Program {
        let run = cutwater(
            "run balances --until-end --emit balances=changes --emit total=changes -o total=none".split(' '),
        );
        run.args(["-b", &self.topic.address, "-t", &self.topic.name, "--state", &self.path("state")])
    }

    /// The balances of all transfers, counted from the first on.
    pub fn finals(&self) -> Vec<String> {
        let run = cutwater("run balances --until-end --emit final -o total=none".split(' '));
        run.args(["-b", &self.topic.address, "-t", &self.topic.name]).rows()
    }

    /// The corrections, a line each.
    pub fn corrections(&self) -> String {
        let line = |(offset, value): &(i64, &str)| {
            format!(
                "{{\"topic\":\"{}\",\"partition\":0,\"offset\":{offset},\"value\":{value}}}\n",
                self.topic.name
            )
        };
        let file = self.path("corrected");
        fs::write(&file, MEANT.iter().map(line).collect::<String>()).expect("a file");
        file
    }

    pub fn reinject(&self, source: &str) -> Program {
        cutwater(["reinject", "-b", &self.topic.address, "--dead-letters", source])
    }

    /// The records of the topic: value, time, and what they correct.
    pub fn records(&self) -> Vec<(String, Option<i64>, Option<String>)> {
        let mut records = Vec::new();
        each(&self.topic, "read_committed", |record| {
            let time = match record.timestamp() {
                Timestamp::CreateTime(time) => Some(time),
                _ => None,
            };
            assert_eq!(record.key(), Some(&b"k"[..]));
            let tag = record.headers().and_then(|headers| {
                let tag = headers.iter().find(|header| header.key == "__cutwater.reinjected")?;
                Some(String::from_utf8(tag.value?.to_vec()).expect("text"))
            });
            let value = record.payload().expect("a value").to_vec();
            records.push((String::from_utf8(value).expect("text"), time, tag));
        });
        records
    }
}

/// The rows that changed.
pub fn changes(ended: &Ended) -> Vec<String> {
    let mut rows: Vec<String> = ended
        .stdout
        .iter()
        .filter_map(|line| line.split_once(r#""diff":"#).map(|(_, row)| row.to_owned()))
        .collect();
    rows.sort();
    rows
}

#[test]
fn what_was_corrected_counts_once_with_its_key_and_time_and_only_its_rows_move() {
    let bank = Bank::new();
    let corrected = bank.corrections();
    let dry = bank.reinject(&bank.dead()).args([&corrected, "--dry-run"]).run().expect(0);
    dry.says(&["2 records would be put back"]);
    assert_eq!(bank.records().len(), 4);
    bank.reinject(&bank.dead()).args([&corrected]).run().expect(0).says(&["done: 2 records put back"]);
    let records = bank.records();
    assert_eq!(records.len(), 6);
    for (back, (offset, value)) in records[4..].iter().zip(MEANT) {
        let was = &records[offset as usize];
        assert_eq!(*back, (value.to_owned(), was.1, Some(format!("{}/0/{offset}", bank.topic.name))));
    }
    let second = bank.run().run().expect(0);
    assert_eq!(
        changes(&second),
        [
            r#"-1,"row":{"account":"a","balance":"-1.00"}}"#,
            r#"-1,"row":{"account":"b","balance":"-2.00"}}"#,
            r#"-1,"row":{"account":"c","balance":"3.00"}}"#,
            r#"1,"row":{"account":"a","balance":"-7.00"}}"#,
            r#"1,"row":{"account":"b","balance":"0.00"}}"#,
            r#"1,"row":{"account":"c","balance":"7.00"}}"#,
        ]
    );
    // Once more: refused, and nothing is put back.
    let again = bank.reinject(&bank.dead()).args([&corrected]).run();
    again.fails(1, &["offset 1 was put back before, at offset 4", "1 other", "--skip"]);
    let skipped = bank.reinject(&bank.dead()).args([&corrected, "--skip"]).run().expect(0);
    skipped.says(&["done: 0 records put back", "2 left out"]);
    assert_eq!(bank.records().len(), 6);
}

#[test]
fn an_edited_file_or_a_topic_of_dead_letters_will_do() {
    let bank = Bank::new();
    // Edited in its place, by a script.
    let text = fs::read_to_string(bank.path("dead")).expect("text");
    let mut edited = String::new();
    for line in text.lines().filter(|line| line.contains("\"topic\"")) {
        let (_, value) = MEANT
            .iter()
            .find(|(offset, _)| line.contains(&format!("\"offset\":{offset},")))
            .expect("one of them");
        let (before, _) = line.split_once("\"value_base64\"").expect("a value");
        let (end, before) = (if before.contains("\"row\":") { "}}" } else { "}" }, before);
        edited += &format!("{before}\"value\":{value}{end}\n");
    }
    fs::write(bank.path("edited"), edited).expect("a file");
    let ended = bank.reinject(&format!("file:{}", bank.path("edited"))).run().expect(0);
    ended.says(&["done: 2 records put back"]);

    let bank = Bank::new();
    let letters = mock().topic(1);
    cutwater("run balances --until-end -o balances=none -o total=none".split(' '))
        .args(["-b", &bank.topic.address, "-t", &bank.topic.name])
        .args(["--dead-letter", &format!("kafka:{}", letters.name)])
        .run()
        .expect(0);
    let source = format!("kafka:{}", letters.name);
    bank.reinject(&source).args([&bank.corrections()]).run().expect(0).says(&["2 records put back"]);
    let records = bank.records();
    assert_eq!((records[4].1, records[5].1), (records[1].1, records[3].1));
    // Without corrections, they are as they were.
    bank.reinject(&source).run().fails(1, &["was put back before"]);
}

#[test]
fn a_table_keeps_what_is_newer() {
    let bank = Bank::new();
    let corrected = bank.corrections();
    // All have one key, and the newest record is the last one.
    let ended = bank.reinject(&bank.dead()).args([&corrected, "--table"]).run().expect(0);
    ended.says(&["done: 1 record put back", "1 left out, as their keys have newer records"]);
    assert!(bank.records()[4].2.as_ref().is_some_and(|tag| tag.ends_with("/0/3")));
}

#[test]
fn a_letter_that_was_cut_goes_back_with_the_key_and_value_of_its_record() {
    let (topic, letters) = (mock().topic(1), mock().topic(1));
    let key = "k".repeat(5000);
    let writer = topic.writer();
    writer.send_keyed(0, &key, br#"{"a":"x","b":"y"}"#);
    writer.send_keyed(0, &key, br#"{"a":"x"}"#);
    writer.flush();
    let cut = "; only the first 3000 of the key's 5000 bytes; only the first 2 of the value's 9 bytes";
    let letter = |offset: &str| {
        let headers = [("topic", &*topic.name), ("partition", "0"), ("offset", offset), ("message", cut)];
        let headers = headers.map(|(name, value)| (format!("__streams.errors.{name}"), value));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let writer = letters.writer();
        writer.send_headed(0, &key[..3000], br#"{""#, &headers);
        writer.flush();
    };
    letter("1");
    let source = format!("kafka:{}", letters.name);
    let reinject = || cutwater(["reinject", "-b", &topic.address, "--dead-letters", &source]);
    let run = || {
        cutwater("run components --until-end --emit final".split(' '))
            .args(["-b", &topic.address, "-t", &topic.name])
            .rows()
    };
    // As it was, whole.
    reinject().run().expect(0).says(&["1 record put back"]);
    let records = topic.records();
    assert_eq!((records[2].key.as_deref(), records[2].value.as_deref()), (Some(&*key), Some(r#"{"a":"x"}"#)));
    assert_eq!(run().len(), 2);
    // The record that is gone can't be had from anywhere.
    letter("7");
    let name = &topic.name;
    let correct = |line: String| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), line).expect("it is written");
        reinject().args([file.path()]).run()
    };
    let gone = correct(format!(r#"{{"topic":"{name}","partition":0,"offset":7,"value":"x"}}"#));
    gone.fails(1, &["offset 7", "only the first bytes of the key", "no longer there", "key_base64"]);
    // A correction goes to the whole key: its old edge is gone.
    letter("0");
    correct(format!(r#"{{"topic":"{name}","partition":0,"offset":0,"value":{{"a":"x","b":"z"}}}}"#))
        .expect(0);
    assert_eq!(run(), [r#"{"node":"x","component":"x"}"#, r#"{"node":"z","component":"x"}"#]);
}

#[test]
fn what_can_not_be_put_back_is_told() {
    let bank = Bank::new();
    let name = &bank.topic.name;
    let wrong = |text: &str, texts: &[&str]| {
        fs::write(bank.path("wrong"), text).expect("a file");
        bank.reinject(&bank.dead()).args([&bank.path("wrong")]).run().fails(1, texts);
    };
    wrong("not JSON", &["wrong:1", "no dead letter"]);
    wrong(
        &format!("{{\"topic\":\"{name}\",\"partition\":0,\"offset\":1,\"vlaue\":1}}"),
        &["wrong:1", "vlaue"],
    );
    wrong(&format!("{{\"topic\":\"{name}\",\"partition\":0,\"offset\":1}}"), &["offset 1", "neither value"]);
    wrong(
        &format!("{{\"topic\":\"{name}\",\"partition\":0,\"offset\":2,\"value\":1}}"),
        &["offset 2", "not among"],
    );
    fs::write(bank.path("other"), r#"{"topic":"no-such","partition":0,"offset":1,"value":1}"#)
        .expect("a file");
    let other = format!("file:{}", bank.path("other"));
    bank.reinject(&other).run().fails(1, &["no topic \"no-such\""]);
    bank.reinject("dead.jsonl").run().fails(2, &["--dead-letters dead.jsonl", "file:PATH", "kafka:TOPIC"]);
    bank.reinject("file:/no/such").run().fails(1, &["/no/such"]);
}
