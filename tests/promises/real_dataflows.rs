//! Every dataflow that comes with Cutwater, on its own samples and a real broker: killed at a crash point while records
//! come, resumed with another number of workers and processes. What was committed then is what one worker finds that reads
//! the same topics from the beginning, without a state. (That this is the recount, `dataflows/tests/dataflows` shows.)

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use cutwater_dataflows::testing::Sample;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::broker::real;
use crate::support::committed::{latest, read, settle};
use crate::support::kafka::{Kafka, Topic, Writer};
use crate::support::program::{Program, cutwater};
use crate::support::unique;

/// Records of a dataflow's samples, of which the first third is there from the beginning.
const RECORDS: usize = 6_000;
/// Records that are sent at a time while it runs.
const CHUNK: usize = 100;
/// Between two of them: time to read some. Nothing depends on how many it reads.
const PAUSE: Duration = Duration::from_millis(15);
/// Partitions of each topic.
const PARTITIONS: i32 = 4;

/// A dataflow with its topics.
struct Job {
    dataflow: &'static str,
    /// The dataflow's own options.
    options: Vec<String>,
    inputs: BTreeMap<&'static str, Topic>,
    records: Vec<(&'static str, Sample)>,
    /// By the names of its outputs.
    outputs: BTreeMap<&'static str, String>,
    state: TempDir,
}

impl Job {
    fn new(dataflow: &'static str, options: &[&str], outputs: &[&'static str]) -> Job {
        let registry = cutwater::registry();
        let entry = registry.iter().find(|entry| entry.name() == dataflow).expect("it is there");
        let samples = entry.sampled(1).expect("it has samples");
        let records: Vec<_> = samples.take(RECORDS).collect();
        let names: BTreeSet<_> = records.iter().map(|(input, _)| *input).collect();
        let name = unique();
        Job {
            dataflow,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            inputs: names.into_iter().map(|input| (input, real().topic(PARTITIONS))).collect(),
            records,
            outputs: outputs.iter().map(|output| (*output, format!("{name}-{output}"))).collect(),
            state: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn address(&self) -> &str {
        &self.inputs.values().next().expect("an input").address
    }

    /// The program on the inputs.
    fn program(&self) -> Program {
        let bound = self
            .inputs
            .iter()
            .flat_map(|(input, topic)| ["-t".to_owned(), format!("{input}={}", topic.name)]);
        cutwater(["run", self.dataflow, "-b", self.address()]).args(&self.options).args(bound)
    }

    /// With its state, and its outputs to topics.
    fn resumable(&self, shape: &str) -> Program {
        let outputs = self
            .outputs
            .iter()
            .flat_map(|(output, topic)| ["-o".to_owned(), format!("{output}=kafka:{topic}")]);
        let state = self.state.path().to_str().expect("text");
        self.program()
            .args(outputs)
            .args(["--state", state])
            .with("--create-topics 2 -e 30ms --checkpoint 300ms")
            .with(shape)
    }

    /// Sends records: those of a key to one partition, in order.
    fn send(&self, writers: &BTreeMap<&str, Writer>, records: std::ops::Range<usize>) {
        for (number, (input, sample)) in records.clone().zip(&self.records[records]) {
            let partition = match &sample.key {
                Some(key) => {
                    let mut hasher = DefaultHasher::new();
                    key.hash(&mut hasher);
                    hasher.finish() % PARTITIONS as u64
                }
                None => number as u64 % PARTITIONS as u64,
            };
            writers[input].send_sample(partition as i32, sample);
        }
        writers.values().for_each(Writer::flush);
    }

    /// Starts it, and sends what is left, until it is killed at the crash point.
    fn until_killed(&self, point: &str) {
        let writers: BTreeMap<_, _> =
            self.inputs.iter().map(|(input, topic)| (*input, topic.writer())).collect();
        let third = RECORDS / 3;
        self.send(&writers, 0..third);
        let run = self.resumable("-w 2 -n 2").env("CUTWATER_CRASH", &format!("{point}:3")).start();
        for next in (third..RECORDS).step_by(CHUNK) {
            self.send(&writers, next..RECORDS.min(next + CHUNK));
            // So that there are many epochs, and it is killed between them.
            std::thread::sleep(PAUSE);
        }
        run.wait().says(&["CUTWATER_CRASH: killed at", point]);
    }

    /// The rows of an output that stand, by what was committed.
    fn committed(&self, output: &str) -> Vec<Value> {
        let topic = Kafka::at(self.address()).known_topic(&self.outputs[output], 2);
        settle(&topic);
        let records = read(&topic);
        assert!(!records.is_empty(), "nothing was written to {output}");
        let rows: Vec<String> = if records.iter().all(|record| record.key.is_some()) {
            latest(&records).into_values().collect()
        } else {
            records.into_iter().filter_map(|record| record.value).collect()
        };
        sorted(rows)
    }

    /// Kills it at the point, resumes it in another shape, and compares.
    fn check(&self, point: &str) {
        self.until_killed(point);
        self.resumable("-w 3 -n 1").with("--until-end").run().expect(0).says(&["done: "]);
        for output in self.outputs.keys() {
            let others = self.outputs.keys().filter(|other| *other != output);
            let others = others.flat_map(|other| ["-o".to_owned(), format!("{other}=none")]);
            let program = self.program().args(others).with("--until-end");
            let expected = program.args(["--emit", &format!("{output}=final")]).rows();
            let (found, expected) = (self.committed(output), sorted(expected));
            assert!(!expected.is_empty(), "{output} has rows");
            let wrong = found.iter().zip(&expected).find(|(found, expected)| found != expected);
            assert!(
                found == expected,
                "{output}: {} rows, {} expected; the first that differ: {wrong:?}",
                found.len(),
                expected.len()
            );
        }
    }
}

/// Rows in an order of their own.
fn sorted(rows: Vec<String>) -> Vec<Value> {
    let mut rows: Vec<Value> = rows
        .iter()
        .map(|row| serde_json::from_str(row).unwrap_or_else(|error| panic!("{row}: {error}")))
        .collect();
    rows.sort_by_key(Value::to_string);
    rows
}

/// A file of a dataflow's fixtures.
fn fixture(name: &str) -> String {
    format!("{}/dataflows/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn top_words() {
    Job::new("top-words", &["--normalise", "--min-length", "3"], &["top"]).check("ledger-written");
}

#[test]
fn cleanse() {
    let rules = fixture("cleanse/rules.toml");
    Job::new("cleanse", &["--rules", &rules], &["clean"]).check("transaction-offsets");
}

#[test]
fn user_behaviour() {
    let outputs = ["pages", "sessions", "funnel", "visitors"];
    Job::new("user-behaviour", &["--funnel", FUNNEL], &outputs).check("transaction-committed");
}

/// Pages of the samples.
const FUNNEL: &str = "home,product,cart";

#[test]
fn sales() {
    Job::new("sales", &["--window", "1d"], &["revenue", "top-sellers"]).check("sink-committed");
}

#[test]
fn event_monitor() {
    let rules = fixture("event-monitor/rules.toml");
    Job::new("event-monitor", &["--rules", &rules], &["alarms"]).check("published");
}

#[test]
fn components() {
    Job::new("components", &[], &["components"]).check("ledger-synced");
}

/// The sum of all balances is 0 in what each epoch has changed, as it was committed, whatever is killed.
#[test]
fn balances_keep_their_total_in_every_epoch() {
    for point in ["transaction-sent", "transaction-committed", "run-written", "manifest-written"] {
        let job = Job::new("balances", &[], &["balances", "total"]);
        job.check(point);
        let topic = Kafka::at(job.address()).known_topic(&job.outputs["balances"], 2);
        let mut epochs: BTreeMap<u64, Vec<(String, String)>> = BTreeMap::new();
        for record in read(&topic) {
            let (key, value) = (record.key.expect("a key"), record.value.expect("no account goes"));
            epochs.entry(record.epoch.expect("an epoch")).or_default().push((key, value));
        }
        assert!(epochs.len() > 1, "{} epochs", epochs.len());
        let mut balances = BTreeMap::new();
        for (epoch, rows) in epochs {
            balances.extend(rows.iter().map(|(key, row)| (key.clone(), cents(row))));
            assert_eq!(balances.values().sum::<i64>(), 0, "{point}, epoch {epoch}");
        }
    }
}

/// The balance of a row, in cents.
fn cents(row: &str) -> i64 {
    let row: Value = serde_json::from_str(row).expect("JSON");
    let text = row["balance"].as_str().expect("a decimal is text");
    text.replace('.', "").parse().expect("two digits after the point")
}
