//! `cutwater test`: a dataflow on fixtures, its verdict and its exit code.

use std::fs;
use std::path::PathBuf;

use cutwater_dataflows::prelude::*;
use tempfile::TempDir;

use crate::support::program::{Program, cutwater, own};

/// Counts lines, but not as the contract has it
#[derive(clap::Args, Debug)]
pub struct Forgetful {}

impl Dataflow for Forgetful {
    const NAME: &'static str = "forgetful";
    fn build(&self, flow: &Flow<'_>) {
        // What is counted is forgotten by a restart: it is not persisted.
        flow.input("lines").rows::<Text>().count().output("counts", &["line"], &["count"]);
    }
}

/// Tells how many lines came in the epoch that was the largest
#[derive(clap::Args, Debug)]
pub struct Largest {}

impl Dataflow for Largest {
    const NAME: &'static str = "largest";
    fn build(&self, flow: &Flow<'_>) {
        let lines = flow.input("lines").rows::<Text>().map::<(i64, i64)>(|_line| (0, 1));
        let largest = lines.stateful::<i64>("largest", |_key, state, lines, out| {
            let came: i64 = lines.iter().map(|(one, count)| one * count).sum();
            out.extend(state.last().max(Some(came)));
        });
        largest.output("largest", &["key"], &["lines"]);
    }
}

/// A folder of fixtures.
struct Fixtures(TempDir);

impl Fixtures {
    fn new() -> Self {
        Fixtures(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("a file");
        self.path(name).to_str().expect("text").to_owned()
    }
}

fn word_count() -> Program {
    cutwater(["test", "word-count"])
}

#[test]
fn what_differs_is_shown_by_key_and_fails() {
    let fixtures = Fixtures::new();
    let lines = fixtures.file("lines", "a b a\nc");
    let counts = fixtures.file(
        "counts",
        "{\"count\": 1, \"word\": \"c\"}\n\n{\"word\":\"b\",\"count\":2}\n{\"word\":\"a\",\"count\":2}\n",
    );
    let ended = word_count().args(["--input", &lines, "--expect", &format!("counts={counts}")]).run();
    let ended = ended.fails(1, &["counts: not as expected", "2 records"]);
    let header = format!("--- {counts}");
    assert_eq!(
        ended.stdout,
        [&header, "+++ counts, as found", r#"-{"word":"b","count":2}"#, r#"+{"word":"b","count":1}"#]
    );
    // The dataflow's own options, and a number of workers.
    let ended =
        word_count().args(["--input", &lines, "--expect", &counts, "-w", "2", "--min-length", "2"]).run();
    let ended = ended.fails(1, &["not as expected"]);
    assert!(ended.stdout.iter().all(|line| !line.starts_with('+') || line.starts_with("+++")));
    // What is found can be written, and is as expected then.
    let written = word_count().args(["--input", &lines, "--expect", &counts, "--update"]).run().expect(0);
    assert!(written.stdout[0].starts_with("written: ") && written.stdout[0].contains("(3 rows)"));
    assert_eq!(
        fs::read_to_string(&counts).expect("text").lines().collect::<Vec<_>>(),
        [r#"{"word":"a","count":2}"#, r#"{"word":"b","count":1}"#, r#"{"word":"c","count":1}"#]
    );
    word_count().args(["--input", &lines, "--expect", &counts]).run().expect(0);
}

#[test]
fn tables_have_keys_and_bad_records_are_dead_letters_with_their_place() {
    let fixtures = Fixtures::new();
    let orders =
        fixtures.file("orders", "{\"id\":\"1\",\"price\":0.1}\n{\"id\":\"2\",\"price\":\"1.005\"}\n");
    let more = fixtures.file("more", "not JSON\n");
    let products = fixtures.file(
        "products",
        "p1\t{\"product\":\"nut\"}\np2\t{\"product\":\"bolt\"}\np1\t{\"product\":\"screw\"}\np2\t\n{\"product\":\"nobody's\"}\n",
    );
    let out = fixtures.file("out", "{\"product\":\"screw\"}");
    let sold = fixtures.file("sold", "{\"price\":0.10,\"id\":\"1\"}\n");
    let letters = fixtures.path("letters").to_str().expect("text").to_owned();
    let test = |more_args: &[&str]| {
        let inputs = [format!("orders={orders}"), format!("orders={more}"), format!("products={products}")];
        let mut args: Vec<String> = vec!["test".into(), "shop".into()];
        args.extend(inputs.iter().flat_map(|input| ["--input".into(), input.clone()]));
        args.extend(more_args.iter().map(|&arg| arg.to_owned()));
        own(&args.iter().map(String::as_str).collect::<Vec<_>>()).run()
    };
    let (out, sold) = (format!("products={out}"), format!("orders={sold}"));
    let both = ["--expect", &out, "--expect", &sold];
    let ended = test(&both).expect(0);
    ended.says(&["dead letter: ", &format!("{}:2: price: ", orders)]);
    ended.says(&["dead letter: ", &format!("{more}:1: ")]);
    ended.says(&["dead letter: ", &format!("{products}:5: the key is null")]);
    assert!(ended.stdout.iter().any(|line| line.starts_with("ok: 8 records, 3 dead letters")));

    test(&["--expect-dead-letters", &letters, "--update"]).expect(0);
    test(&[&both[..], &["--expect-dead-letters", &letters]].concat()).expect(0);
    let text = fs::read_to_string(&letters).expect("text");
    let fewer: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
    fs::write(&letters, fewer).expect("a file");
    let ended = test(&["--expect-dead-letters", &letters]).fails(1, &["dead letters: not as expected"]);
    let shown: Vec<_> = ended.stdout.iter().filter(|line| line.starts_with("+{")).collect();
    assert!(shown.len() == 1 && shown[0].starts_with("+{\"input\":\"orders\",\"line\":2,"), "{shown:?}");
}

#[test]
fn a_dataflow_that_breaks_the_contract_is_told_so() {
    let fixtures = Fixtures::new();
    let lines = fixtures.file("lines", "a\na\na\n");
    let expected = fixtures.file("expected", "{\"line\":\"a\",\"count\":3}\n");
    let test = |name: &str, more: &[&str]| {
        let args = [&["test", name, "--input", &lines, "--expect", &expected][..], more].concat();
        own(&args).run()
    };
    test("forgetful", &[])
        .fails(1, &["forgetful breaks the contract", "with restarts", "output counts, epoch 2"]);
    // In one epoch, nothing is forgotten.
    test("forgetful", &["--epochs", "1"]).expect(0);

    fs::write(fixtures.path("expected"), "{\"key\":0,\"lines\":3}\n").expect("a file");
    let ended = test("largest", &[]);
    ended.fails(1, &["largest depends on how its records come in epochs", "\"lines\":", "--epochs N"]);
    test("largest", &["--epochs", "1"]).expect(0);
    fs::write(fixtures.path("expected"), "{\"key\":0,\"lines\":1}\n").expect("a file");
    test("largest", &["--epochs", "3"]).expect(0);
}

#[test]
fn wrong_usage_names_what_there_is() {
    let fixtures = Fixtures::new();
    let (lines, rows) =
        (fixtures.file("lines", "a\n"), fixtures.file("rows", "{\"word\":\"a\",\"cuont\":1}\n"));
    let wrong = |args: &[&str], texts: &[&str]| {
        let ended = word_count().args(args).run().fails(2, texts);
        assert!(ended.stdout.is_empty(), "{:?}", ended.stdout);
    };
    wrong(&["--input", &lines], &["--expect OUTPUT=FILE", "counts"]);
    wrong(&["--input", "words=x", "--expect", &rows], &["--input words=x", "no input \"words\"", "lines"]);
    wrong(&["--expect", "words=x"], &["--expect words=x", "no output \"words\"", "counts"]);
    wrong(&["--input", "/no/such", "--expect", &rows], &["--input /no/such", "No such file"]);
    wrong(&["--expect", "/no/such"], &["/no/such", "counts", "No such file"]);
    wrong(&["--expect", &rows], &["rows:1", "no row of counts", "no column \"cuont\"", "word, count"]);
    fixtures.file("rows", "{\"word\":\"a\",\"count\":1}\n{\"word\":7,\"count\":1}\n");
    wrong(&["--expect", &rows], &["rows:2", "word: expected text"]);
    fixtures.file("rows", "");
    wrong(&["--expect", &rows, "--expect", &rows], &["\"counts\" is expected twice"]);
    cutwater(["test"]).run().fails(2, &["cutwater test DATAFLOW", "word-count"]);
    cutwater(["test", "word-cuont"]).run().fails(2, &["word-cuont", "did you mean word-count?"]);
}

#[test]
fn a_format_whose_records_are_no_lines_is_wrong_usage_that_says_what_to_write() {
    for format in ["avro", "transfers=protobuf:shop.Order"] {
        let test = cutwater([
            "test",
            "balances",
            "-f",
            format,
            "--input",
            "/dev/null",
            "--expect",
            "total=/dev/null",
        ]);
        test.run().fails(2, &["have a record a line", "Write the fixture in json or csv"]);
    }
}
