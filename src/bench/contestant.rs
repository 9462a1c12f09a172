//! What is measured until the end of a topic, each in a process of its own: its memory is fresh, and its processor time
//! is that of nothing else.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;
use cutwater_dataflows::word_count::WordCount;
use serde::{Deserialize, Serialize};

use super::bare::Bare;
use super::process::{Process, peak_of_self, seconds_of_self};
use super::rows::Row;
use super::single;
use crate::epoch::EpochOptions;
use crate::fault::Fault;
use crate::feed::Place;
use crate::feed::kafka::{From, KafkaFeeds, OnDataLoss, Reading};
use crate::job::{self, Binding, Job, Stop, Viewing, Workers};
use crate::kafka::client::Settings;
use crate::kafka::topics::Pattern;
use crate::sink::{Emit, Sink};
use crate::status::Status;

/// Who reads the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Contestant {
    /// Bare consumers, as many as there are workers: each record is dropped.
    Ceiling,
    /// As many that are handed one message a call.
    Single,
    /// One thread that polls a bare consumer, splits and counts in one hash map: what a programmer would write.
    Program,
    /// The dataflow `word-count`, as `cutwater run` runs it.
    WordCount,
}

impl Contestant {
    /// True iff it counts words; others drop what they read.
    pub(super) fn counts(self) -> bool {
        matches!(self, Contestant::Program | Contestant::WordCount)
    }
}

/// What a contestant is told.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) contestant: Contestant,
    pub(super) settings: Settings,
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partitions: i32,
    pub(super) workers: usize,
}

/// What a contestant tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    /// Records read.
    pub(super) records: u64,
    /// From before its consumers were made until all was read or counted.
    pub(super) seconds: f64,
    /// Processor time of all its threads.
    pub(super) cpu_seconds: f64,
    /// The most memory that it had resident, in bytes.
    pub(super) peak_bytes: u64,
    /// Of those that count.
    pub(super) counts: Option<HashMap<String, u64>>,
}

/// Runs a contestant in a process of its own.
///
/// # Errors
/// If it fails, or `stop` was requested.
pub(super) fn run(order: &Order, stop: &Stop) -> Result<Told> {
    let args = ["bench", "--contestant", "--log", "warn,librdkafka=error"].map(str::to_owned);
    let what = format!("the contestant {:?}", order.contestant);
    let mut process = Process::start(&what, &args, &serde_json::to_vec(order)?)?;
    let mut told = Vec::new();
    let mut stdout = process.stdout();
    let reading = std::thread::spawn(move || stdout.read_to_end(&mut told).map(|_| told));
    process.wait(stop)?;
    let told = reading.join().map_err(|_| anyhow!("reading what {what} told has failed"))??;
    serde_json::from_slice(&told).with_context(|| format!("reading what {what} told"))
}

/// The process of a contestant: it reads its order from standard input, and tells on standard output.
///
/// # Errors
/// If the order is none, or the contestant fails.
pub(super) fn serve() -> Result<()> {
    let mut order = Vec::new();
    std::io::stdin().read_to_end(&mut order)?;
    let order: Order = serde_json::from_slice(&order).context("reading the order of a contestant")?;
    let before = seconds_of_self();
    let (records, seconds, counts) = match order.contestant {
        Contestant::Ceiling => dropped(&order, ceiling)?,
        Contestant::Single => dropped(&order, single)?,
        Contestant::Program => program(&order)?,
        Contestant::WordCount => word_count(&order)?,
    };
    let (cpu_seconds, peak_bytes) = (seconds_of_self() - before, peak_of_self());
    let told = Told { records, seconds, cpu_seconds, peak_bytes, counts };
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, &told)?;
    stdout.flush()?;
    Ok(())
}

/// Records, seconds, counts.
type Run = (u64, f64, Option<HashMap<String, u64>>);

/// Partitions of the topic.
type Partitions<'a> = &'a mut dyn Iterator<Item = i32>;

/// Has `read` read the topic in a thread a worker, each of them the partitions that the worker would have. It returns how
/// many records that were, and when the last one was there: closing a consumer may take a tenth of a second more, which
/// is not reading.
fn dropped(order: &Order, read: fn(&Order, Partitions<'_>) -> Result<(u64, Instant)>) -> Result<Run> {
    let start = Instant::now();
    let (records, end) = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..order.workers)
            .map(|worker| {
                let place = Place { worker, workers: order.workers };
                scope.spawn(move || {
                    read(order, &mut (0..order.partitions).filter(|&p| place.owns(&order.topic, p)))
                })
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().map_err(|_| anyhow!("a bare consumer panicked"))?)
            .try_fold((0, start), |(records, end), reader| {
                let (more, ended) = reader?;
                Ok::<_, anyhow::Error>((records + more, end.max(ended)))
            })
    })?;
    Ok((records, (end - start).as_secs_f64(), None))
}

fn ceiling(order: &Order, partitions: Partitions<'_>) -> Result<(u64, Instant)> {
    let mut bare = Bare::open(&order.settings, &order.topic, partitions)?;
    let mut records = 0;
    while !bare.has_ended() {
        records += bare.skip()?;
    }
    Ok((records, Instant::now()))
}

fn single(order: &Order, partitions: Partitions<'_>) -> Result<(u64, Instant)> {
    single::skip(&order.settings, &order.topic, partitions)
}

fn program(order: &Order) -> Result<Run> {
    let start = Instant::now();
    let mut bare = Bare::open(&order.settings, &order.topic, 0..order.partitions)?;
    let mut counts: hashbrown::HashMap<String, u64> = hashbrown::HashMap::new();
    let mut records = 0;
    while !bare.has_ended() {
        bare.read(&mut |record| {
            records += 1;
            let Some(Ok(line)) = record.value.map(std::str::from_utf8) else { return };
            for word in line.split_whitespace() {
                *counts.entry_ref(word).or_default() += 1;
            }
        })?;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok((records, seconds, Some(counts.into_iter().collect())))
}

fn word_count(order: &Order) -> Result<Run> {
    let reading = Reading {
        from: From::Earliest,
        until_end: true,
        on_data_loss: OnDataLoss::Fail,
        group: order.group.clone(),
        commits: true,
    };
    let fault = Fault::default();
    let inputs = BTreeMap::from([("lines".to_owned(), vec![Pattern::Name(order.topic.clone())])]);
    let feeds = KafkaFeeds::connect(order.settings.clone(), reading, inputs, Vec::new(), &fault)?
        .with_workers(order.workers);
    let rows = Rows::default();
    let job = Job {
        dataflow: Arc::new(WordCount::default()),
        feeds: Arc::new(feeds),
        epochs: EpochOptions::at_end(),
        outputs: vec![Binding { emits: vec![Emit::Final], ..Binding::new(vec![Box::new(rows.clone())]) }],
        dead_letters: Vec::new(),
        letters_are_kept: false,
        cuts: None,
        views: Viewing::Off,
        state: None,
        status: Status::default(),
    };
    let status = job.status.clone();
    let workers = Workers::threads(order.workers)?;
    let start = Instant::now();
    job::run(job, workers, &Stop::default(), &fault)?;
    let held = rows.0.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = held.ended.context("the run has ended without its rows")?;
    let mut counts = HashMap::with_capacity(held.rows.len());
    for row in &held.rows {
        let row = Row::read(row)?;
        let twice = counts.insert(row.word.clone().into_owned(), row.count);
        ensure!(twice.is_none(), "the word {:?} has two rows", row.word);
    }
    Ok((status.figures().records, (ended - start).as_secs_f64(), Some(counts)))
}

/// Takes the rows that are there after the end.
#[derive(Clone, Default)]
struct Rows(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    rows: Vec<Vec<u8>>,
    ended: Option<Instant>,
}

impl Sink for Rows {
    fn write(&mut self, _epoch: Epoch, _output: &str, changes: &[Change]) -> Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.rows.extend(changes.iter().map(|change| change.row.to_vec()));
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch, _reports: &[Report]) -> Result<()> {
        if epoch == END {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(Instant::now());
        }
        Ok(())
    }
}
