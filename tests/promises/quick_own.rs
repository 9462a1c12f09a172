//! A program of dataflows of one's own: their mistakes are told as theirs.

use std::ffi::OsString;
use std::process::ExitCode;

use cutwater::sink::{Change, Report, Sink, SinkKind};
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::word_count::Tokenizer;

use crate::quick_avro::Sold;
use crate::quick_emit::Both;
use crate::quick_formats::{Bars, Shop};
use crate::quick_test::{Forgetful, Largest};
use crate::support::broker::mock;
use crate::support::program::{OWN, own};

/// Names a column too many
#[derive(clap::Args, Debug)]
struct Columns {}

impl Dataflow for Columns {
    const NAME: &'static str = "columns";
    fn build(&self, flow: &Flow<'_>) {
        flow.input("lines").decode(Tokenizer::Whitespace).output("words", &["word"], &["count"]);
    }
}

/// Panics at some words
#[derive(clap::Args, Debug)]
struct Panics {}

impl Dataflow for Panics {
    const NAME: &'static str = "panics";
    fn build(&self, flow: &Flow<'_>) {
        let words = flow.input("lines").decode(Picky);
        words.filter(|word| if *word == "crash" { panic!("no such word") } else { true }).output(
            "words",
            &["word"],
            &[],
        );
    }
}

/// Panics at one word itself.
struct Picky;

impl Decode for Picky {
    type Row = Text;
    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Text>) -> Result<(), Malformed> {
        for word in std::str::from_utf8(record.value.unwrap_or_default()).expect("text").split(' ') {
            assert_ne!(word, "boom", "not that word");
            rows.push(word);
        }
        Ok(())
    }
}

/// The program that the others start. By itself it does nothing.
#[test]
fn program() {
    let Ok(args) = std::env::var(OWN) else { return };
    let args = std::iter::once("own").chain(args.split('\u{1f}')).map(OsString::from).collect();
    let shop = entry::<Shop>().format(Bars);
    let contract = [entry::<Forgetful>(), entry::<Largest>()];
    let dataflows = [entry::<Columns>(), entry::<Panics>(), entry::<Both>(), entry::<Sold>(), shop];
    let dataflows: Vec<_> = dataflows.into_iter().chain(contract).collect();
    let code = cutwater::main_with(&dataflows, &[tell()], args);
    let is = |number: &u8| code == ExitCode::from(*number);
    std::process::exit((0..=2).find(is).unwrap_or(1).into());
}

/// The lines of standard error that say what went wrong.
fn errors(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.contains("error")).collect()
}

/// It has no word-count, and its own dataflows have no samples.
#[test]
fn a_program_without_samples_has_nothing_to_measure() {
    own(&["bench"]).run().fails(2, &["no dataflow of this program has samples", ".samples("]);
    own(&["bench", "--dataflow", "word-count"]).run().fails(2, &["there is no dataflow \"word-count\""]);
}

#[test]
fn a_mistake_in_a_dataflow_is_one_line_that_names_it_and_its_place() {
    let topic = mock().topic(1);
    for args in [&["run", "columns", "-b", &topic.address, "-t", &topic.name, "--until-end"][..], &["list"]] {
        let ended = own(args).env("RUST_BACKTRACE", "1").run().expect(1);
        assert_eq!(ended.stderr.len(), 1, "{:?}", ended.stderr);
        let line = &ended.stderr[0];
        for text in ["dataflow columns", "output \"words\"", "2 columns are named", "has 1", "quick_own.rs:"]
        {
            assert!(line.contains(text), "{text} in {line}");
        }
        assert!(!line.contains("fault in Cutwater"), "{line}");
    }
}

#[test]
fn a_panic_in_a_decoder_is_a_dead_letter_and_one_in_an_operator_names_the_dataflow() {
    let topic = mock().topic(1);
    let writer = topic.writer();
    for line in ["fine", "half boom", "good"] {
        writer.send(0, Some(line.as_bytes()));
    }
    writer.flush();
    let run = || own(&["run", "panics", "-b", &topic.address, "-t", &topic.name, "--until-end"]);
    let ended = run().run().expect(0);
    ended.says(&["dead letter: ", "the decoder panicked", "not that word", "quick_own.rs:"]);
    ended.says(&["done: ", "1 dead letter"]);
    assert_eq!(errors(&ended.stderr).len(), 0, "{:?}", ended.stderr);
    let rows: Vec<_> = ended.stdout.iter().filter(|line| line.starts_with('{')).collect();
    assert!(rows.len() == 2 && !rows.iter().any(|row| row.contains("half")), "{rows:?}");

    writer.send(0, Some(b"crash"));
    writer.flush();
    let ended = run().run().expect(1);
    let errors = errors(&ended.stderr);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("dataflow panics panicked at") && errors[0].contains("quick_own.rs:"),
        "{errors:?}"
    );
    assert!(errors[0].contains("no such word") && !errors[0].contains("fault in Cutwater"), "{errors:?}");
}

/// A sink of the program's own: it tells of each epoch on standard error.
struct Tell(String);

fn tell() -> SinkKind {
    SinkKind::new("tell", |opening| Ok(Box::new(Tell(opening.place.to_owned()))))
}

impl Sink for Tell {
    fn write(&mut self, _: Epoch, output: &str, changes: &[Change]) -> anyhow::Result<()> {
        for change in changes {
            eprintln!("{}: {output} {:+} {}", self.0, change.diff, String::from_utf8_lossy(&change.row));
        }
        Ok(())
    }

    fn commit(&mut self, _: Epoch, _: &[Report]) -> anyhow::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_of_the_programs_own_gets_rows_and_dead_letters() {
    let topic = mock().topic(1);
    let writer = topic.writer();
    for line in ["fine", "half boom"] {
        writer.send(0, Some(line.as_bytes()));
    }
    writer.flush();
    let run = |to: &'static str| {
        let args = ["run", "panics", "-b", &topic.address, "-t", &topic.name, "--until-end", "-o", to];
        own(&[&args[..], &["--dead-letter", "tell:letter"]].concat())
    };
    let ended = run("tell:row:1").run().expect(0);
    ended.says(&["row:1: words +1 {\"word\":\"fine\"}"]);
    ended.says(&["letter: dead-letters +1 ", "not that word"]);

    // Of a kind that the program does not know.
    let ended = run("yell:x").run().expect(2);
    ended.says(&["\"yell:x\" is not a sink", "webhook:URL, tell:PLACE or none"]);
}
