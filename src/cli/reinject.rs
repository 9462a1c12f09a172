//! `cutwater reinject`: corrected dead letters back to where they came from.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::builder::NonEmptyStringValueParser;

use super::kafka::KafkaArgs;
use super::options::LogArgs;
use crate::log;
use crate::reinject::letter::{Letter, corrected, of_topic, read_all};
use crate::reinject::{Options, run};
use crate::shown::count;
use crate::usage::usage;

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Put corrected dead letters back into the topics that they came from\n\n\
     cutwater reinject --dead-letters file:dead.jsonl corrected.jsonl\n\n\
     FILE has a corrected dead letter a line: topic, partition and offset, which say which one it is, and the new value, in \
     `value` as text or JSON, or in `value_base64`; so a line of the file of dead letters will do, with another value. Key and \
     timestamp are those of the dead letter, unless the line has others (`key` or `key_base64`, `timestamp`). `-` is standard \
     input. Without FILE, the dead letters themselves are put back, as they are now in their file.\n\n\
     A record goes to the partition of the one that it corrects, with that one's event time and headers, and with the header \
     __cutwater.reinjected: TOPIC/PARTITION/OFFSET of that one. What is computed from the topic is then as if it had been right all along, \
     and only what it concerns changes.\n\n\
     A letter that was put back before is refused, whoever did it and however it ended: those headers are looked for in \
     the topic, and what is put back is put back in transactions, up to 10,000 records each. After a crash, the same command with \
     --skip puts back the rest.";

/// The options of `cutwater reinject`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ReinjectArgs {
    /// Corrected dead letters, one a line; - is standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,

    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Where the dead letters are, as of `run`: file:PATH or kafka:TOPIC
    #[arg(long, value_name = "SOURCE", value_parser = NonEmptyStringValueParser::new(), help_heading = "Dead letters")]
    pub dead_letters: String,
    /// Leave out those that were put back before, instead of refusing all
    #[arg(long, help_heading = "Dead letters")]
    pub skip: bool,
    /// The input is a table: leave out those whose key has a newer record, which stands
    #[arg(long, help_heading = "Dead letters")]
    pub table: bool,
    /// Say what would be put back, and change nothing
    #[arg(long, help_heading = "Dead letters")]
    pub dry_run: bool,
}

/// Puts dead letters back, as the options say.
///
/// # Errors
/// If a line is no dead letter, one was put back before, or the cluster refuses.
pub(super) fn reinject(args: &ReinjectArgs, general: &LogArgs) -> Result<()> {
    let settings = args.kafka.settings()?;
    let corrections = args.file.as_deref().map(lines).transpose()?;
    let letters = match args.dead_letters.split_once(':') {
        Some(("kafka", topic)) if !topic.is_empty() => of_topic(&settings, topic)?,
        Some(("file", path)) if !path.is_empty() => lines(Path::new(path))?,
        _ => {
            return Err(usage(format!(
                "--dead-letters {}: expected file:PATH or kafka:TOPIC",
                args.dead_letters
            )));
        }
    };
    let letters = corrected(letters, corrections, &args.dead_letters)?;
    let options = Options { skip: args.skip, table: args.table, dry_run: args.dry_run };
    let outcome = run(&settings, letters, options)?;
    if !general.quiet {
        let how = if args.dry_run { "would be put back" } else { "put back" };
        let mut line = format!("done: {} {how}", count(outcome.back, "record"));
        if outcome.before > 0 {
            line += &format!("; {} left out, as put back before", outcome.before);
        }
        if outcome.newer > 0 {
            line += &format!("; {} left out, as their keys have newer records", outcome.newer);
        }
        log::say(&line);
    }
    Ok(())
}

/// The letters in a file, or on standard input.
fn lines(path: &Path) -> Result<Vec<Letter>> {
    let name = path.display().to_string();
    let mut text = String::new();
    let read = match &*name {
        "-" => std::io::stdin().read_to_string(&mut text).map(drop),
        _ => std::fs::read_to_string(path).map(|read| text = read),
    };
    read.with_context(|| format!("reading {name}"))?;
    read_all(&name, &text)
}
