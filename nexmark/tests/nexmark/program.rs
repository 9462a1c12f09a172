//! The program, as a user runs it, on librdkafka's in-process broker: killed while events come, and resumed with another number of
//! workers.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cutwater::dataflows::{OutputShape, Shape};
use cutwater::prelude::*;
use cutwater::testing::Sample;
use cutwater_nexmark::q3::Q3;
use cutwater_nexmark::q9::Q9;
use cutwater_nexmark::q12::Q12;
use cutwater_nexmark::samples::{config, sample};
use nexmark::EventGenerator;
use nexmark::event::Event;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use crate::oracle::{Cells, Oracle, cells};

/// Events of a test, of which half are there when it starts.
const EVENTS: usize = 6_000;
const TOPIC: &str = "events";
const PARTITIONS: i32 = 4;
/// How long anything may take that should happen at once, on however busy a machine.
const DEADLINE: Duration = Duration::from_secs(300);

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutwater-nexmark"));
    command.args(args).env_remove("CUTWATER_BROKERS").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A program that runs. It is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn succeed(command: &mut Command) {
    let output = command.stderr(Stdio::piped()).output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The events.
fn events() -> impl Iterator<Item = Event> {
    EventGenerator::new(config(0, 1_000)).take(EVENTS)
}

/// Sends events to the partitions by turns.
fn send(brokers: &str, events: impl Iterator<Item = Event>) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a producer");
    for (event, partition) in events.zip((0..PARTITIONS).cycle()) {
        let Sample { value, timestamp, .. } = sample(&event);
        let (value, timestamp) = (value.expect("it has one"), timestamp.expect("it has one"));
        let record = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value).timestamp(timestamp);
        producer.send(record).expect("it is queued");
        producer.poll(Duration::ZERO);
    }
    producer.flush(DEADLINE).expect("they are written");
}

/// The lines of a file; none where it is not there.
fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A query that is killed when it has written some rows, while more events come, and resumed at another size. Returns the lines
/// that it has written.
fn killed_and_resumed(query: &str, folder: &Path) -> Vec<Value> {
    let broker = MockCluster::new(1).expect("the in-process broker starts");
    broker.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
    let brokers = broker.bootstrap_servers();
    let (state, rows) = (folder.join("state"), folder.join("rows.jsonl"));
    let (state, to) = (state.to_str().expect("text"), format!("file:{}", rows.display()));
    let run = |shape: &[&str]| {
        let job = ["run", query, "-b", &brokers, "-t", TOPIC, "-o", &to, "--state", state, "-e", "30ms"];
        // That broker answers a fetch that found nothing only after all of this time.
        let mut command = program(&job);
        command.args(["--checkpoint", "300ms", "-X", "fetch.wait.max.ms=10"]).args(shape);
        command
    };
    send(&brokers, events().take(EVENTS / 2));
    let killed = Running(run(&["-w", "2"]).stderr(Stdio::null()).spawn().expect("it starts"));
    let deadline = Instant::now() + DEADLINE;
    while lines(&rows).is_empty() {
        assert!(Instant::now() < deadline, "{query} has written no rows");
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&brokers, events().skip(EVENTS / 2));
    drop(killed);
    succeed(&mut run(&["-w", "3", "--until-end"]));
    lines(&rows).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The rows that the changes come to, sorted.
fn standing(changes: &[Value], output: &OutputShape) -> Vec<Cells> {
    let mut sums: BTreeMap<Cells, i64> = BTreeMap::new();
    for change in changes {
        let times = change["diff"].as_i64().expect("a difference");
        *sums.entry(cells(&change["row"].to_string(), output)).or_default() += times;
    }
    sums.retain(|_, times| *times != 0);
    assert!(sums.values().all(|times| *times == 1), "no row of these is there twice");
    sums.into_keys().collect()
}

fn output(dataflow: &impl Dataflow) -> OutputShape {
    Shape::of(dataflow).expect("it can be built").outputs.remove(0)
}

fn check(query: &str, output: &OutputShape) {
    let folder = tempfile::tempdir().expect("a folder");
    let changes = killed_and_resumed(query, folder.path());
    let oracle = Oracle::new();
    events().for_each(|event| oracle.add(&event, 0));
    let (found, expected) = (standing(&changes, output), oracle.rows(query, output));
    assert!(expected.len() > 10, "{} rows", expected.len());
    assert_eq!(found, expected);
}

#[test]
fn q3_is_killed_and_resumed() {
    check("q3", &output(&Q3 {}));
}

#[test]
fn q9_is_killed_and_resumed() {
    check("q9", &output(&Q9 {}));
}

/// Whatever the windows were: the ledger knows them, and each bid is in one.
#[test]
fn q12_is_killed_and_resumed() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = standing(&killed_and_resumed("q12", folder.path()), &output(&Q12 {}));
    let oracle = Oracle::new();
    events().for_each(|event| oracle.add(&event, 0));
    let mut bids: BTreeMap<&str, i64> = BTreeMap::new();
    for row in &rows {
        *bids.entry(&row[0]).or_default() += row[2].parse::<i64>().expect("a number");
    }
    let expected = oracle.rows("q12", &output(&Q12 {}));
    // There it is one window.
    assert!(expected.iter().all(|row| row[1] == "0"));
    let expected: BTreeMap<&str, i64> =
        expected.iter().map(|row| (&*row[0], row[2].parse().expect("a number"))).collect();
    assert_eq!(bids, expected);
}

/// Two runs of it may come to other windows.
#[test]
fn q12_is_measured_and_not_compared() {
    let args = ["bench", "--dataflow", "q12", "--records", "500", "--rounds", "1"];
    let output = program(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("q12, 2 workers") && text.contains("are of processing time"), "{text}");
}
