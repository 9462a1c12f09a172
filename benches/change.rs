//! What a change costs, and a stored word: epochs of 1,000 random changed words through word-count (decode, combine,
//! arrange, count, emit; no Kafka, no sinks), on states of several sizes, beside random updates of a hash map of that
//! size. Each in a process of its own, so that its memory is known.
//!
//! `cargo bench --bench change [-- SIZE...] [--json FILE]`

#[path = "support/child.rs"]
mod child;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/words.rs"]
mod words;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use child::child;
use cutwater_dataflows::clock::FlowTime;
use cutwater_dataflows::record::Record;
use cutwater_dataflows::source::{DecodeRecord, Driver, Report, Turn};
use cutwater_dataflows::word_count::WordCount;
use cutwater_dataflows::{Activator, Epoch, Flow, SyncActivator};
use hashbrown::HashMap;
use memory::resident;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::{Inspect, Probe, probe::Handle};
use timely::worker::Worker;

/// Distinct words.
const SIZES: [u64; 3] = [100_000, 1_000_000, 10_000_000];
/// Words that change in an epoch.
const CHANGED: u64 = 1_000;
/// Epochs that are measured, after as many as a tenth of them that are not.
const EPOCHS: usize = 2_000;
/// Words in an epoch of the load.
const LOAD: u64 = 100_000;
/// Words in the one large epoch of a burst.
const BURST: u64 = 1_000_000;

/// What was measured on a state of one size.
#[derive(Serialize, Deserialize)]
struct Figures {
    words: u64,
    /// An epoch of 1,000 changed words.
    median_micros: f64,
    p99_micros: f64,
    mean_micros: f64,
    /// A changed word, by the median.
    micros_a_word: f64,
    /// Resident bytes a distinct word: once all are loaded, after the epochs, and some epochs after a burst.
    bytes_loaded: f64,
    bytes_settled: f64,
    bytes_after_burst: f64,
    load_seconds: f64,
}

#[derive(Serialize)]
struct Size {
    dataflow: Figures,
    hash_map: Figures,
    /// A changed word as a multiple of a random update of the hash map.
    of_hash_map: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if let [_, who, words] = &args[..]
        && let Ok(words) = words.parse()
    {
        let figures = match who.as_str() {
            "dataflow" => dataflow(words)?,
            "hash-map" => hash_map(words),
            other => anyhow::bail!("{other:?} is nobody to measure"),
        };
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(());
    }
    let asked: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if asked.is_empty() { SIZES.to_vec() } else { asked };
    println!(
        "{:>10} {:<9} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8}",
        "words", "", "median µs", "p99 µs", "µs a word", "of map", "B loaded", "settled", "burst"
    );
    let mut measured = Vec::new();
    for size in sizes {
        let (dataflow, hash_map): (Figures, Figures) =
            (child(&["dataflow", &size.to_string()])?, child(&["hash-map", &size.to_string()])?);
        let of_hash_map = dataflow.micros_a_word / hash_map.micros_a_word;
        for (name, figures, ratio) in
            [("word-count", &dataflow, format!("{of_hash_map:.1}")), ("hash map", &hash_map, String::new())]
        {
            let Figures { median_micros, p99_micros, micros_a_word, .. } = figures;
            println!(
                "{size:>10} {name:<9} {median_micros:>10.0} {p99_micros:>10.0} {micros_a_word:>10.3} {ratio:>8} \
                 {:>8.1} {:>8.1} {:>8.1}",
                figures.bytes_loaded, figures.bytes_settled, figures.bytes_after_burst
            );
        }
        measured.push(Size { dataflow, hash_map, of_hash_map });
    }
    if let (Some(first), Some(last)) = (measured.first(), measured.last()) {
        println!(
            "an epoch on {} words is {:.2} times one on {}",
            last.dataflow.words,
            last.dataflow.median_micros / first.dataflow.median_micros,
            first.dataflow.words
        );
    }
    figures::write(&measured)
}

/// Draws numbers of words.
struct Draw {
    random: SmallRng,
    words: u64,
}

impl Draw {
    fn line(&mut self, count: u64, line: &mut String) {
        line.clear();
        for _ in 0..count {
            words::push(self.random.random_range(0..self.words), line);
            line.push(' ');
        }
    }
}

/// How a state of `words` words is loaded and changed: `epoch` takes a line and returns how long it took.
fn measure(words: u64, mut epoch: impl FnMut(&str) -> Duration) -> Figures {
    let before = resident("VmRSS");
    let bytes = |now: u64| now.saturating_sub(before) as f64 / words as f64;
    let mut line = String::new();
    let mut load = Duration::ZERO;
    for first in (0..words).step_by(LOAD as usize) {
        line.clear();
        for number in first..words.min(first + LOAD) {
            words::push(number, &mut line);
            line.push(' ');
        }
        load += epoch(&line);
    }
    let bytes_loaded = bytes(resident("VmRSS"));
    let mut draw = Draw { random: SmallRng::seed_from_u64(1), words };
    let mut times = Vec::with_capacity(EPOCHS);
    for number in 0..EPOCHS + EPOCHS / 10 {
        draw.line(CHANGED, &mut line);
        let time = epoch(&line);
        if number >= EPOCHS / 10 {
            times.push(time.as_secs_f64() * 1e6);
        }
    }
    let bytes_settled = bytes(resident("VmRSS"));
    draw.line(BURST, &mut line);
    epoch(&line);
    line = String::new();
    for _ in 0..EPOCHS / 10 {
        draw.line(CHANGED, &mut line);
        epoch(&line);
    }
    let bytes_after_burst = bytes(resident("VmRSS"));
    let mean_micros = times.iter().sum::<f64>() / times.len() as f64;
    times.sort_by(f64::total_cmp);
    let median_micros = times[times.len() / 2];
    Figures {
        words,
        median_micros,
        p99_micros: times[times.len() * 99 / 100],
        mean_micros,
        micros_a_word: median_micros / CHANGED as f64,
        bytes_loaded,
        bytes_settled,
        bytes_after_burst,
        load_seconds: load.as_secs_f64(),
    }
}

fn hash_map(words: u64) -> Figures {
    let mut counts: HashMap<String, i64> = HashMap::new();
    measure(words, |line| {
        let start = Instant::now();
        for word in line.split_whitespace() {
            *counts.entry_ref(word).or_default() += 1;
        }
        start.elapsed()
    })
}

fn dataflow(words: u64) -> Result<Figures> {
    timely::execute_directly(move |worker| {
        let (turns, probe, rows) = (Turns::default(), Handle::new(), Rc::new(Cell::new(0)));
        build(worker, &turns, &probe, &rows);
        let (mut epoch, mut total, mut expected) = (0, 0, 0);
        let figures = measure(words, |line| {
            epoch += 1;
            turns.0.borrow_mut().line = Some(line.to_owned());
            let before = rows.get();
            let start = Instant::now();
            turns.activate();
            while probe.less_equal(&epoch) {
                worker.step();
            }
            let time = start.elapsed();
            total += rows.get() - before;
            expected += line.split_whitespace().count();
            time
        });
        turns.0.borrow_mut().ended = true;
        turns.activate();
        // Each changed word gives its new count, and takes back the old one if it had one.
        ensure!(total > words as usize && total <= 2 * expected, "{total} changes of {expected} words");
        Ok(figures)
    })
}

fn build(worker: &mut Worker, turns: &Turns, probe: &Handle<Epoch>, rows: &Rc<Cell<usize>>) {
    let (turns, rows) = (turns.clone(), Rc::clone(rows));
    worker.dataflow(|scope| {
        let driver = Box::new(move |_: &str| Box::new(turns.clone()) as Box<dyn Driver>);
        let dataflow = WordCount::default();
        let mut parts = Flow::build(scope, &dataflow, driver, None, FlowTime::default());
        let output = parts.outputs.pop().expect("word-count has an output");
        (output.changes)(true)
            .inspect_core(move |event| {
                if let Ok((_, batch)) = event {
                    rows.set(rows.get() + batch.len());
                }
            })
            .probe_with(probe);
    });
}

/// Gives each line as an epoch.
#[derive(Clone, Default)]
struct Turns(Rc<RefCell<Next>>);

#[derive(Default)]
struct Next {
    line: Option<String>,
    ended: bool,
    here: Option<Activator>,
}

impl Turns {
    fn activate(&self) {
        self.0.borrow().here.iter().for_each(Activator::activate);
    }
}

impl Driver for Turns {
    fn first(&self) -> Epoch {
        1
    }

    fn attach(&mut self, here: Activator, _anywhere: SyncActivator) {
        self.0.borrow_mut().here = Some(here);
    }

    fn turn(&mut self, decode: &mut DecodeRecord<'_>) -> Turn {
        let mut next = self.0.borrow_mut();
        let Some(line) = next.line.take() else {
            return if next.ended { Turn::Done(Report::default()) } else { Turn::Yield };
        };
        let record = Record::of_value(Some(line.as_bytes()));
        assert_eq!(decode(&record).malformed, None, "words are UTF-8");
        Turn::Close(Report { records: 1, ..Report::default() })
    }
}
