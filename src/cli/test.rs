//! `cutwater test`: a dataflow on fixtures, without a broker.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use cutwater_dataflows::lateness::with_lateness;
use cutwater_dataflows::rows::{Column, Kind, Schema};
use cutwater_dataflows::testing::{KnownRow, Outcome, RowReader, Sample, Test, difference, read_records};
use cutwater_dataflows::{Binding, Build, Envelope, Format, Shape, format};
use serde::Deserialize;

use super::formats;
use super::kafka::duration;
use super::options::workers;
use crate::shown::{count, shown};
use crate::usage::usage;
use crate::{log, out};

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Test a dataflow on fixtures, without a broker\n\n\
     cutwater test word-count --input lines.jsonl --expect counts.jsonl\n\n\
     An input's file has a record a line, which is its value. For an input that is a table (envelope upsert or debezium), a line \
     is the record's key, a tab and the value, and nothing after the tab is a null value, which deletes. An input without a \
     file is empty.\n\n\
     An expected file has the rows that `run --emit final` would write, one JSON object a line. Neither the order of lines nor \
     that of columns matters, and values may be written in any form that an input may have: rows are compared as Cutwater renders \
     them. An output without a file is not compared.\n\n\
     The records are read in one epoch, and once more in three with restarts between them, each at 1, 2 and 3 workers: a \
     dataflow that does not give the same answer each time breaks the contract of docs/dataflows.md, and is told so.\n\n\
     Exit code 0 and one line if all is as expected; 1 and the differences, `-` before what was expected and `+` before what was \
     found; 2 for wrong usage. Dead letters are shown on standard error.";

/// The options of `cutwater test`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct TestArgs {
    /// The records of an input, one a line; FILE alone is for the only input; repeatable
    #[arg(long, value_name = "NAME=FILE", help_heading = "Test")]
    pub input: Vec<String>,
    /// The rows that an output is to have in the end; FILE alone is for the only output; repeatable
    #[arg(long, value_name = "OUTPUT=FILE", help_heading = "Test")]
    pub expect: Vec<String>,
    /// The dead letters that there are to be: {"input":"NAME","line":N,"reason":"TEXT"}, one a line [default: any]
    #[arg(long, value_name = "FILE", help_heading = "Test")]
    pub expect_dead_letters: Option<PathBuf>,
    /// Write what was found to the files of --expect and --expect-dead-letters, and compare nothing
    #[arg(long, help_heading = "Test")]
    pub update: bool,
    /// How an input is read, as of `run`; not as avro or protobuf, whose records are no lines
    #[arg(short, long, value_name = "INPUT=FORMAT+ENVELOPE", help_heading = "Test")]
    pub format: Vec<String>,
    /// How late an event may come, as of `run`; later ones are dead letters [default: unlimited]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Test")]
    pub lateness: Option<Duration>,
    /// Worker threads [default: 1, 2 and 3, one after the other]
    #[arg(short, long, value_name = "N", value_parser = workers, help_heading = "Test")]
    pub workers: Option<NonZeroUsize>,
    /// Read each input in N epochs, of as many records each, with restarts between them: for answers that depend on that, by
    /// --lateness or by the time of day [default: 1, and 3]
    #[arg(long, value_name = "N", value_parser = epochs, help_heading = "Test")]
    pub epochs: Option<NonZeroUsize>,
}

/// Reads a number of epochs: each is a restart, in which the dataflow is built.
fn epochs(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(number) if number.get() <= 10_000 => Ok(number),
        _ => Err("expected a whole number from 1 to 10000".to_owned()),
    }
}

/// Tests as the options say.
///
/// # Errors
/// A usage error if a name or file is not there or can't be read; another if something differs.
pub(super) fn test(args: &TestArgs, dataflow: Arc<dyn Build>, known: &[Arc<dyn Format>]) -> Result<()> {
    let shape = Shape::of(&*dataflow)?;
    args.format.iter().try_for_each(|typed| are_lines(typed, &shape, known))?;
    let bindings = formats::bindings(&args.format, &shape, dataflow.name(), known)?;
    let dataflow = with_lateness(format::bound(dataflow, bindings.clone()), args.lateness);
    let shape = Shape::of(&*dataflow)?;
    if args.expect.is_empty() && args.expect_dead_letters.is_none() {
        let outputs: Vec<&str> = shape.outputs.iter().map(|output| output.name.as_str()).collect();
        return Err(usage(format!(
            "what is to come out? Say with --expect OUTPUT=FILE, for {}",
            outputs.join(" or ")
        )));
    }
    let given = Given::read(&args.input, &shape)?;
    for (input, binding) in &bindings {
        given.look(input, &shape, binding)?;
    }
    let mut wanted = wanted(args, &shape)?;
    let outcome = answer(args, &dataflow, &given)?;
    let letters = given.letters(&outcome)?;
    for letter in &letters {
        log::say(&format!("dead letter: {}: {}", shown(&letter.place), shown(&letter.reason)));
    }
    for wanted in &mut wanted {
        wanted.found = wanted.rows(&outcome, &letters)?;
    }
    let about = format!(
        "{}, {}",
        count(given.records() as u64, "record"),
        count(letters.len() as u64, "dead letter")
    );
    if args.update { update(&wanted, &about) } else { compare(&wanted, &about) }
}

/// An error where a record of a format is no line: those that come with Cutwater and need schemas.
fn are_lines(typed: &str, shape: &Shape, known: &[Arc<dyn Format>]) -> Result<()> {
    let (_, format) = super::bind::bind("--format", typed, "input", &shape.inputs)?;
    let name = format.split([':', '+']).next().unwrap_or_default();
    let is_own = known.iter().filter(|known| known.name() == name).count() > 1;
    if is_own || !matches!(name, "avro" | "protobuf") {
        return Ok(());
    }
    Err(usage(format!(
        "--format {typed}: the files of a test have a record a line, and those of {name} are no lines. Write the fixture in \
         json or csv: the rows, and what comes of them, are the same"
    )))
}

/// The records of each input, and where each is from.
struct Given {
    inputs: BTreeMap<String, Vec<(Sample, String)>>,
}

impl Given {
    fn read(typed: &[String], shape: &Shape) -> Result<Self> {
        let mut inputs: BTreeMap<String, Vec<(Sample, String)>> =
            shape.inputs.iter().map(|input| (input.clone(), Vec::new())).collect();
        for text in typed {
            let (input, path) = bind("--input", text, "input", &shape.inputs)?;
            let file = std::fs::read(path).map_err(|error| usage(format!("--input {text}: {error}")))?;
            let keyed = shape.formats.get(input).is_some_and(|format| format.envelope != Envelope::Append);
            let records = (1..)
                .zip(read_records(&file, keyed))
                .map(|(line, record)| (record, format!("{}:{line}", path.display())));
            inputs.entry(input.to_owned()).or_default().extend(records);
        }
        Ok(Given { inputs })
    }

    /// Looks at the first record of an input, as a run would.
    fn look(&self, input: &str, shape: &Shape, binding: &Binding) -> Result<()> {
        let look = shape.formats.get(input).and_then(|shape| binding.look(shape));
        let first = self.inputs.get(input).and_then(|records| records.first());
        let (Some(mut look), Some((Sample { value: Some(value), .. }, place))) = (look, first) else {
            return Ok(());
        };
        look(value)
            .map_err(|why| usage(format!("--format {input}={}: {place}: {why}", binding.format.name())))
    }

    fn records(&self) -> usize {
        self.inputs.values().map(Vec::len).sum()
    }

    /// The records of each input in so many epochs, as equal as can be.
    fn epoch(&self, epoch: usize, of: usize) -> impl Iterator<Item = (&str, Sample)> {
        self.inputs.iter().flat_map(move |(input, records)| {
            let at = |epoch: usize| records.len() * epoch / of;
            let part = &records[at(epoch)..at(epoch + 1)];
            part.iter().map(move |(record, _)| (input.as_str(), record.clone()))
        })
    }

    /// The dead letters, in the order of their records.
    fn letters(&self, outcome: &Outcome) -> Result<Vec<Letter>> {
        #[derive(Deserialize)]
        struct Told {
            topic: String,
            offset: usize,
            reason: String,
        }
        let letter = |text: &String| -> Result<Letter> {
            let Told { topic, offset, reason } = serde_json::from_str(text)?;
            let record = self.inputs.get(&topic).and_then(|records| records.get(offset));
            let place = record.map_or_else(|| format!("{topic}:{}", offset + 1), |(_, place)| place.clone());
            Ok(Letter { input: topic, line: offset + 1, place, reason })
        };
        let mut letters = outcome.dead_letters().iter().map(letter).collect::<Result<Vec<_>>>()?;
        letters.sort_by(|a, b| (&a.input, a.line).cmp(&(&b.input, b.line)));
        Ok(letters)
    }
}

/// A record that became a dead letter.
struct Letter {
    input: String,
    /// Its number in its input, from 1.
    line: usize,
    /// `FILE:LINE`.
    place: String,
    reason: String,
}

/// The name under which dead letters are compared.
const DEAD_LETTERS: &str = "dead letters";

/// The columns under which dead letters are compared.
fn letters_schema() -> Schema {
    let column = |name: &str, kind| Column::new(name, kind);
    let columns = vec![column("input", Kind::Text), column("line", Kind::Int), column("reason", Kind::Text)];
    Schema { name: DEAD_LETTERS.to_owned(), columns, key: 2 }
}

/// What an output is to have, and what it has.
struct Wanted {
    output: String,
    file: PathBuf,
    reader: RowReader,
    expected: Vec<KnownRow>,
    found: Vec<KnownRow>,
}

/// Reads the expected files.
fn wanted(args: &TestArgs, shape: &Shape) -> Result<Vec<Wanted>> {
    let names: Vec<String> = shape.outputs.iter().map(|output| output.name.clone()).collect();
    let mut all: Vec<Wanted> = Vec::new();
    for text in &args.expect {
        let (output, path) = bind("--expect", text, "output", &names)?;
        if all.iter().any(|other| other.output == output) {
            return Err(usage(format!("--expect {text}: output {output:?} is expected twice")));
        }
        let of = shape.outputs.iter().find(|of| of.name == output).expect("bound to one of them");
        all.push(Wanted::read(output, path, &of.schema, args.update)?);
    }
    if let Some(path) = &args.expect_dead_letters {
        all.push(Wanted::read(DEAD_LETTERS, path, &letters_schema(), args.update)?);
    }
    Ok(all)
}

impl Wanted {
    fn read(output: &str, path: &Path, schema: &Schema, update: bool) -> Result<Self> {
        let mut reader = RowReader::new(schema)
            .map_err(|why| usage(format!("output {output:?} can't be compared with JSON: {why}")))?;
        let mut expected = Vec::new();
        if !update {
            let file = path.display();
            let text = std::fs::read_to_string(path)
                .map_err(|error| usage(format!("reading {file}, to be expected of {output}: {error}")))?;
            for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
                let row = reader.read(line);
                expected.push(
                    row.map_err(|why| usage(format!("{file}:{number}: this is no row of {output}: {why}")))?,
                );
            }
        }
        let (output, file) = (output.to_owned(), path.to_owned());
        Ok(Wanted { output, file, reader, expected, found: Vec::new() })
    }

    /// What was found, in order.
    fn rows(&mut self, outcome: &Outcome, letters: &[Letter]) -> Result<Vec<KnownRow>> {
        let rows = if self.output == DEAD_LETTERS {
            let line = |letter: &Letter| serde_json::json!({"input": letter.input, "line": letter.line, "reason": letter.reason});
            letters.iter().map(|letter| line(letter).to_string()).collect()
        } else {
            final_rows(outcome, &self.output)?
        };
        let known = rows.iter().map(|row| self.reader.read(row));
        let mut known = known.collect::<Result<Vec<_>, _>>().map_err(|why| {
            anyhow!(
                "a row of output {:?} can't be read back, which is a fault in Cutwater: {why}",
                self.output
            )
        })?;
        known.sort();
        Ok(known)
    }
}

/// What comes of the records.
fn answer(args: &TestArgs, dataflow: &Arc<dyn Build>, given: &Given) -> Result<Outcome> {
    let workers = args.workers.map_or(vec![1, 2, 3], |workers| vec![workers.get()]);
    let in_epochs = |epochs: usize| -> Result<Outcome> {
        let mut test = Test::of_built(Arc::clone(dataflow)).topics_by_input();
        if args.workers.is_some() {
            test = test.same_workers();
        }
        for epoch in 0..epochs {
            test = test.epoch(given.epoch(epoch, epochs)).restart();
        }
        test.agreed(workers.clone()).map_err(|how| broken(dataflow.name(), &how))
    };
    if let Some(epochs) = args.epochs {
        return in_epochs(epochs.get());
    }
    let (one, several) = (in_epochs(1)?, in_epochs(SEVERAL)?);
    for output in &Shape::of(&**dataflow)?.outputs {
        let (one, several) = (final_rows(&one, &output.name)?, final_rows(&several, &output.name)?);
        // Both are in order.
        let alike = one.iter().zip(&several).take_while(|(one, several)| one == several).count();
        match (one.get(alike), several.get(alike)) {
            (None, None) => {}
            (Some(row), other) if other.is_none_or(|other| row < other) => {
                return Err(batched(dataflow.name(), &output.name, row, ["1 epoch", "3 epochs"]));
            }
            (_, Some(row)) | (Some(row), None) => {
                return Err(batched(dataflow.name(), &output.name, row, ["3 epochs", "1 epoch"]));
            }
        }
    }
    Ok(one)
}

/// Epochs in which records are read once more.
const SEVERAL: usize = 3;

fn final_rows(outcome: &Outcome, output: &str) -> Result<Vec<String>> {
    outcome.try_rows(output).map_err(|(row, times)| {
        anyhow!("output {output:?} withdraws what is not there: in the end, {row} is there {times} times")
    })
}

fn broken(dataflow: &str, how: &str) -> anyhow::Error {
    anyhow!(
        "{dataflow} breaks the contract of operators that survive (docs/dataflows.md), so a restart could change its answer: {}",
        how.split_whitespace().collect::<Vec<_>>().join(" ")
    )
}

fn batched(dataflow: &str, output: &str, row: &str, [with, without]: [&str; 2]) -> anyhow::Error {
    anyhow!(
        "the answer of {dataflow} depends on how its records come in epochs: output {output:?} has {row} with {with}, and not with \
         {without}. Where that is meant, say with --epochs N how they are to come"
    )
}

/// Says whether all is as expected.
fn compare(wanted: &[Wanted], about: &str) -> Result<()> {
    let mut wrong = Vec::new();
    out::print(|out| {
        for Wanted { output, file, expected, found, .. } in wanted {
            let lines = difference(expected.iter().cloned(), found.iter().cloned());
            if lines.is_empty() {
                continue;
            }
            writeln!(out, "--- {}\n+++ {output}, as found", file.display())?;
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            wrong.push(output.as_str());
        }
        if wrong.is_empty() {
            let rows = |of: &Wanted| match of.output.as_str() {
                DEAD_LETTERS => "the dead letters".to_owned(),
                output => format!("{output} ({})", count(of.found.len() as u64, "row")),
            };
            let outputs: Vec<String> = wanted.iter().map(rows).collect();
            writeln!(out, "ok: {about}; as expected: {}", outputs.join(", "))?;
        }
        Ok(())
    })?;
    match &wrong[..] {
        [] => Ok(()),
        [one] => bail!("{one}: not as expected ({about})"),
        several => bail!("{}: not as expected ({about})", several.join(", ")),
    }
}

/// Writes what was found.
fn update(wanted: &[Wanted], about: &str) -> Result<()> {
    for Wanted { file, found, .. } in wanted {
        let text: String = found.iter().map(|row| format!("{}\n", row.text)).collect();
        std::fs::write(file, text).map_err(|error| anyhow!("writing {}: {error}", file.display()))?;
    }
    let files =
        wanted.iter().map(|of| format!("{} ({})", of.file.display(), count(of.found.len() as u64, "row")));
    let files = files.collect::<Vec<_>>().join(", ");
    out::print(|out| Ok(writeln!(out, "written: {files}; {about}")?))
}

/// Splits `NAME=FILE`; without a name, the file is for the only one.
fn bind<'a>(option: &str, text: &'a str, what: &str, names: &'a [String]) -> Result<(&'a str, &'a Path)> {
    match (names, text.split_once('=')) {
        ([only], Some((name, _))) if only != name && Path::new(text).exists() => Ok((only, Path::new(text))),
        _ => super::bind::bind(option, text, what, names).map(|(name, path)| (name, Path::new(path))),
    }
}
