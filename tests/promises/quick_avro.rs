//! Avro with a registry of schemas: records wait for theirs, and nothing else does.

use cutwater_dataflows::prelude::*;

use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::program::{Ended, Program, own};
use crate::support::registry::Registry;

/// Hands on what is sold
#[derive(clap::Args, Debug)]
pub struct Sold {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sale {
    #[row(name = "_offset")]
    offset: i64,
    product: Text,
    price: Option<Decimal<2>>,
}

impl Dataflow for Sold {
    const NAME: &'static str = "sold";
    fn build(&self, flow: &Flow<'_>) {
        flow.input("sales").rows::<Sale>().output("sold", &["offset", "product"], &["price"]);
    }
}

pub(crate) const PLAIN: &str =
    r#"{"type":"record","name":"Sale","fields":[{"name":"product","type":"string"}]}"#;

pub(crate) const PRICED: &str = r#"{"type":"record","name":"Sale","fields":[
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
    {"name":"colour","type":"shop.Colour"},{"name":"product","type":"string"}]}"#;

pub(crate) const COLOUR: &str =
    r#"{"type":"enum","name":"Colour","namespace":"shop","symbols":["red","green"]}"#;

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8 * 2], text.as_bytes()].concat()
}

fn wire(id: u32, datum: Vec<u8>) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], &datum].concat()
}

/// A record of the schema without a price.
pub(crate) fn plain(id: u32, product: &str) -> Vec<u8> {
    wire(id, text(product))
}

/// A record of the schema with one.
pub(crate) fn priced(id: u32, product: &str, cents: u8) -> Vec<u8> {
    wire(id, [vec![2, cents, 2], text(product)].concat())
}

pub(crate) fn send(topic: &Topic, records: &[Vec<u8>]) {
    let writer = topic.writer();
    records.iter().for_each(|record| writer.send(0, Some(record)));
    writer.flush();
}

/// The rows among what a program of one's own has printed.
pub(crate) fn rows(ended: Ended) -> Vec<String> {
    ended.stdout.into_iter().filter(|line| line.starts_with('{')).collect()
}

/// What is there after the end.
pub(crate) const FINAL: [&str; 3] = ["--until-end", "--emit", "final"];

pub(crate) fn sold(topic: &Topic, url: &str, more: &[&str]) -> Program {
    let args =
        ["run", "sold", "-b", &topic.address, "-t", &topic.name, "-f", "avro", "--schema-registry", url];
    own(&[&args, more].concat())
}

#[test]
fn schemas_are_fetched_once_and_in_the_middle_of_a_topic() {
    let (topic, registry) = (mock().topic(1), Registry::start());
    registry.has(1, PLAIN, &[]);
    registry.has(2, PRICED, &[("colours", 3)]);
    let colour = serde_json::json!({"schema": COLOUR}).to_string();
    registry.answer("subjects/colours/versions/3", 200, &colour);
    let mut records = vec![plain(1, "nut"); 50];
    records.extend(vec![priced(2, "bolt", 99); 50]);
    records.push(plain(1, "nail"));
    send(&topic, &records);
    let ended = sold(&topic, &registry.url, &FINAL).run().expect(0);
    ended.says(&["done: 101 records"]);
    let rows = rows(ended);
    assert_eq!(rows.len(), 101);
    assert_eq!(rows[50], r#"{"offset":50,"product":"bolt","price":"0.99"}"#);
    assert_eq!(rows[100], r#"{"offset":100,"product":"nail","price":null}"#);
    let asked = ["schemas/ids/1", "schemas/ids/2", "subjects/colours/versions/3"];
    assert_eq!(registry.asked(), asked.map(|path| format!("/apis/ccompat/{path}")));
}

#[test]
fn a_record_waits_for_its_schema_while_others_are_read() {
    // Two partitions of one worker: one is behind a schema that is not there yet.
    let (topic, registry) = (mock().topic(2), Registry::start());
    registry.has(1, PLAIN, &[]);
    registry.answer("schemas/ids/2", 503, "");
    let writer = topic.writer();
    writer.send(0, Some(&priced(2, "late", 1)));
    writer.send(0, Some(&plain(1, "behind")));
    writer.send(1, Some(&plain(1, "early")));
    writer.flush();
    let state = tempfile::tempdir().expect("a folder");
    let path = state.path().to_str().expect("text");
    let mut running = sold(&topic, &registry.url, &["--state", path]).start();
    running.rows_until(|row| row.contains("early"));
    registry.has(2, PRICED, &[("colours", 3)]);
    registry.answer("subjects/colours/versions/3", 200, &serde_json::json!({"schema": COLOUR}).to_string());
    running.rows_until(|row| row.contains("behind"));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = running.wait().expect(0);
    let done = ended.says(&["done: 3 records"]);
    assert!(!done.contains("dead letter"), "{done}");
    // A replay fetches them once more, and comes to the same.
    send(&topic, &[plain(1, "more")]);
    let again = sold(&topic, &registry.url, &["--state", path, "--until-end"]).run().expect(0);
    assert_eq!(again.stdout.iter().filter(|row| row.contains("more")).count(), 1, "{:?}", again.stdout);
}

#[test]
fn what_a_registry_does_not_have_or_that_is_away_is_told() {
    let (topic, registry) = (mock().topic(1), Registry::start());
    registry.has(1, PLAIN, &[]);
    registry.answer("schemas/ids/3", 200, r#"{"schema":"{}","schemaType":"JSON"}"#);
    let records = [plain(9, "unknown"), plain(1, "nut"), plain(3, "json"), b"{}".to_vec(), plain(1, "bolt")];
    send(&topic, &records);
    let folder = tempfile::tempdir().expect("a folder");
    let letters = folder.path().join("dead.jsonl");
    let letter = format!("file:{}", letters.display());
    let ended =
        sold(&topic, &registry.url, &[&FINAL[..], &["--dead-letter", &letter]].concat()).run().expect(0);
    ended.says(&["schema 9 is not known to http://127.0.0.1"]);
    ended.says(&["done: 5 records", "3 dead letters"]);
    assert_eq!(rows(ended).len(), 2);
    let letters = std::fs::read_to_string(letters).expect("there are some");
    for reason in [
        "schema 9: the registry does not know it",
        "schema 3: it is one of json, not of avro",
        "it does not begin with 0 and the id of a schema",
    ] {
        assert!(letters.contains(reason), "{letters}");
    }
    // Nobody listens there.
    let away = sold(&topic, "http://user:secret@127.0.0.1:9", &["--connect-timeout", "1s"]).run();
    let away = away.fails(1, &["--connect-timeout", "fetching schema 9 from http://127.0.0.1:9"]);
    assert!(!away.stderr.iter().any(|line| line.contains("secret")), "{:?}", away.stderr);
    registry.answer("schemas/ids/9", 401, "");
    sold(&topic, &registry.url, &[]).run().fails(1, &["fetching schema 9", "401", "may this user read it?"]);
}

#[test]
fn check_asks_the_registry() {
    let (topic, registry) = (mock().topic(1), Registry::start());
    let check = |url: &str| {
        let args = [
            "check",
            "sold",
            "-b",
            &topic.address,
            "-t",
            &topic.name,
            "-f",
            "avro",
            "--schema-registry",
            url,
        ];
        own(&args).run()
    };
    let found = |ended: &Ended| {
        ended.stdout.iter().find(|line| line.contains("schema registry")).expect("a line of it").clone()
    };
    let well = found(&check(&registry.url).expect(0));
    assert!(well.starts_with("ok ") && well.ends_with("answers"), "{well}");
    let away = found(&check("http://127.0.0.1:1").expect(1));
    assert!(away.starts_with("wrong ") && away.contains("http://127.0.0.1:1: "), "{away}");
}

#[test]
fn a_registry_that_can_not_be_asked_is_wrong_usage() {
    let run = |more: &str| {
        let args = format!("run sold -b x:1 -t sales {more}");
        own(&args.split(' ').collect::<Vec<_>>()).run()
    };
    run("-f avro").fails(2, &["--format avro", "--schema-registry URL"]);
    run("-f avro --schema-registry host:1").fails(2, &["--schema-registry", "http:// or https://"]);
    run("--schema-registry http://host").fails(2, &["--schema-registry", "--format INPUT=avro"]);
}
