//! Where rows go: standard output, files, nowhere, several at once.

use std::io::{BufRead, BufReader};

use serde::Deserialize;

use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::program::{Program, word_count};
use crate::support::rows::{Counts, Replay, Row, assert_counts, finals, recount};
use crate::support::text::zipf_lines;

fn sample() -> (Topic, Counts) {
    let topic = mock().topic(3);
    let lines = zipf_lines(5, 20_000);
    topic.send(&lines);
    (topic, recount(&lines))
}

fn bounded(topic: &Topic) -> Program {
    word_count(&topic.address, &topic.name).with("--until-end")
}

#[test]
fn several_sinks_get_the_same_rows() {
    let (topic, expected) = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("with=sign"));
    let files = [format!("file:{}", first.display()), format!("counts=file:{}", second.display())];
    let to_files =
        || bounded(&topic).args(["-o", &files[0], "-o", &files[1]]).with("-e 1ms --max-records 100");
    let text = |path| std::fs::read_to_string(path).expect("the file is there");
    let lines = |path| text(path).lines().map(str::to_owned).collect::<Vec<_>>();

    let rows = to_files().with("-o stdout -w 2 -n 2").rows();
    assert_counts(Replay::of(&rows).counts(), &expected);
    assert_eq!(lines(&first), rows);
    assert_eq!(lines(&second), rows);
    // Made by the next run, and then standard output is not the default.
    let rows = to_files().with("--emit final").rows();
    assert_eq!(rows.len(), 0);
    assert_counts(&finals(&lines(&first)), &expected);
    assert_eq!(text(&first), text(&second));
}

#[test]
fn nowhere_is_a_sink() {
    let (topic, expected) = sample();
    let ended = bounded(&topic).with("-o none").run().expect(0);
    assert_eq!(ended.stdout.len(), 0);
    let total: i64 = expected.values().sum();
    assert_eq!(total, 20_000);
    ended.says(&["done: 2,000 records", "20,000 rows"]);
}

/// A line of `--emit upserts`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Upsert {
    epoch: u64,
    output: String,
    key: Key,
    row: Row,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    word: String,
}

#[test]
fn upserts_are_the_newest_row_of_each_key() {
    let (topic, expected) = sample();
    let rows = bounded(&topic).with("--emit upserts -e 1ms --max-records 100 -w 2").rows();
    let (mut counts, mut last) = (Counts::new(), (0, String::new()));
    for line in rows {
        let Upsert { epoch, output, key, row } = serde_json::from_str(&line).expect("an upsert");
        assert_eq!(output, "counts");
        assert_eq!(key.word, row.word);
        assert!(last < (epoch, key.word.clone()), "{line}: each key once an epoch, epochs in order");
        last = (epoch, key.word);
        let before = counts.insert(row.word, row.count);
        assert!(before.unwrap_or(0) < row.count, "{line}: counts grow");
    }
    assert_counts(&counts, &expected);
    assert!(last.0 > 3, "{} epochs", last.0);
}

#[test]
fn a_sink_that_fails_ends_the_run_with_one_line() {
    let (topic, _) = sample();
    bounded(&topic).with("-o file:/no/such/folder/rows").run().fails(1, &["/no/such/folder/rows"]);
    bounded(&topic).with("-o file:/dev/full -w 2").run().fails(1, &["/dev/full", "No space left"]);
    bounded(&topic).with("-n 2 -o file:/dev/full").run().expect(1).says(&["process 0", "/dev/full"]);
}

/// As in `cutwater run ... | head -1`.
#[test]
fn a_closed_standard_output_ends_the_run_well() {
    let topic = mock().topic(2);
    topic.send(zipf_lines(6, 100_000));
    for shape in ["-w 2", "-w 1 -n 2"] {
        let program = word_count(&topic.address, &topic.name).with("-e 1ms --max-records 100").with(shape);
        let mut run = program.start_unread();
        let mut stdout = BufReader::new(run.child.stdout.take().expect("a pipe"));
        let mut row = String::new();
        stdout.read_line(&mut row).expect("a row");
        drop(stdout);
        run.wait().expect(0);
    }
}

#[test]
fn the_last_result_stays_until_the_new_one_is_whole() {
    let (topic, expected) = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, state) = (folder.path().join("counts"), folder.path().join("state"));
    let text = || std::fs::read_to_string(&path).expect("the file is there");
    for state in [None, Some(&state)] {
        std::fs::write(&path, "of an earlier run\n").expect("there is room");
        let program = || {
            let program =
                bounded(&topic).args(["--emit", "final", "-o", &format!("file:{}", path.display())]);
            match state {
                Some(state) => program.args(["--state".as_ref(), state.as_os_str()]),
                None => program,
            }
        };
        // Killed when all rows are written, but not yet all of the run has ended.
        let killed = program().env("CUTWATER_CRASH", "file-written:1").run();
        assert!(killed.status.code().is_none(), "{:?}", killed.stderr);
        assert_eq!(text(), "of an earlier run\n");
        program().run().expect(0);
        assert_counts(&finals(&text().lines().collect::<Vec<_>>()), &expected);
    }
}
