//! `cutwater generate`: sample input for a dataflow, to topics, files and standard output.

use std::collections::BTreeMap;
use std::fs;

use clap::Command;
use cutwater::produce::samples::{Destination as _, Topics};
use cutwater_dataflows::testing::Sample;
use cutwater_dataflows::{Entry, Shape, registry};
use rdkafka::message::{Message as _, Timestamp};

use crate::support::broker::mock;
use crate::support::committed::each;
use crate::support::program::{cutwater, own};
use crate::support::sinks::settings;

/// The folder of the fixtures of a dataflow.
fn fixtures(name: &str) -> String {
    format!("{}/dataflows/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The options that the fixtures of a dataflow are of.
fn options(name: &str) -> Vec<String> {
    let rules = || format!("{}/rules.toml", fixtures(name));
    match name {
        "cleanse" | "event-monitor" => vec!["--rules".to_owned(), rules()],
        "user-behaviour" => {
            "--funnel home,cart,paid --deduplicate id".split(' ').map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// The inputs and outputs of a dataflow, with the options of its fixtures.
fn shape(entry: &Entry) -> Shape {
    let command = entry.arguments(Command::new(entry.name()).no_binary_name(true));
    let matches = command.try_get_matches_from(options(entry.name())).expect("its options");
    Shape::of(&*entry.parse(&matches).expect("its options")).expect("it can be built")
}

#[test]
fn a_seed_gives_the_same_samples_wherever_they_go() {
    let lines = cutwater("generate word-count --records 50 --seed 7".split(' ')).rows();
    assert_eq!(lines.len(), 50);
    assert_eq!(lines, cutwater("generate word-count --records 50 --seed 7".split(' ')).rows());
    assert_ne!(lines, cutwater("generate word-count --records 50 --seed 8".split(' ')).rows());

    let folder = tempfile::tempdir().expect("a temporary folder");
    let to = format!("file:{}/new", folder.path().display());
    let generate = || cutwater("generate word-count --records 50 --seed 7 --to".split(' ')).args([&to]).run();
    generate().expect(0).says(&["done: 50 records"]);
    let file = folder.path().join("new/lines.jsonl");
    assert_eq!(fs::read_to_string(&file).expect("text").lines().collect::<Vec<_>>(), lines);
    // What is there is not written over.
    generate().fails(1, &["new/lines.jsonl", "exists"]);

    let topic = mock().topic(3);
    let ended = cutwater("generate word-count --records 50 --seed 7".split(' '))
        .args(["-b", &topic.address, "-t", &topic.name])
        .run()
        .expect(0);
    ended.says(&["done: 50 records"]);
    let mut found = Vec::new();
    each(&topic, "read_committed", |record| {
        found.push(String::from_utf8(record.payload().expect("a value").to_vec()).expect("text"));
    });
    let mut expected = lines;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn records_have_the_keys_and_times_of_the_samples() {
    let topic = mock().topic(2);
    let entry = registry().into_iter().find(|entry| entry.name() == "components").expect("it is there");
    let samples: Vec<_> = entry.sampled(1).expect("it has samples").take(3000).collect();
    cutwater("generate components --records 3000".split(' '))
        .args(["-b", &topic.address, "-t", &format!("edges={}", topic.name)])
        .run()
        .expect(0);
    type Seen = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>);
    let mut seen: BTreeMap<Seen, i64> = BTreeMap::new();
    for (_, sample) in samples {
        *seen.entry((sample.key, sample.value, sample.timestamp)).or_default() += 1;
    }
    assert!(seen.keys().any(|(_, value, _)| value.is_none()), "a table's samples delete");
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    each(&topic, "read_committed", |record| {
        let time = match record.timestamp() {
            Timestamp::CreateTime(time) => Some(time),
            _ => None,
        };
        *seen.entry((owned(record.key()), owned(record.payload()), time)).or_default() -= 1;
    });
    let differing: Vec<_> = seen.into_iter().filter(|(_, count)| *count != 0).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
fn the_samples_and_fixtures_of_every_dataflow_can_be_tested() {
    for entry in registry() {
        let (shape, options) = (shape(&entry), options(entry.name()));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let to = format!("file:{}", folder.path().display());
        cutwater(["generate", entry.name(), "--records", "300", "--to", &to]).run().expect(0);
        let mut test = cutwater(["test", entry.name()]).args(&options);
        let mut fixture = cutwater(["test", entry.name()]).args(&options);
        let fixtures = fixtures(entry.name());
        for input in &shape.inputs {
            test = test.args(["--input", &format!("{input}={}/{input}.jsonl", folder.path().display())]);
            fixture = fixture.args(["--input", &format!("{input}={fixtures}/{input}.jsonl")]);
        }
        for output in shape.outputs.iter().map(|output| &output.name) {
            test = test.args(["--expect", &format!("{output}={}/{output}.out", folder.path().display())]);
            fixture = fixture.args(["--expect", &format!("{output}={fixtures}/{output}.jsonl")]);
        }
        // The dataflow keeps its contract on samples: that is checked before anything is written.
        let ended = test.args(["--update"]).run().expect(0);
        assert!(ended.stdout[0].contains("300 records"), "{:?}", ended.stdout);
        let ended = fixture.run().expect(0);
        assert!(ended.stdout[0].starts_with("ok: "), "{:?}", ended.stdout);
    }
}

#[test]
fn wrong_usage_says_what_there_is() {
    let wrong = |args: &str, texts: &[&str]| {
        cutwater(args.split(' ')).run().fails(2, texts);
    };
    wrong("generate word-cuont", &["word-cuont", "did you mean word-count?", "balances"]);
    wrong("generate word-count --to lines.txt", &["--to lines.txt", "file:DIR"]);
    wrong("generate word-count -b x:1 -t words=t", &["--topic words=t", "no input \"words\"", "lines"]);
    wrong("generate word-count -b x:1 -o file:d", &["to files or to a cluster, not to both", "--brokers"]);
    wrong("generate word-count --rate 0", &["--rate", "0.001"]);
    own(&["generate", "shop"]).run().fails(2, &["dataflow shop has no samples", ".samples("]);
    // Whoever reads has seen enough.
    let mut running = cutwater("generate word-count --rate 1000000".split(' ')).start_unread();
    drop(running.child.stdout.take());
    running.wait().expect(0);
}

#[test]
fn a_sample_of_the_future_is_sent_as_of_now() {
    // Real brokers refuse records that are more than an hour ahead.
    let topic = mock().topic(1);
    let topics = BTreeMap::from([("lines".to_owned(), topic.name.clone())]);
    let mut samples = Topics::open(&settings(&topic.address, &[]), topics, None).expect("it is there");
    let year_3000 = 32_503_680_000_000;
    let (_stop, never) = crossbeam_channel::bounded(0);
    for (number, timestamp) in [(0, 1_000), (1, year_3000)] {
        let sample = Sample { timestamp: Some(timestamp), ..Sample::from("a") };
        assert!(samples.take(number, "lines", &sample, &never).expect("it is sent"));
    }
    samples.finish(2).2.expect("they arrive");
    let mut found = Vec::new();
    each(&topic, "read_committed", |message| found.extend(message.timestamp().to_millis()));
    assert_eq!(found[0], 1_000);
    assert!((1_000_000_000_000..year_3000 / 2).contains(&found[1]), "{found:?}");
}
