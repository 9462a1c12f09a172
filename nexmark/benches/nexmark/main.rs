//! Events a second through each query on one worker, from memory: JSON is read, and changes come out. No Kafka, no sinks, no state
//! on disk. Beside it, for some, plain differential dataflow on owned rows, which serde reads from the same JSON. All in one
//! process, in turn; the median of the rounds.
//!
//! `cargo bench -p cutwater-nexmark [-- QUERY...] [--events N] [--rounds N] [--json FILE]`

mod cutwater_side;
mod plain;

use std::path::PathBuf;
use std::time::Instant;

use cutwater::anyhow::{Context as _, Result, ensure};
use cutwater::dataflows::Entry;
use cutwater::prelude::clap;
use cutwater_nexmark::registry;
use serde::Serialize;

/// That of the program.
#[global_allocator]
static ALLOCATOR: cutwater::Allocator = cutwater::Allocator;

/// Events of an epoch.
const EPOCH: usize = 10_000;

#[derive(clap::Parser)]
struct Args {
    /// The queries; all where none is named
    queries: Vec<String>,
    /// How many events
    #[arg(long, default_value_t = 500_000)]
    events: usize,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Write the figures there
    #[arg(long)]
    json: Option<PathBuf>,
    /// What `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured of a query.
#[derive(Serialize)]
struct Figures {
    query: &'static str,
    events_a_second: f64,
    /// Changes of rows that came out.
    changes: usize,
    differential_events_a_second: Option<f64>,
    times_as_fast: Option<f64>,
}

/// One pass over all events: seconds, and how many changes came out.
type Pass = (f64, usize);

fn main() -> Result<()> {
    let args = <Args as clap::Parser>::parse();
    let registry = registry();
    let named =
        |entry: &&Entry| args.queries.is_empty() || args.queries.iter().any(|query| query == entry.name());
    let chosen: Vec<&Entry> = registry.iter().filter(named).collect();
    ensure!(args.queries.len() <= chosen.len(), "there is {}", names(&registry));
    println!("{} events, one worker, epochs of {EPOCH}, the median of {} rounds\n", args.events, args.rounds);
    println!(
        "{:<6}{:>12}{:>12}{:>24}{:>15}",
        "", "events/s", "changes", "differential, events/s", "times as fast"
    );
    let mut all = Vec::new();
    for entry in chosen {
        let figures = measure(entry, &args)?;
        let shown =
            |value: Option<f64>, digits| value.map_or(String::new(), |value| format!("{value:.digits$}"));
        println!(
            "{:<6}{:>12.0}{:>12}{:>22}{:>15}",
            figures.query,
            figures.events_a_second,
            figures.changes,
            shown(figures.differential_events_a_second, 0),
            shown(figures.times_as_fast, 2)
        );
        all.push(figures);
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&all)? + "\n").context("writing the figures")?;
    }
    Ok(())
}

fn names(registry: &[Entry]) -> String {
    registry.iter().map(Entry::name).collect::<Vec<_>>().join(", ")
}

fn measure(entry: &Entry, args: &Args) -> Result<Figures> {
    let samples = entry.sampled(1).context("it has samples")?;
    let events: Vec<Vec<u8>> = samples.take(args.events).filter_map(|(_, sample)| sample.value).collect();
    let (mut ours, mut others): (Vec<Pass>, Vec<Pass>) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds.max(1) {
        ours.push(cutwater_side::pass(entry, events.clone())?);
        others.extend(plain::pass(entry.name(), events.clone()));
    }
    let changes = ours[0].1;
    ensure!(ours.iter().all(|pass| pass.1 == changes), "{}: other changes in another round", entry.name());
    // That nobody has a shorter way to another answer.
    if let Some((_, plain)) = others.first() {
        ensure!(*plain == changes, "{}: {changes} changes, {plain} of plain differential", entry.name());
    }
    let rate = |passes: &[Pass]| median(passes.iter().map(|pass| args.events as f64 / pass.0).collect());
    let events_a_second = rate(&ours);
    let differential_events_a_second = (!others.is_empty()).then(|| rate(&others));
    Ok(Figures {
        query: entry.name(),
        events_a_second,
        changes,
        differential_events_a_second,
        times_as_fast: differential_events_a_second.map(|plain| events_a_second / plain),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds that something takes.
fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
