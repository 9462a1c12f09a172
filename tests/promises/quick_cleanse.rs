//! `cleanse` from the command line: rules from a file, rows that are appended where nothing else is said, dead letters.

use crate::support::broker::mock;
use crate::support::program::{Program, cutwater};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dataflows/fixtures/cleanse");

fn lines(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("{FIXTURES}/{file}")).expect("the fixture is there");
    text.lines().map(str::to_owned).collect()
}

fn cleanse(address: &str, topic: &str, rules: &str) -> Program {
    cutwater(["run", "cleanse", "-b", address, "-t", topic, "--until-end", "--rules", rules])
}

#[test]
fn records_are_cleansed_and_appended_through_restarts() {
    let (records, clean, dirty) = (mock().topic(1), mock().topic(2), mock().topic(1));
    let all = lines("records.jsonl");
    let (folder, rules) = (tempfile::tempdir().expect("a folder"), format!("{FIXTURES}/rules.toml"));
    let file = folder.path().join("clean.jsonl");
    let sinks = format!(
        "-o file:{} -o kafka:{} --dead-letter kafka:{} --state {}",
        file.display(),
        clean.name,
        dirty.name,
        folder.path().join("state").display()
    );
    for part in all.chunks(2) {
        records.send(part);
        cleanse(&records.address, &records.name, &rules).with(&sinks).run().expect(0);
    }
    // The rows alone, each as often as it came.
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    let expected = sorted(lines("clean.jsonl"));
    let written = std::fs::read_to_string(&file).expect("the file is there");
    assert_eq!(sorted(written.lines().map(str::to_owned).collect()), expected);
    let values = clean.records().into_iter().map(|record| record.value.expect("a row")).collect();
    assert_eq!(sorted(values), expected);
    // Those that are left out are no dead letters.
    assert_eq!(dirty.records().len(), 15);
    // What is typed wins.
    let changes = cleanse(&records.address, &records.name, &rules).with("--emit changes").run().expect(0);
    assert!(changes.stdout[0].starts_with(r#"{"epoch":1,"output":"clean","diff":"#), "{:?}", changes.stdout);
}

#[test]
fn mistakes_of_rules_are_wrong_usage() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "[[field]]\nname = \"price\"\ntyp = \"int\"\n").expect("it is written");
    let path = file.path().to_str().expect("text");
    let said = format!("{path}: [[field]] 1 (\"price\"): there is no key \"typ\"; did you mean \"type\"?");
    cleanse("x:1", "records", path).run().fails(2, &["--rules", &said]);
    cleanse("x:1", "records", "/nowhere.toml").run().fails(2, &["--rules", "/nowhere.toml: "]);
}
