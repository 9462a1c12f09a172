//! `cutwater demo`: word-count on generated text, with nothing but this program.
//!
//! An in-process broker, made for tests, holds a topic; a generator writes to it; a job reads it by the same
//! feed, workers and publishing as `cutwater run`. At the end, the counts that the job's changes add up to are
//! compared with those of the generator, which knows what it drew.
//!
//! - `text`: words and how often they come; `generate`: writing them no faster than they are read
//! - `counts`: the rows that leave the job, and the comparison
//!
//! What is shown is `live`'s affair.

mod counts;
mod generate;
mod text;

use std::collections::BTreeMap;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use cutwater_dataflows::word_count::WordCount;
use indicatif::HumanCount;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::cluster::Cluster;
use crate::epoch::EpochOptions;
use crate::fault::Fault;
use crate::feed::kafka::{From, KafkaFeeds, OnDataLoss, Reading};
use crate::job::{self, Binding, Job, Stop, Viewing};
use crate::kafka::client::Settings;
use crate::kafka::topics::Pattern;
use crate::live::picture::{Picture, Progress, Rates, Top, TopRow};
use crate::live::screen::Screen;
use crate::log;
use crate::out::{self, Closed};
use crate::shown::count;
use crate::signals;
use crate::status::{Figures, Status};
use counts::{Counts, Row};
use generate::{Generator, Recount, Topic};

/// The topic, and the word-count's input it is bound to.
const TOPIC: &str = "lines";
const PARTITIONS: i32 = 4;
/// How long what is left may take to be counted, once all is generated.
const DRAIN: Duration = Duration::from_secs(60);
/// How often the demo looks at the run.
const TICK: Duration = Duration::from_millis(50);
/// Words of which the table may show as many as fit.
const TOP: usize = 100;
/// Words that are printed at the end.
const FINAL: usize = 10;
/// Words with a wrong count that are named.
const NAMED: usize = 10;

/// What to show, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long to generate.
    pub length: Duration,
    /// The seed of the text.
    pub seed: u64,
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// Lines a second at most.
    pub rate: Option<u32>,
    /// Show no progress.
    pub quiet: bool,
}

/// Runs the demo to its end, which comes when its time is over, or with `q` or SIGINT.
///
/// # Errors
/// If a part of it fails, or the counts are not those of the recount: it names the words that differ.
pub fn run(options: &Options) -> Result<()> {
    let signals = signals::listen()?;
    // Dropped only when all is over: its clients would complain, and hide what went wrong.
    let broker = ManuallyDrop::new(broker()?);
    let settings = settings(&broker);
    let (status, stop, fault, counts) =
        (Status::default(), Stop::default(), Fault::default(), Counts::default());
    let running = start(options, settings.clone(), status.clone(), &stop, &fault, counts.clone())?;
    let topic = Topic { name: TOPIC.to_owned(), partitions: PARTITIONS };
    let generator = Generator::start(options.seed, options.rate, topic.clone(), &settings, status.clone())?;
    let screen = Screen::open(options.quiet, signals)?;
    let table = screen.is_table();
    let start = Instant::now();
    let demo = Demo {
        options,
        status: status.clone(),
        counts: counts.clone(),
        running: Some(running),
        topic,
        generated: generator.lines(),
        screen,
        asked: 0,
        start,
        rates: Rates::new(start),
    };
    let recount = demo.watch(generator, &stop)?;
    drop(ManuallyDrop::into_inner(broker));
    let figures = status.figures();
    verify(&counts, &recount, figures.records, figures.rows)?;
    if !options.quiet {
        log::say(&format!("done: {}", figures.line()));
    }
    // The table that stays on the terminal has them.
    if !table {
        match out::print(|out| print_top(&counts, out)) {
            // Ctrl-C ends the reader of a pipe, too.
            Err(error) if error.is::<Closed>() => {}
            result => result?,
        }
    }
    if !options.quiet {
        log::say(&format!(
            "verified: {} distinct words, {} in all, in {} records: every count equals an independent recount of what \
             was generated",
            HumanCount(recount.words().len() as u64),
            HumanCount(recount.total()),
            HumanCount(recount.lines),
        ));
    }
    Ok(())
}

/// Starts the broker, with the topic. It can't leave this thread, and ends when it is dropped.
fn broker() -> Result<MockCluster<'static, DefaultProducerContext>> {
    let broker = MockCluster::new(1).context("starting the in-process broker")?;
    broker.create_topic(TOPIC, PARTITIONS, 1).context("making a topic in the in-process broker")?;
    Ok(broker)
}

fn settings(broker: &MockCluster<'static, DefaultProducerContext>) -> Settings {
    Settings {
        brokers: broker.bootstrap_servers(),
        // That broker answers a fetch that found nothing only after all of this time.
        properties: vec![("fetch.wait.max.ms".to_owned(), "10".to_owned())],
        files: Vec::new(),
        connect_timeout: Duration::from_secs(10),
        ..Settings::default()
    }
}

/// Starts the job, as `cutwater run` would, in a thread of its own.
fn start(
    options: &Options,
    settings: Settings,
    status: Status,
    stop: &Stop,
    fault: &Fault,
    counts: Counts,
) -> Result<JoinHandle<Result<()>>> {
    let reading = Reading {
        from: From::Earliest,
        until_end: false,
        on_data_loss: OnDataLoss::Fail,
        group: "cutwater-demo".to_owned(),
        commits: true,
    };
    let inputs = BTreeMap::from([(TOPIC.to_owned(), vec![Pattern::Name(TOPIC.to_owned())])]);
    let feeds = KafkaFeeds::connect(settings.clone(), reading, inputs, Vec::new(), fault)?
        .with_workers(options.workers.get());
    feeds.show_lag(&status);
    let cluster = Cluster {
        workers: options.workers.get(),
        process: 0,
        addresses: Vec::new(),
        listener: None,
        fingerprint: 0,
        secret: None,
        timeout: settings.connect_timeout,
        peer_timeout: settings.connect_timeout,
    };
    let workers = cluster.connect()?.workers()?;
    let job = Job {
        dataflow: Arc::new(WordCount::default()),
        feeds: Arc::new(feeds),
        epochs: EpochOptions::default(),
        outputs: vec![Binding::new(vec![Box::new(counts)])],
        dead_letters: Vec::new(),
        letters_are_kept: false,
        cuts: None,
        views: Viewing::Off,
        state: None,
        status,
    };
    let (stop, fault) = (stop.clone(), fault.clone());
    std::thread::Builder::new()
        .name("cutwater:job".into())
        .spawn(move || job::run(job, workers, &stop, &fault))
        .context("starting the job's thread")
}

/// The demo while it runs.
struct Demo<'a> {
    options: &'a Options,
    status: Status,
    counts: Counts,
    /// The job's thread, until it is joined.
    running: Option<JoinHandle<Result<()>>>,
    topic: Topic,
    /// Lines that the generator has generated.
    generated: Arc<AtomicU64>,
    screen: Screen,
    /// How often somebody asked to stop.
    asked: u32,
    start: Instant,
    rates: Rates,
}

impl Demo<'_> {
    /// Shows the run until all is generated and counted, and ends it.
    fn watch(mut self, generator: Generator, stop: &Stop) -> Result<Recount> {
        while self.asked == 0 && self.start.elapsed() < self.options.length && !generator.has_ended() {
            self.tick(Phase::Generating)?;
        }
        generator.stop();
        let deadline = Instant::now() + DRAIN;
        while !generator.has_ended() {
            self.drain(deadline, None)?;
        }
        let recount = generator.join()?;
        while self.status.figures().records < recount.lines {
            self.drain(deadline, Some(recount.lines))?;
        }
        stop.request();
        let last = self.picture(Phase::Done, self.figures());
        self.screen.close(&last)?;
        join(self.running)?;
        Ok(recount)
    }

    /// A tick after the generator was told to stop.
    fn drain(&mut self, deadline: Instant, lines: Option<u64>) -> Result<()> {
        self.tick(Phase::Draining)?;
        if self.asked > 1 {
            bail!("second signal, stopped now: the counts were not verified");
        }
        if Instant::now() < deadline {
            return Ok(());
        }
        let figures = self.status.figures();
        let lag: Vec<String> = figures
            .lag
            .iter()
            .map(|((topic, partition), lag)| format!("{topic}/{partition}: {lag}"))
            .collect();
        bail!(
            "{} s after the generator was stopped, {} of {} records are counted; lag {}",
            DRAIN.as_secs(),
            figures.records,
            lines.map_or_else(|| "an unknown number of".to_owned(), |lines| lines.to_string()),
            lag.join(", "),
        )
    }

    /// Shows what there is, and waits a little.
    fn tick(&mut self, phase: Phase) -> Result<()> {
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) {
            // The job ends by itself only by an error.
            join(self.running.take())?;
            bail!("the job ended before it was asked to");
        }
        let figures = self.figures();
        self.rates.update(Instant::now(), &figures);
        if self.screen.is_due() {
            let picture = self.picture(phase, figures);
            self.screen.show(&picture)?;
        }
        self.asked += u32::from(self.screen.wait(TICK)?);
        Ok(())
    }

    /// The run's figures, with the lag as the generator knows it: what is generated and not yet counted. The end that the
    /// consumer knows is that of its last fetch, which it has read by the time that an epoch is published.
    fn figures(&self) -> Figures {
        let generated = self.generated.load(Ordering::Relaxed);
        let mut figures = self.status.figures();
        for (partition, lines) in self.topic.lines_of(generated) {
            let place = (self.topic.name.clone(), partition);
            let counted = figures.next.get(&place).copied().unwrap_or(0);
            figures.lag.insert(place, (lines as i64 - counted).max(0));
        }
        figures
    }

    fn picture(&self, phase: Phase, figures: Figures) -> Picture {
        let Options { seed, workers, .. } = *self.options;
        let hint = if phase == Phase::Generating { ", q ends it" } else { "" };
        let lags = figures.lag.iter().map(|((_, partition), &lag)| (partition.to_string(), lag)).collect();
        Picture {
            name: "cutwater demo",
            dataflow: "word-count".to_owned(),
            title: format!(
                "{}, {PARTITIONS} partitions, seed {seed}{hint}",
                count(workers.get() as u64, "worker")
            ),
            progress: self.progress(phase),
            elapsed: self.start.elapsed(),
            rows: "words",
            figures,
            now: self.rates.now(),
            mean: self.rates.mean(),
            history: self.rates.history(),
            lags: ("not yet counted, records", lags),
            top: self.top(),
        }
    }

    fn progress(&self, phase: Phase) -> Progress {
        let (elapsed, length) = (self.start.elapsed(), self.options.length);
        let (done, seconds) = (elapsed.as_secs(), length.as_secs());
        match phase {
            Phase::Generating => Progress {
                part: Some(elapsed.as_secs_f64() / length.as_secs_f64().max(1.0)),
                text: format!("{} s of {seconds} s", done.min(seconds)),
            },
            Phase::Draining => Progress { part: Some(1.0), text: "counting what is left".to_owned() },
            Phase::Done => Progress { part: Some(1.0), text: format!("done after {done} s") },
        }
    }

    fn top(&self) -> Top {
        let top = self.counts.top(TOP);
        let row = |(name, count): (String, i64)| TopRow {
            name,
            value: HumanCount(u64::try_from(count).unwrap_or(0)).to_string(),
            size: count as f64,
        };
        Top {
            title: format!("top words, of {} distinct", HumanCount(top.distinct as u64)),
            rows: top.words.into_iter().map(row).collect(),
        }
    }
}

/// Where the demo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Text is generated and counted.
    Generating,
    /// All is generated; the rest is being counted.
    Draining,
    /// All is counted.
    Done,
}

fn join(running: Option<JoinHandle<Result<()>>>) -> Result<()> {
    match running {
        Some(running) => running.join().map_err(|_| anyhow!("the job panicked"))?,
        None => Ok(()),
    }
}

/// Compares what was counted with what was generated.
fn verify(counts: &Counts, recount: &Recount, records: u64, words: u64) -> Result<()> {
    let differences = counts.differences(&recount.words());
    if !differences.is_empty() {
        let named: Vec<String> = differences
            .iter()
            .take(NAMED)
            .map(|(word, found, expected)| format!("{word}: {found} instead of {expected}"))
            .collect();
        bail!(
            "the counts are wrong; those that differ from a recount of what was generated, {} in all: {}{}",
            differences.len(),
            named.join(", "),
            if differences.len() > NAMED { ", ..." } else { "" },
        );
    }
    if (records, words) != (recount.lines, recount.total()) {
        bail!(
            "the figures are wrong: {records} records and {words} words instead of {} and {}",
            recount.lines,
            recount.total(),
        );
    }
    Ok(())
}

/// Writes the most frequent words, as the rows they are.
fn print_top(counts: &Counts, out: &mut dyn Write) -> Result<()> {
    for (word, count) in counts.top(FINAL).words {
        serde_json::to_writer(&mut *out, &Row { word: word.into(), count })?;
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Sink;
    use cutwater_dataflows::render::Change;

    /// A recount of a hundred lines, and counts that equal it.
    fn sample() -> (Counts, Recount) {
        let recount = Recount::of(7, 100);
        let changes: Vec<Change> = recount
            .words()
            .into_iter()
            .map(|(word, count)| {
                let row = serde_json::to_vec(&Row { word: word.into(), count: count as i64 }).unwrap();
                Change { key: Vec::new().into(), row: row.into(), diff: 1 }
            })
            .collect();
        let mut counts = Counts::default();
        counts.write(1, "counts", &changes).unwrap();
        (counts, recount)
    }

    fn change(counts: &mut Counts, word: &str, from: i64, to: i64) {
        let change = |count, diff| {
            let row = serde_json::to_vec(&Row { word: word.into(), count }).unwrap();
            Change { key: Vec::new().into(), row: row.into(), diff }
        };
        counts.write(2, "counts", &[change(from, -1), change(to, 1)]).unwrap();
    }

    #[test]
    fn equal_counts_pass() {
        let (counts, recount) = sample();
        verify(&counts, &recount, 100, recount.total()).unwrap();
    }

    #[test]
    fn a_count_that_differs_fails_and_is_named() {
        let (mut counts, recount) = sample();
        let the = recount.words()["the"] as i64;
        change(&mut counts, "the", the, the + 1);
        let error = verify(&counts, &recount, 100, recount.total()).unwrap_err().to_string();
        assert!(
            error.contains("1 in all") && error.contains(&format!("the: {} instead of {the}", the + 1)),
            "{error}"
        );
    }

    #[test]
    fn records_or_words_that_are_missing_fail() {
        let (counts, recount) = sample();
        assert!(verify(&counts, &recount, 99, recount.total()).is_err());
        assert!(verify(&counts, &recount, 100, recount.total() - 1).is_err());
    }
}
