//! Outputs of one run of which sinks get different things: rows as they are added, and rows that are there after the end.

use std::path::Path;

use cutwater_dataflows::prelude::*;
use cutwater_dataflows::word_count::Tokenizer;

use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::program::{Ended, Program, own};
use crate::support::rows::{Counts, assert_counts, finals, recount};
use crate::support::text::zipf_lines;

/// Hands out words as they come, and how often each has
#[derive(clap::Args, Debug)]
pub(crate) struct Both {}

impl Dataflow for Both {
    const NAME: &'static str = "both";
    fn build(&self, flow: &Flow<'_>) {
        let words = flow.input("lines").decode(Tokenizer::Whitespace);
        words.clone().output("words", &["word"], &[]);
        words.persist("words").count().output("counts", &["word"], &["count"]);
    }
}

/// Runs it on a topic to its end: words are appended, counts are final.
pub(crate) fn both(topic: &Topic, more: &[&str]) -> Program {
    let mut args = vec!["run", "both", "-b", &topic.address, "-t", &topic.name, "--until-end", "-e", "1ms"];
    args.extend(["--max-records", "50", "--emit", "final", "--emit", "words=append"]);
    args.extend(more);
    own(&args)
}

/// Checks that these are words, each as often as it was read.
#[track_caller]
pub(crate) fn assert_words(rows: &[String], expected: &Counts) {
    let mut counts = Counts::new();
    for row in rows {
        let word = row.strip_prefix("{\"word\":").and_then(|row| row.strip_suffix('}')).expect("a row alone");
        *counts.entry(serde_json::from_str(word).expect("a word")).or_default() += 1;
    }
    assert_counts(&counts, expected);
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).expect("the file is there").lines().map(str::to_owned).collect()
}

#[test]
fn outputs_of_one_run_are_appended_and_final_in_files_and_on_standard_output() {
    let topic = mock().topic(3);
    let all = zipf_lines(11, 20_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let to = |output: &str| format!("{output}=file:{}", path(output).display());
    let (words, counts, state) = (to("words"), to("counts"), path("state").display().to_string());
    let files = ["-o", &words, "-o", &counts];

    topic.send(&all[..all.len() / 2]);
    both(&topic, &[&files[..], &["-w", "2"]].concat()).run().expect(0);
    let expected = recount(&all[..all.len() / 2]);
    assert_words(&lines(&path("words")), &expected);
    assert_counts(&finals(&lines(&path("counts"))), &expected);

    // With state the file of appended rows is continued, and that of the end replaced.
    std::fs::remove_file(path("words")).expect("it is there");
    let letters = format!("file:{}", path("letters").display());
    let kept = [&files[..], &["--state", &state, "--dead-letter", &letters]].concat();
    both(&topic, &[&kept[..], &["-w", "2"]].concat()).run().expect(0);
    topic.send(&all[all.len() / 2..]);
    let nothing_yet = |ended: &Ended| ended.stderr.iter().any(|line| line.contains("holds nothing yet"));
    assert!(!nothing_yet(&both(&topic, &kept).run().expect(0)), "there were no dead letters");
    std::fs::remove_file(path("letters")).expect("it is there");
    assert!(nothing_yet(&both(&topic, &kept).run().expect(0)), "it is new");
    let expected = recount(&all);
    assert_words(&lines(&path("words")), &expected);
    assert_counts(&finals(&lines(&path("counts"))), &expected);

    let rows = |more: &[&str]| -> Vec<String> {
        let ended = both(&topic, more).run().expect(0);
        ended.stdout.into_iter().filter(|line| line.starts_with('{')).collect()
    };
    assert_words(&rows(&["-o", "counts=none"]), &expected);
    assert_counts(&finals(&rows(&["-o", "words=none", "-w", "2"])), &expected);
}

#[test]
fn outputs_of_one_run_are_appended_and_final_in_topics() {
    let (topic, words, counts) = (mock().topic(3), mock().topic(2), mock().topic(1));
    let all = zipf_lines(12, 5_000);
    topic.send(&all);
    let (to_words, to_counts) =
        (format!("words=kafka:{}", words.name), format!("counts=kafka:{}", counts.name));
    both(&topic, &["-o", &to_words, "-o", &to_counts]).run().expect(0);
    let values = |topic: &Topic| -> Vec<String> {
        topic.records().into_iter().map(|record| record.value.expect("a row")).collect()
    };
    assert_words(&values(&words), &recount(&all));
    assert_counts(&finals(&values(&counts)), &recount(&all));
    assert!(words.records().iter().all(|record| record.headers.contains_key("epoch")));
    assert!(counts.records().iter().all(|record| record.headers.is_empty()));
}

#[test]
fn a_row_that_is_withdrawn_of_an_output_that_is_appended_is_an_error_that_names_it() {
    let topic = mock().topic(1);
    let run = |more: &[&str]| both(&topic, &[&["-o", "words=none"], more].concat()).run();
    topic.send(["a b"]);
    // An order for one output replaces that for all.
    run(&["--emit", "counts=append"]).expect(0);
    topic.send((0..200).map(|_| "b"));
    let failed = run(&["--emit", "counts=append"]);
    failed.fails(1, &["output \"counts\"", "{\"word\":\"b\"}", "is withdrawn", "--emit counts=changes"]);
}
