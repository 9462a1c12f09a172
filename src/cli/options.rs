//! The options of `cutwater run`, as typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

#[cfg(feature = "http")]
use super::http::HttpArgs;
use super::kafka::{KafkaArgs, duration};
use crate::epoch::EpochOptions;
use crate::feed::kafka::{From, OnDataLoss};
use crate::kafka::client::Fetch;
use crate::kafka::topics::Making;
use crate::log::{self, LogFormat};
use crate::sink::too_large::OnTooLarge;
use crate::sink::{Delivery, Target, WEBHOOK_MAX_BYTES};
use crate::supervise::Restart;

/// The options of `cutwater run`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Bind an input to a topic; TOPIC alone binds the only input; ^REGEX is allowed; repeatable
    #[arg(short, long, value_name = "NAME=TOPIC", help_heading = "Input")]
    pub topic: Vec<String>,
    /// How an input is read, as text, json, csv (csv:HEADER names its fields, with the delimiter between them), avro or protobuf:MESSAGE, and what
    /// a record means, append, upsert or debezium; FORMAT alone binds the only input; repeatable [default: text for rows
    /// of one text, json for others]
    #[arg(short, long, value_name = "INPUT=FORMAT+ENVELOPE", help_heading = "Input")]
    pub format: Vec<String>,
    /// The registry that has the schemas of avro's records: http:// or https://, with user and password where it asks for them
    #[arg(long, value_name = "URL", help_heading = "Input")]
    pub schema_registry: Option<String>,
    /// The descriptors of protobuf's messages, as protoc --include_imports --descriptor_set_out writes them
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub descriptor: Option<PathBuf>,
    /// Where to start: earliest, latest, committed, timestamp:MS or offset:N
    #[arg(long, value_name = "WHERE", default_value = "earliest", help_heading = "Input")]
    pub from: From,
    /// Stop at the offsets that are the end now
    #[arg(long, help_heading = "Input")]
    pub until_end: bool,
    /// How records are fetched: by librdkafka, or by direct fetches of Cutwater, which cost less (docs/direct-fetch.md)
    #[arg(long, value_enum, value_name = "librdkafka|direct", default_value_t = Fetch::Librdkafka, hide_possible_values = true, help_heading = "Input")]
    pub fetch: Fetch,
    /// What to do where wanted records have expired, or went with their topic
    #[arg(long, value_enum, value_name = "fail|continue", default_value_t = OnDataLoss::Fail, hide_possible_values = true, help_heading = "Input")]
    pub on_data_loss: OnDataLoss,

    /// Worker threads a process
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = workers, help_heading = "Cluster")]
    pub workers: NonZeroUsize,
    /// Processes; without --process all are started here
    #[arg(short = 'n', long, value_name = "N", default_value = "1", value_parser = workers, help_heading = "Cluster")]
    pub processes: NonZeroUsize,
    /// Run only process I of them; needs --hostfile
    #[arg(short, long, value_name = "I", help_heading = "Cluster")]
    pub process: Option<usize>,
    /// One host:port a line, one line a process
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub hostfile: Option<PathBuf>,
    /// A file with the secret of the cluster, the same for all processes: each proves to the others that it knows it, without
    /// sending it
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub cluster_secret_file: Option<PathBuf>,
    /// Take any process that connects, where --hostfile names other hosts and there is no secret
    #[arg(long, help_heading = "Cluster")]
    pub cluster_open: bool,
    /// How long another process may be silent before its connection is lost and the run ends
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, help_heading = "Cluster")]
    pub peer_timeout: Duration,

    /// Start all processes that run here again from the state, after failures: never, on-failure, or on-failure:N, which
    /// ends with N failures in a row between which no new epoch was published (10); needs --state
    #[arg(long, value_name = "WHEN", default_value = "never", help_heading = "Cluster")]
    pub restart: Restart,
    /// How long a run may take to end after SIGINT or SIGTERM, whatever it waits for
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration, help_heading = "Cluster")]
    pub stop_timeout: Duration,

    /// Shortest time an epoch stays open [default: 100ms; 1s with --emit final]
    #[arg(short, long, value_name = "DURATION", value_parser = duration, help_heading = "Epochs")]
    pub epoch: Option<Duration>,
    /// Records of a worker after which an epoch closes earlier
    #[arg(long, value_name = "N", default_value_t = at_least_one(EpochOptions::default().max_records), value_parser = number, help_heading = "Epochs")]
    pub max_records: NonZeroUsize,
    /// Bytes of a worker's records, or of what they decode to, after which an epoch closes earlier
    #[arg(long, value_name = "N", default_value_t = at_least_one(EpochOptions::default().max_bytes), value_parser = number, help_heading = "Epochs")]
    pub max_bytes: NonZeroUsize,
    /// Closed epochs that may be unfinished
    #[arg(long, value_name = "N", default_value_t = at_least_one(EpochOptions::default().in_flight), value_parser = number, help_heading = "Epochs")]
    pub in_flight: NonZeroUsize,

    /// How long a partition may have no records before it no longer holds the watermark back
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration, help_heading = "Epochs")]
    pub idle_after: Duration,

    /// How far behind the watermark a record may come and still count; a later one becomes a dead letter, and state that
    /// nothing can change any more is dropped [default: unlimited]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Epochs")]
    pub lateness: Option<Duration>,

    /// Keep ledger and checkpoints there and resume from them: a folder, file://PATH or s3://BUCKET/PREFIX
    #[arg(short, long, value_name = "DIR|URL", help_heading = "State")]
    pub state: Option<String>,
    /// Time between checkpoints; needs --state [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "State")]
    pub checkpoint: Option<Duration>,
    /// How long to keep the ledger of epochs that no restart needs; needs --state [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "State")]
    pub ledger_retention: Option<Duration>,

    /// Send an output to stdout, kafka:TOPIC, file:PATH, webhook:URL or none; SINK alone binds the only output, none alone
    /// all; repeatable [default: stdout]
    #[arg(short = 'o', long, value_name = "OUTPUT=SINK", help_heading = "Output")]
    pub to: Vec<String>,
    /// What sinks get of an output, or of all: changes, upserts, append, final; final needs --until-end; repeatable
    /// [default: append for outputs that only grow, upserts to kafka, changes to others]
    #[arg(long, value_name = "[OUTPUT=]MODE", help_heading = "Output")]
    pub emit: Vec<String>,
    /// Bytes of a POST at most; rows that are more in an epoch are several POSTs, a larger row is one of its own
    #[arg(long, value_name = "N", default_value_t = at_least_one(WEBHOOK_MAX_BYTES), help_heading = "Output")]
    pub webhook_max_bytes: NonZeroUsize,
    /// Keep records that could not be decoded, in a sink as of --to
    #[arg(long, value_name = "SINK", help_heading = "Output")]
    pub dead_letter: Option<Target>,
    /// Make output and dead-letter topics that are missing; without REPLICATION, as many copies as the cluster makes
    #[arg(long, value_name = "PARTITIONS[:REPLICATION]", help_heading = "Output")]
    pub create_topics: Option<Making>,
    /// How often a reader of a Kafka topic sees each change: once, in transactions; or, sooner to be read, at least once: after
    /// a crash some records come a second time, with the same key and header epoch
    #[arg(long, value_enum, value_name = "exactly-once|at-least-once", default_value_t = Delivery::ExactlyOnce, hide_possible_values = true, help_heading = "Output")]
    pub delivery: Delivery,
    /// What to do with a row that is larger than its topic takes; dead-letter needs --dead-letter
    #[arg(long, value_enum, value_name = "fail|dead-letter", default_value_t = OnTooLarge::Fail, hide_possible_values = true, help_heading = "Output")]
    pub on_too_large: OnTooLarge,

    #[cfg(feature = "http")]
    #[command(flatten)]
    pub http: HttpArgs,

    /// Draw a table on the terminal while it runs: how fast it is, how far behind, and the rows of the first output that have
    /// most of its first number. Needs outputs that go elsewhere than to stdout
    #[cfg(feature = "live")]
    #[arg(long, help_heading = "Output")]
    pub live: bool,

    /// All of them, as others may see them
    #[cfg(feature = "http")]
    #[arg(skip)]
    pub options: std::collections::BTreeMap<String, Vec<String>>,
}

impl RunArgs {
    /// Is a table to be drawn?
    #[cfg(feature = "http")]
    pub(super) fn live(&self) -> bool {
        #[cfg(feature = "live")]
        return self.live;
        #[cfg(not(feature = "live"))]
        false
    }
}

/// The options of `cutwater demo`.
#[cfg(feature = "demo")]
#[derive(clap::Args, Clone, Debug)]
pub(super) struct DemoArgs {
    /// How many seconds to generate text
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Seed of the text: the same seed gives the same lines
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,
    /// Worker threads
    #[arg(short, long, value_name = "N", default_value = "2", value_parser = workers)]
    pub workers: NonZeroUsize,
    /// Lines a second at most [default: as many as are read]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}

/// Workers over all processes. Each has a channel to each for every exchange: far fewer than this are of use.
pub(super) const MOST_WORKERS: usize = 1024;

/// Reads a whole number of 1 or more.
pub(super) fn number(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| format!("expected a whole number from 1 to {}", usize::MAX))
}

/// Reads a number of workers or processes.
pub(super) fn workers(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(number) if number.get() <= MOST_WORKERS => Ok(number),
        _ => Err(format!("expected a whole number from 1 to {MOST_WORKERS}")),
    }
}

fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}

/// Options of every subcommand.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "General")]
pub(super) struct LogArgs {
    /// TOML file with options by their long names; flags win
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log to standard error: a level, or target=level,...
    #[arg(long, value_name = "FILTER", default_value = "info,librdkafka=warn")]
    pub log: String,
    /// How a line of the log looks: text, or json, an object a line
    #[arg(long, value_enum, value_name = "text|json", default_value_t = LogFormat::Text, hide_possible_values = true)]
    pub log_format: LogFormat,
    /// Show what is in records, keys and values, where the log speaks of them; an error that ends a run names the key anyway
    #[arg(long)]
    pub log_payloads: bool,
    /// Log errors only, and draw no progress
    #[arg(long)]
    pub quiet: bool,
}

impl LogArgs {
    /// Starts logging.
    ///
    /// # Errors
    /// A usage error if the filter is not one.
    pub(super) fn start(&self) -> Result<()> {
        let filter = if self.quiet { "error" } else { &self.log };
        log::start(filter, self.log_format, self.log_payloads)
    }
}
