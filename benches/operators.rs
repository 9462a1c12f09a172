//! What an update costs behind a join and behind a top ten, and what memory they take, as multiples of the same in plain
//! differential dataflow on owned rows; and rows a second through `map` and `filter`. One worker, no Kafka, no sinks. Each
//! in a process of its own, so that its memory is known.
//!
//! `cargo bench --bench operators [-- ROWS] [--json FILE]`

#[path = "support/child.rs"]
mod child;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/given.rs"]
mod given;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/plain.rs"]
mod plain;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;
use child::child;
use cutwater_dataflows::prelude::*;
use given::Cutwater;
use memory::resident;
use plain::Plain;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of each side of the join, and of the groups.
const ROWS: i64 = 1_000_000;
/// Rows of a group.
const GROUP: i64 = 100;
/// Rows of a group that are ranked.
const TOP: usize = 10;
/// Rows that are replaced in an epoch.
const CHANGED: usize = 1_000;
/// Epochs that are measured, after a tenth of them that are not.
const EPOCHS: usize = 500;
/// Rows in an epoch of the load.
const LOAD: i64 = 100_000;

/// A row of the left side: a key, and something beside it.
type Left = (i64, Text);
/// A row of the right side.
type Right = (i64, i64);
/// A row of a group: its score and its name.
type Ranked = (i64, (i64, Text));

/// What is driven: takes changes of its inputs, and runs them as an epoch; says how many changes came out.
trait Subject {
    fn left(&mut self, row: Left, diff: i64);
    fn right(&mut self, row: Right, diff: i64);
    fn ranked(&mut self, row: Ranked, diff: i64);
    fn epoch(&mut self) -> usize;
}

/// What was measured.
#[derive(Serialize, Deserialize)]
struct Figures {
    /// A replaced row, by the median epoch.
    micros_an_update: f64,
    /// Resident bytes a row.
    bytes_a_row: f64,
    load_seconds: f64,
}

#[derive(Serialize)]
struct Pair {
    what: &'static str,
    cutwater: Figures,
    differential: Figures,
    times_as_fast: f64,
    of_memory: f64,
}

#[derive(Serialize)]
struct All {
    pairs: Vec<Pair>,
    map_and_filter_rows_a_second: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if let [_, what, who, rows] = &args[..]
        && let Ok(rows) = rows.parse()
    {
        println!("{}", serde_json::to_string(&measure(what, who, rows)?)?);
        return Ok(());
    }
    let rows = args.iter().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ROWS);
    println!("{:<6} {:<13} {:>12} {:>12} {:>8}", "", "", "µs an update", "bytes a row", "load s");
    let mut pairs = Vec::new();
    for what in ["join", "top"] {
        let measured = |who| child(&[what, who, &rows.to_string()]);
        let (cutwater, differential): (Figures, Figures) = (measured("cutwater")?, measured("differential")?);
        for (who, figures) in [("cutwater", &cutwater), ("differential", &differential)] {
            println!(
                "{what:<6} {who:<13} {:>12.3} {:>12.0} {:>8.1}",
                figures.micros_an_update, figures.bytes_a_row, figures.load_seconds
            );
        }
        let times_as_fast = differential.micros_an_update / cutwater.micros_an_update;
        let of_memory = cutwater.bytes_a_row / differential.bytes_a_row;
        println!("{what}: {times_as_fast:.2} times as fast, {of_memory:.2} of the memory");
        pairs.push(Pair { what, cutwater, differential, times_as_fast, of_memory });
    }
    let map_and_filter_rows_a_second = map_and_filter();
    println!("map and filter: {:.1} M rows/s", map_and_filter_rows_a_second / 1e6);
    figures::write(&All { pairs, map_and_filter_rows_a_second })
}

fn measure(what: &str, who: &str, rows: i64) -> Result<Figures> {
    let joins = what == "join";
    let cutwater = who == "cutwater";
    Ok(timely::execute_directly(move |worker| match (joins, cutwater) {
        (true, true) => join(&mut Cutwater::join(worker), rows),
        (true, false) => join(&mut Plain::join(worker), rows),
        (false, true) => top(&mut Cutwater::top(worker), rows),
        (false, false) => top(&mut Plain::top(worker), rows),
    }))
}

fn name(number: i64) -> Text {
    Text::from(format!("the row of number {number:09}"))
}

/// Loads both sides, then replaces rows of the right one.
fn join(subject: &mut impl Subject, rows: i64) -> Figures {
    let mut values = vec![0; rows as usize];
    let random = &mut SmallRng::seed_from_u64(1);
    run(
        subject,
        2 * rows,
        |subject, number| {
            if number < rows {
                subject.left((number, name(number)), 1);
            } else {
                subject.right((number - rows, 0), 1);
            }
        },
        |subject| {
            let key = random.random_range(0..rows);
            let value = &mut values[key as usize];
            subject.right((key, *value), -1);
            *value += 1;
            subject.right((key, *value), 1);
        },
        2 * CHANGED,
    )
}

/// Loads groups, then replaces rows by others with another score.
fn top(subject: &mut impl Subject, rows: i64) -> Figures {
    let groups = rows / GROUP;
    let random = &mut SmallRng::seed_from_u64(1);
    let mut scores: Vec<i64> = (0..rows).map(|_| random.random_range(0..1_000_000)).collect();
    let first = scores.clone();
    run(
        subject,
        rows,
        |subject, number| subject.ranked((number % groups, (first[number as usize], name(number))), 1),
        |subject| {
            let number = random.random_range(0..rows);
            let score = &mut scores[number as usize];
            subject.ranked((number % groups, (*score, name(number))), -1);
            *score = random.random_range(0..1_000_000);
            subject.ranked((number % groups, (*score, name(number))), 1);
        },
        1,
    )
}

/// Loads so many rows, then measures epochs of changes, of each of which at least so many must come out.
fn run<S: Subject>(
    subject: &mut S,
    rows: i64,
    mut load: impl FnMut(&mut S, i64),
    mut change: impl FnMut(&mut S),
    least: usize,
) -> Figures {
    let before = resident("VmRSS");
    let start = Instant::now();
    for first in (0..rows).step_by(LOAD as usize) {
        (first..rows.min(first + LOAD)).for_each(|number| load(subject, number));
        subject.epoch();
    }
    let load_seconds = start.elapsed().as_secs_f64();
    let mut times = Vec::with_capacity(EPOCHS);
    for number in 0..EPOCHS + EPOCHS / 10 {
        (0..CHANGED).for_each(|_| change(subject));
        let start = Instant::now();
        let changes = subject.epoch();
        if number >= EPOCHS / 10 {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        // A row may be drawn twice in an epoch.
        assert!(changes * 10 >= least * 9, "{changes} changes of an epoch");
    }
    times.sort_by(f64::total_cmp);
    Figures {
        micros_an_update: times[times.len() / 2] / CHANGED as f64,
        bytes_a_row: resident("VmRSS").saturating_sub(before) as f64 / rows as f64,
        load_seconds,
    }
}

/// Rows a second through a map that drops a column and a filter that keeps half.
fn map_and_filter() -> f64 {
    use cutwater_dataflows::flat::FlatBatch;
    use timely::dataflow::operators::{Input as _, Inspect as _, Probe as _};
    const BATCHES: u64 = 2_000;
    const ROWS: i64 = 4_000;
    timely::execute_directly(|worker| {
        let rows = Rc::new(Cell::new(0));
        let counted = Rc::clone(&rows);
        let probe = timely::dataflow::operators::probe::Handle::new();
        let mut input = worker.dataflow(|scope| {
            let (input, stream) = scope.new_input::<FlatBatch>();
            let kept = Flow::new(scope)
                .collection_of::<(i64, Text)>(stream)
                .map::<(i64, Text)>(|&(number, text)| (number + 1, text))
                .filter(|&(number, _)| number % 2 == 0);
            kept.changes()
                .inspect_core(move |event| {
                    if let Ok((_, batch)) = event {
                        counted.set(counted.get() + batch.len());
                    }
                })
                .probe_with(&probe);
            input
        });
        let mut batch = FlatBatch::default();
        (0..ROWS).for_each(|number| batch.push_row::<(i64, Text)>((number, name(number).as_str()), 1));
        let start = Instant::now();
        for epoch in 0..BATCHES {
            input.send_batch(&mut batch.clone());
            input.advance_to(epoch + 1);
            while probe.less_than(input.time()) {
                worker.step();
            }
        }
        assert_eq!(rows.get() as i64, ROWS / 2 * BATCHES as i64);
        (ROWS * BATCHES as i64) as f64 / start.elapsed().as_secs_f64()
    })
}
