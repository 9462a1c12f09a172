//! `cutwater produce`: from options to records.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::NonEmptyStringValueParser;

use super::kafka::KafkaArgs;
use super::options::LogArgs;
use crate::log;
use crate::produce::lines::Source;
use crate::produce::pace::Rate;
use crate::produce::{Order, Production, Separator};
use crate::signals::Stopping;

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Lines of files or standard input into a topic, a record a line\n\n\
     A record is the line's bytes, of any encoding, without the line feed that ends it: a carriage return before \
     it stays, an empty line is an empty record, and the last line needs no line feed. Records without a key are \
     spread over the partitions; those with one go where Java's producers would put them.\n\n\
     It returns when every record is acknowledged, and fails if one is not. A record that is too large for the \
     topic does not stop the others; any other error does. Ctrl-C ends reading and waits for what was sent.";

/// The options of `cutwater produce`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ProduceArgs {
    /// Files to read, one after the other; - is standard input, which is read if there are none
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Topic to write to
    #[arg(short, long, value_name = "TOPIC", value_parser = NonEmptyStringValueParser::new(), help_heading = "Records")]
    pub topic: String,
    /// Make the topic with N partitions where it is missing; one that is there is left as it is. Without this a
    /// missing topic is an error, unless the cluster makes topics when they are named
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100_000), help_heading = "Records")]
    pub partitions: Option<i32>,
    /// What is before the first SEPARATOR of a line is the record's key, what follows its value; a line without
    /// one is an error. \t is a tab
    #[arg(long, value_name = "SEPARATOR", help_heading = "Records")]
    pub key: Option<Separator>,
    /// Send N records a second, evenly
    #[arg(long, value_name = "N", help_heading = "Records")]
    pub rate: Option<Rate>,
}

/// Sends lines as the options say, and tells how it went.
pub(super) fn produce(args: &ProduceArgs, general: &LogArgs) -> Result<()> {
    let settings = args.kafka.settings()?;
    let files = if args.files.is_empty() { &[PathBuf::from("-")] } else { &args.files[..] };
    // All are opened before anything is sent.
    let sources = files.iter().map(|path| Source::open(path)).collect::<Result<Vec<_>>>()?;
    let stopping = Stopping::listen()?;
    let order = Order {
        topic: args.topic.clone(),
        partitions: args.partitions,
        key: args.key.clone(),
        rate: args.rate,
    };
    let production = Production::open(&settings, order)?;
    stopping.begin();
    let bar = log::bytes_bar(general.quiet, sources.iter().map(|source| source.bytes).sum());
    let outcome = production.run(sources, &stopping.asked, bar.as_ref());
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if !general.quiet {
        let how = if outcome.result.is_ok() { "done" } else { "acknowledged" };
        log::say(&format!("{how}: {}", outcome.line()));
    }
    outcome.result
}
