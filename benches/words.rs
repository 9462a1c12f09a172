//! The word path from memory, without Kafka, beside its baseline: one thread that splits the same lines and counts
//! them in one hash map (the question of McSherry, Isard and Murray, "Scalability! But at what COST?", HotOS 2015:
//! how many cores does a system need to beat one plain thread?). As with `-o none`, changes are made and go nowhere. The same
//! with operators measured, as with `--http`: also where epochs are as short as they can be, and there is most to measure.
//!
//! `cargo bench --bench words [-- WORDS] [--json FILE]` prints both, several times in turn, and the ratio of their medians.

#[path = "support/figures.rs"]
mod figures;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use cutwater::epoch::EpochOptions;
use cutwater::fault::Fault;
use cutwater::feed::{Budget, Each, Feed, Feeds, Place, Polled, Waker};
use cutwater::job::{self, Binding, Job, Stop, Viewing, Workers};
use cutwater::state::cut::Topics;
use cutwater::status::Status;
use cutwater_dataflows::record::Record;
use cutwater_dataflows::source::Moved;
use cutwater_dataflows::word_count::WordCount;
use hashbrown::HashMap;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use serde::Serialize;

/// Words a line.
const WORDS: usize = 10;
/// Distinct words.
const VOCABULARY: usize = 200_000;
/// Runs of each contestant.
const ROUNDS: usize = 5;

/// Seconds of each, and the ratios.
#[derive(Serialize)]
struct Figures {
    words: usize,
    hash_map: f64,
    one_worker: f64,
    two_workers: f64,
    one_of_hash_map: f64,
    two_of_one: f64,
    /// Time of runs that are measured by that of runs that are not.
    measured: f64,
    /// The same with epochs of a millisecond.
    measured_short: f64,
}

/// Epochs of a millisecond.
const SHORT: Duration = Duration::from_millis(1);

fn main() -> Result<()> {
    let words = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(20_000_000);
    let lines = Arc::new(lines(words));
    println!("{words} Zipf words in {} lines, {VOCABULARY} distinct; median of {ROUNDS}", lines.len());
    let usual = EpochOptions::default().shortest;
    let (mut plain, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new());
    let (mut measured, mut short, mut measured_short) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(hash_map(&lines));
        one.push(cutwater(&lines, 1, usual, false)?);
        two.push(cutwater(&lines, 2, usual, false)?);
        measured.push(cutwater(&lines, 2, usual, true)?);
        short.push(cutwater(&lines, 2, SHORT, false)?);
        measured_short.push(cutwater(&lines, 2, SHORT, true)?);
    }
    let [of_measured, of_short, of_measured_short] =
        [measured, short, measured_short].map(|times| median(times).as_secs_f64());
    let [hash_map, one_worker, two_workers] = [plain, one, two].map(|times| median(times).as_secs_f64());
    let (one_of_hash_map, two_of_one) = (hash_map / one_worker, one_worker / two_workers);
    let show = |name: &str, seconds: f64, ratio: f64, of: &str| {
        println!(
            "{name:<22} {seconds:>6.2} s  {:>6.1} M words/s  {ratio:.2} of {of}",
            words as f64 / 1e6 / seconds
        );
    };
    show("hash map, one thread", hash_map, 1.0, "itself");
    show("cutwater, 1 worker", one_worker, one_of_hash_map, "the hash map");
    show("cutwater, 2 workers", two_workers, two_of_one, "one worker");
    let (measured, measured_short) = (of_measured / two_workers, of_measured_short / of_short);
    show("the same, measured", of_measured, 1.0 / measured, "2 workers");
    show("2 workers, epochs 1 ms", of_short, two_workers / of_short, "2 workers");
    show("the same, measured", of_measured_short, 1.0 / measured_short, "it");
    figures::write(&Figures {
        words,
        hash_map,
        one_worker,
        two_workers,
        one_of_hash_map,
        two_of_one,
        measured,
        measured_short,
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn lines(words: usize) -> Vec<Vec<u8>> {
    let mut random = SmallRng::seed_from_u64(1);
    let vocabulary: Vec<String> = (0..VOCABULARY)
        .map(|_| (0..random.random_range(3..10)).map(|_| random.random_range(b'a'..=b'z') as char).collect())
        .collect();
    let zipf = Zipf::new(VOCABULARY as f64, 1.0).expect("the parameters are valid");
    (0..words.div_ceil(WORDS))
        .map(|_| {
            let line: Vec<&str> =
                (0..WORDS).map(|_| vocabulary[zipf.sample(&mut random) as usize - 1].as_str()).collect();
            line.join(" ").into_bytes()
        })
        .collect()
}

fn hash_map(lines: &[Vec<u8>]) -> Duration {
    let start = Instant::now();
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for line in lines {
        for word in std::str::from_utf8(line).expect("generated").split_whitespace() {
            *counts.entry(word).or_default() += 1;
        }
    }
    std::hint::black_box(counts.len());
    start.elapsed()
}

fn cutwater(lines: &Arc<Vec<Vec<u8>>>, workers: usize, epoch: Duration, measured: bool) -> Result<Duration> {
    let status = Status::default();
    if measured {
        status.measure();
    }
    let job = Job {
        dataflow: Arc::new(WordCount::default()),
        feeds: Arc::new(Memory(Arc::clone(lines))),
        epochs: EpochOptions { shortest: epoch, ..EpochOptions::default() },
        outputs: vec![Binding { emits: Vec::new(), ..Binding::new(Vec::new()) }],
        dead_letters: Vec::new(),
        letters_are_kept: false,
        cuts: None,
        views: Viewing::Off,
        state: None,
        status,
    };
    let start = Instant::now();
    job::run(job, Workers::threads(workers)?, &Stop::default(), &Fault::default())?;
    Ok(start.elapsed())
}

/// Lines in memory: worker `i` of `n` reads every `n`th block of them.
struct Memory(Arc<Vec<Vec<u8>>>);

impl Feeds for Memory {
    fn open(&self, _input: &str, place: Place, _begin: Option<&Topics>) -> Result<Box<dyn Feed>> {
        let share = self.0.len().div_ceil(place.workers);
        let start = (place.worker * share).min(self.0.len());
        let end = (start + share).min(self.0.len());
        Ok(Box::new(Share { lines: Arc::clone(&self.0), next: start, end }))
    }
}

struct Share {
    lines: Arc<Vec<Vec<u8>>>,
    next: usize,
    end: usize,
}

impl Feed for Share {
    fn wake(&mut self, _waker: Waker) {}

    fn poll(&mut self, budget: Budget, each: &mut Each<'_>) -> Result<Polled> {
        let until = self.end.min(self.next + budget.records);
        for line in &self.lines[self.next..until] {
            each(&Record::of_value(Some(line)));
        }
        self.next = until;
        Ok(if until == self.end { Polled::Ended } else { Polled::More })
    }

    fn bound(&mut self, _stops: Option<Topics>) -> Result<()> {
        Ok(())
    }
    fn moved(&mut self) -> Vec<Moved> {
        Vec::new()
    }
    fn behind(&self, _each: &mut dyn FnMut(&str, i32)) {}
    fn boundary(&mut self) -> Result<()> {
        Ok(())
    }
    fn published(&mut self, _moved: &[Moved], _last: bool) {}
}
