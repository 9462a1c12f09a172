//! Word-count at an offered rate: from a producer's appends to a reader of what was committed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::broker::Broker;
use super::command::Run;
use super::cores::Meter;
use super::latency::{Seen, Sent, latencies};
use super::load::Load;
use super::process::Process;
use super::reader::Reader;
use super::report::{Offered, Quantiles};
use super::workload::{Placing, Spec, Text};
use crate::job::Stop;
use crate::sink::Delivery;

/// Partitions of the topic that word-count writes to, as in Pathway's published WordCount.
const PARTITIONS: i32 = 1;
/// Seconds at the beginning of which latencies are not looked at.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the first record may take to be counted: the program starts meanwhile.
const BEGIN: Duration = Duration::from_secs(60);
/// How long what is left may take to be counted.
const DRAIN: Duration = Duration::from_secs(60);
/// How far behind word-count may be when the offer ends, for the rate to be sustained.
const BEHIND: Duration = Duration::from_secs(1);
/// How often to look for what is awaited.
const LOOK: Duration = Duration::from_millis(2);

/// An offer.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    /// Records a second.
    pub(super) rate: f64,
    /// For how long, beyond the beginning.
    pub(super) time: Duration,
    pub(super) epoch: Duration,
    pub(super) workers: usize,
    pub(super) processes: usize,
    /// Where word-count keeps state.
    pub(super) state: Option<PathBuf>,
    /// How often its readers see each change.
    pub(super) delivery: Delivery,
}

/// Makes the offer, to a word-count of its own, and checks every count.
///
/// # Errors
/// If anything fails, a count is wrong, or `stop` was requested.
pub(super) fn offer(broker: &Broker, spec: &Spec, offer: &Offer, stop: &Stop) -> Result<Offered> {
    let (lines, counts) = (broker.topic("lines", spec.partitions)?, broker.topic("counts", PARTITIONS)?);
    let mut text = Text::new(spec, Placing::ByWord);
    let mut meter = Meter::new();
    let mut reader = Reader::start(broker.settings(), &counts, text.words().clone())?;
    reader.await_open()?;
    meter.reader_is_open();
    let shape = (offer.workers, offer.processes);
    let epoch = humantime::format_duration(offer.epoch).to_string().replace(' ', "");
    let mut command = Run::word_count(broker.settings(), &lines.name, &lines.name, shape)?.with(&[
        "--to",
        &format!("kafka:{}", counts.name),
        "--epoch",
        &epoch,
    ]);
    if offer.delivery == Delivery::AtLeastOnce {
        command = command.with(&["--delivery", "at-least-once"]);
    }
    let state = offer.state.as_ref().map(|state| state.join(&lines.name));
    if let Some(state) = &state {
        command = command.with(&["--state", &state.to_string_lossy()]);
    }
    let mut process = command.start()?;
    let mut load = Load::open(broker.settings(), &lines, true, stop)?;
    let mut sent: Vec<Sent> = Vec::new();
    let first = load.send(&mut text)?;
    sent.push(Sent { word: first, count: text.drawn(first) });
    load.flush()?;
    await_total(&mut reader, &mut process, text.total(), BEGIN, stop)?;
    meter.load_is_open(process.id());
    // Counts are those after the record, so they are noted once it is sent.
    let mut send = |load: &mut Load<'_>, text: &mut Text, time| -> Result<f64> {
        let before = text.records();
        let took = load.offer(text, offer.rate, time, &mut |word, count| sent.push(Sent { word, count }))?;
        Ok((text.records() - before) as f64 / took.as_secs_f64())
    };
    send(&mut load, &mut text, WARM_UP)?;
    let skip = text.records() as usize;
    meter.begin();
    let rate = send(&mut load, &mut text, offer.time)?;
    let cores = meter.end();
    load.flush()?;
    let behind = await_total(&mut reader, &mut process, text.total(), DRAIN, stop)?;
    let peak_bytes = process.peak();
    process.stop();
    let (cpu_seconds, _) = process.wait(stop)?;
    let seen = reader.end()?;
    check(&text, &seen)?;
    if let Some(state) = &state {
        // It is of a topic that is about to go.
        std::fs::remove_dir_all(state).with_context(|| format!("removing {}", state.display()))?;
    }
    let latencies = latencies(&sent, &load.times(), &seen, skip);
    ensure!(!latencies.is_empty(), "no record was sent in {:?} at {} a second", offer.time, offer.rate);
    let mut offered = Offered {
        rate: offer.rate,
        with_state: offer.state.is_some(),
        at_least_once: offer.delivery == Delivery::AtLeastOnce,
        records: text.records(),
        records_per_second: rate,
        words_per_second: rate * spec.words as f64,
        mb_per_second: rate * text.bytes() as f64 / text.records() as f64 / 1e6,
        behind_seconds: behind.as_secs_f64(),
        sustained: false,
        latency_ms: Quantiles::of(&latencies),
        cpu_seconds_per_million: cpu_seconds / text.records() as f64 * 1e6,
        cores,
        peak_bytes,
    };
    offered.sustained = offered.is_offered() && behind <= BEHIND;
    Ok(offered)
}

/// Waits until so many words are counted. Returns how long it took.
fn await_total(
    reader: &mut Reader,
    process: &mut Process,
    total: u64,
    limit: Duration,
    stop: &Stop,
) -> Result<Duration> {
    let start = Instant::now();
    while reader.total() < total {
        reader.check()?;
        process.check()?;
        if stop.is_requested() {
            bail!("stopped");
        }
        if start.elapsed() > limit {
            bail!(
                "{} s after the last record was sent, {} of {total} words are counted",
                limit.as_secs(),
                reader.total()
            );
        }
        std::thread::sleep(LOOK);
    }
    Ok(start.elapsed())
}

/// Each word's last count is how often it was sent.
fn check(text: &Text, seen: &[Seen]) -> Result<()> {
    let words = text.words();
    let counts = seen.iter().map(|seen| (words[seen.word as usize].clone(), seen.count)).collect();
    match text.differs_from(&counts) {
        None => Ok(()),
        Some(wrong) => bail!("{wrong}"),
    }
}
