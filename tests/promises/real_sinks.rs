//! Rows to a Kafka topic.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::quick_emit::{assert_words, both};
use crate::support::broker::real;
use crate::support::committed::letters;
use crate::support::kafka::Topic;
use crate::support::program::word_count;
use crate::support::rows::{Change, Counts, Replay, Row, assert_counts, finals, recount};
use crate::support::text::{noise, zipf_lines};
use crate::support::unique;

const SHAPES: [&str; 2] = ["-w 2", "-w 1 -n 2"];

#[test]
fn a_topic_gets_the_newest_row_of_each_key() {
    let topic = real().topic(4);
    let lines = zipf_lines(7, 50_000);
    topic.send(&lines);
    for shape in SHAPES {
        let counts = real().topic(3);
        let program = word_count(&topic.address, &topic.name).with("--until-end -e 10ms --max-records 500");
        let rows = program.args(["-o", &format!("kafka:{}", counts.name)]).with(shape).rows();
        assert_eq!(rows.len(), 0);
        let (mut found, mut places, mut epochs) = (Counts::new(), BTreeMap::new(), BTreeMap::new());
        for record in counts.records() {
            let row: Row =
                serde_json::from_str(&record.value.expect("counts are never withdrawn")).expect("a row");
            let key = record.key.expect("a key");
            assert_eq!(key, serde_json::json!({ "word": row.word }).to_string());
            let place = *places.entry(key).or_insert(record.partition);
            assert_eq!(place, record.partition, "a key stays in its partition");
            let epoch: u64 = record.headers["epoch"].parse().expect("a number");
            let before = epochs.insert(record.partition, epoch).unwrap_or(0);
            assert!(before <= epoch, "epochs are in order");
            found.insert(row.word, row.count);
        }
        assert_counts(&found, &recount(&lines));
        assert!(epochs.values().any(|&epoch| epoch > 3), "{epochs:?}");
    }
}

#[test]
fn a_topic_gets_changes_or_final_rows_where_asked_and_beside_other_sinks() {
    let topic = real().topic(2);
    let lines = zipf_lines(8, 20_000);
    topic.send(&lines);
    let counts = real().topic(1);
    let to = format!("kafka:{}", counts.name);
    let program = || word_count(&topic.address, &topic.name).args(["--until-end", "-o", &to, "-o", "stdout"]);
    let values =
        || counts.records().into_iter().map(|record| record.value.expect("a row")).collect::<Vec<_>>();

    let rows = program().with("--emit changes -w 2 -e 10ms --max-records 500").rows();
    let changes = values();
    assert_eq!(changes, rows);
    assert_counts(Replay::of(&changes).counts(), &recount(&lines));
    for (record, line) in counts.records().iter().zip(&rows) {
        assert_eq!(record.headers["epoch"], Change::parse(line).epoch.to_string());
    }

    let rows = program().with("--emit final -n 2").rows();
    assert_counts(&finals(&rows), &recount(&lines));
    assert_eq!(values()[changes.len()..], rows);
}

#[test]
fn outputs_of_one_run_are_appended_and_final_in_topics_over_restarts() {
    let (topic, words, counts) = (real().topic(3), real().topic(2), real().topic(1));
    let all = zipf_lines(13, 20_000);
    let state = tempfile::tempdir().expect("a temporary folder");
    let state = state.path().display().to_string();
    let (to_words, to_counts) =
        (format!("words=kafka:{}", words.name), format!("counts=kafka:{}", counts.name));
    let values = |topic: &Topic| -> Vec<String> {
        topic.records().into_iter().map(|record| record.value.expect("a row")).collect()
    };
    let mut last = 0;
    for (end, workers) in [(all.len() / 3, "1"), (all.len(), "2")] {
        topic.send(&all[last..end]);
        last = end;
        let before = values(&counts).len();
        both(&topic, &["-o", &to_words, "-o", &to_counts, "--state", &state, "-w", workers]).run().expect(0);
        assert_words(&values(&words), &recount(&all[..end]));
        assert_counts(&finals(&values(&counts)[before..]), &recount(&all[..end]));
    }
}

#[test]
fn a_row_lies_where_javas_default_partitioner_puts_its_key() {
    const KEYS: usize = 10_000;
    const PARTITIONS: i32 = 12;
    let topic = real().topic(1);
    let words: Vec<String> = (0..KEYS).map(|key| format!("w{key}\u{e9}").repeat(key % 7 + 1)).collect();
    topic.send(words.chunks(100).map(|words| words.join(" ")));
    let (ours, theirs) = (real().topic(PARTITIONS), real().topic(PARTITIONS));
    word_count(&topic.address, &topic.name)
        .with("--until-end -o")
        .args([format!("kafka:{}", ours.name)])
        .run()
        .expect(0);
    let partitions = |topic: &Topic| -> BTreeMap<String, i32> {
        topic.records().into_iter().map(|record| (record.key.expect("a key"), record.partition)).collect()
    };
    let ours = partitions(&ours);
    assert_eq!(ours.len(), KEYS);
    let records: String = ours.keys().map(|key| format!("{key}\tvalue\n")).collect();
    let mut producer = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka"))
        .args(["tool", "console-producer", "--bootstrap-server", &theirs.address, "--topic", &theirs.name])
        .args(["--reader-property", "parse.key=true"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starting Kafka's producer");
    let mut input = producer.stdin.take().expect("it is piped");
    input.write_all(records.as_bytes()).expect("it reads");
    drop(input);
    assert!(producer.wait().expect("it ends").success());
    let theirs = partitions(&theirs);
    assert_eq!(theirs.len(), KEYS);
    let elsewhere: Vec<_> =
        ours.iter().filter(|(key, partition)| theirs[*key] != **partition).take(3).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let taken: BTreeSet<i32> = ours.into_values().collect();
    assert_eq!(taken.len(), PARTITIONS as usize);
}

#[test]
fn topics_that_are_missing_are_made_where_asked() {
    let topic = real().topic(1);
    topic.send(["a b", "a"]);
    let (there, counts, dead) = (real().topic(2), unique(), unique());
    let to = |topic: &str| format!("kafka:{topic}");
    let program = || word_count(&topic.address, &topic.name).with("--until-end --create-topics 3:1");
    let ended = program().args(["-o", &to(&counts), "--dead-letter", &to(&dead)]).run().expect(0);
    ended.says(&["made topic", &counts, "3 partitions"]);
    ended.says(&["made topic", &dead, "3 partitions"]);
    assert_eq!(real().known_topic(&counts, 3).records().len(), 2);
    assert_eq!(real().known_topic(&dead, 3).records().len(), 0);
    // What is there is left as it is.
    program().args(["-o", &to(&there.name)]).rows();
    assert_eq!(there.records().len(), 2);
    let refused =
        word_count(&topic.address, &topic.name).with("--create-topics 1:9 -o").args([to(&unique())]);
    refused.run().fails(1, &["making topic", "1 partition, 9 copies of each"]);
}

#[test]
fn a_topic_that_is_missing_is_an_error() {
    let topic = real().topic(1);
    let program = word_count(&topic.address, &topic.name).with("--until-end");
    let ended = program.args(["-o", &format!("kafka:{}-counts", topic.name)]).run();
    ended.fails(1, &["there is no topic", &format!("{}-counts", topic.name)]);
}

/// What the newest rows of a topic count.
fn counts(topic: &Topic) -> Counts {
    let row = |value: String| serde_json::from_str::<Row>(&value).expect("a row");
    let rows =
        topic.records().into_iter().map(|record| row(record.value.expect("counts are never withdrawn")));
    rows.map(|row| (row.word, row.count)).collect()
}

#[test]
fn a_row_that_the_topic_takes_gets_there_however_large_it_is_before_it_is_compressed() {
    let (topic, output) = (real().topic(1), real().topic(1));
    // Twice in its record: in the key, and in the row.
    let lines = ["x".repeat(600_000), "small".to_owned()];
    topic.send(&lines);
    let to = format!("kafka:{}", output.name);
    word_count(&topic.address, &topic.name).with("--until-end").args(["-o", &to]).run().expect(0);
    assert_counts(&counts(&output), &recount(&lines));
}

#[test]
fn a_row_that_the_topic_refuses_ends_the_run_or_becomes_a_dead_letter() {
    let (topic, output) = (real().topic(1), real().narrow_topic(20_000));
    let large = noise(60_000);
    let small = zipf_lines(9, 20_000);
    topic.send(small.iter().chain([&large]));
    let to = format!("kafka:{}", output.name);
    let program = || word_count(&topic.address, &topic.name).with("--until-end").args(["-o", &to]);
    let ended = program().run();
    let key = format!(r#"{{"word":"{}"#, &large[..20]);
    let texts = ["output \"counts\"", &key, "max.message.bytes=20000", "--on-too-large dead-letter"];
    ended.fails(1, &texts);

    for dead in [real().topic(1), real().narrow_topic(2000)] {
        let dead_to = format!("kafka:{}", dead.name);
        let args = ["--on-too-large", "dead-letter", "--dead-letter", &dead_to, "--emit", "upserts"];
        let ended = program().args(args).run().expect(0);
        ended.says(&["done: ", "1 row too large for a sink"]);
        assert_counts(&counts(&output), &recount(&small));
        let letters = letters(&dead);
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!((letters[0].topic.as_str(), letters[0].partition), (output.name.as_str(), -1));
        assert!(letters[0].message.contains("max.message.bytes=20000"), "{}", letters[0].message);
        let kept = letters[0].key.as_deref().expect("a key");
        assert!(kept.starts_with(key.as_bytes()), "{}", kept.escape_ascii());
    }
}
