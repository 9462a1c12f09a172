//! The table of docs/performance.md, from what the other benches and `cutwater bench` have measured.
//!
//! `scripts/figures` runs all of them and this; `cargo bench --bench figures -- DIR` reads what is in a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A figure that is to be reached.
struct Figure {
    what: &'static str,
    target: Target,
    /// The file that holds it, and how it is found there.
    file: &'static str,
    value: fn(&Value) -> Option<f64>,
    unit: &'static str,
}

enum Target {
    AtLeast(f64),
    AtMost(f64),
}
use Target::{AtLeast, AtMost};

/// The lines of the table, in their order.
const FIGURES: [Figure; 31] = [
    figure(
        "Kafka to counts, one word a record, 1 worker: of a bare consumer",
        AtLeast(0.95),
        "uniform-1.json",
        |report| contestant(report, "word-count", "of_ceiling"),
        "",
    ),
    figure(
        "the same, 2 workers: of two bare consumers",
        AtLeast(0.95),
        "uniform-2.json",
        |report| contestant(report, "word-count", "of_ceiling"),
        "",
    ),
    figure(
        "ten Zipf words a record, 1 worker: of the hand-written program",
        AtLeast(1.0),
        "zipf-1.json",
        |report| contestant(report, "word-count", "of_program"),
        "",
    ),
    figure(
        "the same, 2 workers",
        AtLeast(1.7),
        "zipf-2.json",
        |report| contestant(report, "word-count", "of_program"),
        "",
    ),
    figure(
        "from memory, Zipf words, 1 worker: of one thread with a hash map",
        AtLeast(1.0),
        "words.json",
        |words| number(words, "one_of_hash_map"),
        "",
    ),
    figure(
        "the same, 2 workers: of one worker",
        AtLeast(1.8),
        "words.json",
        |words| number(words, "two_of_one"),
        "",
    ),
    figure(
        "`-w 1 -n 2`: of `-w 2`",
        AtLeast(0.85),
        "uniform-2.json",
        |report| number(report.get("processes")?, "of_one_process"),
        "",
    ),
    figure(
        "a bare consumer with one message a call: of one with many",
        AtLeast(0.0),
        "uniform-1.json",
        |report| contestant(report, "bare consumer, one a call", "of_ceiling"),
        "",
    ),
    figure(
        "a changed word, epochs of 1,000, on a million words",
        AtMost(0.7),
        "change.json",
        |sizes| number(dataflow(sizes, 1_000_000)?, "micros_a_word"),
        " µs",
    ),
    figure(
        "the same as a multiple of a random update of a hash map",
        AtMost(f64::INFINITY),
        "change.json",
        |sizes| number(size(sizes, 1_000_000)?, "of_hash_map"),
        "",
    ),
    figure(
        "an epoch on 10 million words: of one on 100 thousand",
        AtMost(2.5),
        "change.json",
        |sizes| {
            let median = |words| number(dataflow(sizes, words)?, "median_micros");
            Some(median(10_000_000)? / median(100_000)?)
        },
        "",
    ),
    figure(
        "a replaced row behind a join, 1 M × 1 M rows: times as fast as plain differential",
        AtLeast(2.0),
        "operators.json",
        |all| number(pair(all, "join")?, "times_as_fast"),
        "",
    ),
    figure(
        "its memory: of plain differential's",
        AtMost(0.5),
        "operators.json",
        |all| number(pair(all, "join")?, "of_memory"),
        "",
    ),
    figure(
        "a replaced row behind a top ten of groups of 100, 1 M rows: times as fast as plain differential",
        AtLeast(2.0),
        "operators.json",
        |all| number(pair(all, "top")?, "times_as_fast"),
        "",
    ),
    figure(
        "its memory: of plain differential's",
        AtMost(0.5),
        "operators.json",
        |all| number(pair(all, "top")?, "of_memory"),
        "",
    ),
    figure(
        "memory a distinct word, at 10 million, loaded",
        AtMost(60.0),
        "change.json",
        |sizes| number(dataflow(sizes, 10_000_000)?, "bytes_loaded"),
        " B",
    ),
    figure(
        "the same after 2,000 epochs of changes",
        AtMost(60.0),
        "change.json",
        |sizes| number(dataflow(sizes, 10_000_000)?, "bytes_settled"),
        " B",
    ),
    figure(
        "the same after a burst of a million words in an epoch",
        AtMost(60.0),
        "change.json",
        |sizes| number(dataflow(sizes, 10_000_000)?, "bytes_after_burst"),
        " B",
    ),
    figure(
        "highest sustained rate, 1 worker, Kafka to Kafka",
        AtLeast(0.0),
        "uniform-1.json",
        |report| number(highest(report)?, "rate"),
        "/s",
    ),
    figure(
        "latency at half of that, `--epoch 10ms`, p95",
        AtMost(25.0),
        "uniform-1.json",
        |report| latency(half(report, false)?, "p95"),
        " ms",
    ),
    figure(
        "the same, p99",
        AtMost(50.0),
        "uniform-1.json",
        |report| latency(half(report, false)?, "p99"),
        " ms",
    ),
    figure(
        "at 100,000/s, p95",
        AtLeast(0.0),
        "uniform-1.json",
        |report| latency(at(report, 100_000.0)?, "p95"),
        " ms",
    ),
    figure(
        "at 100,000/s, p99",
        AtLeast(0.0),
        "uniform-1.json",
        |report| latency(at(report, 100_000.0)?, "p99"),
        " ms",
    ),
    figure(
        "at 200,000/s, read from one partition instead of four, p95",
        AtLeast(0.0),
        "partition.json",
        |report| latency(at(report, 200_000.0)?, "p95"),
        " ms",
    ),
    figure(
        "at 200,000/s, read from one partition instead of four, p99",
        AtLeast(0.0),
        "partition.json",
        |report| latency(at(report, 200_000.0)?, "p99"),
        " ms",
    ),
    figure(
        "p95 with `--state`: of that without",
        AtMost(1.5),
        "uniform-1.json",
        |report| Some(latency(half(report, true)?, "p95")? / latency(half(report, false)?, "p95")?),
        "",
    ),
    figure(
        "p99 with `--state`: of that without",
        AtMost(1.5),
        "uniform-1.json",
        |report| Some(latency(half(report, true)?, "p99")? / latency(half(report, false)?, "p99")?),
        "",
    ),
    figure(
        "idle, `-w 2`",
        AtMost(1.0),
        "idle.json",
        |idle| number(idle, "percent_of_a_core"),
        " % of a core",
    ),
    figure(
        "restore of a 10-million-word checkpoint: of reading and checksumming its bytes",
        AtMost(3.0),
        "checkpoints.json",
        |sizes| number(size(sizes, 10_000_000)?, "restore_of_reading"),
        "",
    ),
    figure(
        "checkpoint of a table after a hundred updates a key: of one after one",
        AtMost(1.1),
        "upserts.json",
        |upserts| number(upserts, "of_bytes"),
        "",
    ),
    figure(
        "flat batches to bytes and back: of columnar",
        AtLeast(0.0),
        "codec.json",
        |codecs| {
            let speed = |name: &str| {
                let codec = codecs.as_array()?.iter().find(|codec| {
                    codec.get("name").and_then(Value::as_str).is_some_and(|found| found.starts_with(name))
                })?;
                number(codec, "mb_per_second")
            };
            Some(speed("flat")? / speed("columnar")?)
        },
        "",
    ),
];

const fn figure(
    what: &'static str,
    target: Target,
    file: &'static str,
    value: fn(&Value) -> Option<f64>,
    unit: &'static str,
) -> Figure {
    Figure { what, target, file, value, unit }
}

fn main() -> Result<()> {
    let folder = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let folder = PathBuf::from(folder.context("which folder? cargo bench --bench figures -- DIR")?);
    println!("| figure | target | measured | reached |\n|---|---|---|---|");
    for figure in &FIGURES {
        let measured = read(&folder.join(figure.file))?.as_ref().and_then(figure.value);
        println!("{}", figure.line(measured));
    }
    Ok(())
}

/// What a bench has measured; `None` if it has not run.
fn read(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    serde_json::from_str(&text).map(Some).with_context(|| format!("reading {shown}"))
}

impl Figure {
    fn line(&self, measured: Option<f64>) -> String {
        let Figure { what, target, unit, .. } = self;
        let (shown, reached) = match measured {
            None => ("not measured".to_owned(), "".to_owned()),
            Some(value) => (format!("{}{unit}", shown(value)), target.reached(value)),
        };
        format!("| {what} | {} | {shown} | {reached} |", target.shown(unit))
    }
}

impl Target {
    /// Figures without a bound are stated, and not to be reached.
    fn shown(&self, unit: &str) -> String {
        match *self {
            AtLeast(0.0) | AtMost(f64::INFINITY) => "–".to_owned(),
            AtLeast(least) => format!("≥ {}{unit}", shown(least)),
            AtMost(most) => format!("≤ {}{unit}", shown(most)),
        }
    }

    fn reached(&self, value: f64) -> String {
        let reached = match *self {
            AtLeast(0.0) | AtMost(f64::INFINITY) => return String::new(),
            AtLeast(least) => value >= least,
            AtMost(most) => value <= most,
        };
        if reached { "yes" } else { "**no**" }.to_owned()
    }
}

fn shown(value: f64) -> String {
    if value >= 1000.0 {
        indicatif::HumanCount(value.round() as u64).to_string()
    } else {
        format!("{value:.2}")
    }
}

fn number(of: &Value, name: &str) -> Option<f64> {
    of.get(name)?.as_f64()
}

/// A figure of the contestant whose name begins so.
fn contestant(report: &Value, name: &str, figure: &str) -> Option<f64> {
    let rows = report.get("until_end")?.as_array()?;
    number(
        rows.iter()
            .find(|row| row.get("name").and_then(Value::as_str).is_some_and(|n| n.starts_with(name)))?,
        figure,
    )
}

fn offers(report: &Value, with_state: bool) -> impl Iterator<Item = &Value> {
    let all = report.get("offered").and_then(Value::as_array).into_iter().flatten();
    all.filter(move |offer| offer.get("with_state").and_then(Value::as_bool) == Some(with_state))
}

/// The first offer of this rate.
fn at(report: &Value, rate: f64) -> Option<&Value> {
    offers(report, false).find(|offer| number(offer, "rate") == Some(rate))
}

/// The highest rate that was sustained.
fn highest(report: &Value) -> Option<&Value> {
    offers(report, false)
        .filter(|offer| offer.get("sustained").and_then(Value::as_bool) == Some(true))
        .max_by(|a, b| number(a, "rate").unwrap_or(0.0).total_cmp(&number(b, "rate").unwrap_or(0.0)))
}

/// The offer at half of the highest sustained rate.
fn half(report: &Value, with_state: bool) -> Option<&Value> {
    let half = number(highest(report)?, "rate")? / 2.0;
    offers(report, with_state).find(|offer| number(offer, "rate") == Some(half))
}

fn latency(offer: &Value, quantile: &str) -> Option<f64> {
    number(offer.get("latency_ms")?, quantile)
}

/// What was measured on a state of so many words.
fn size(sizes: &Value, words: u64) -> Option<&Value> {
    let of = |size: &&Value| {
        let found = size.get("words").or_else(|| size.pointer("/dataflow/words"));
        found.and_then(Value::as_u64) == Some(words)
    };
    sizes.as_array()?.iter().find(of)
}

/// What was measured behind an operator.
fn pair<'a>(all: &'a Value, what: &str) -> Option<&'a Value> {
    all["pairs"].as_array()?.iter().find(|pair| pair["what"] == what)
}

fn dataflow(sizes: &Value, words: u64) -> Option<&Value> {
    size(sizes, words)?.get("dataflow")
}
