//! What a checkpoint of a table holds: a row a key, whatever the number of updates. The same keys updated once and a hundred
//! times each, by one worker, with a checkpoint at the end; each in a process of its own, so that its memory is known.
//!
//! `cargo bench --bench upserts [-- KEYS TIMES] [--json FILE]`; 1 million keys, 100 times, unless told.

#[path = "support/child.rs"]
mod child;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/memory.rs"]
mod memory;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use child::child;
use cutwater::fault::Fault;
use cutwater::feed::Place;
use cutwater::state::checkpoint::StateWriters as _;
use cutwater::state::checkpoint::run::{RunFiles, Sizes};
use cutwater::state::checkpoint::state_writer::RunStateWriters;
use cutwater::state::storage;
use cutwater_dataflows::clock::FlowTime;
use cutwater_dataflows::flow::Persistence;
use cutwater_dataflows::persist::CheckpointPart;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::source::{DecodeRecord, Driver, Moved, Report, Turn};
use cutwater_dataflows::{Activator, SyncActivator};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::{Inspect as _, Probe as _, probe::Handle};

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 1_000_000;
const TIMES: u64 = 100;
/// Updates of an epoch.
const EPOCH: u64 = 100_000;

#[derive(Serialize, Deserialize)]
struct Figures {
    updates: u64,
    /// Of the checkpoint's files.
    bytes: u64,
    rows: u64,
    seconds: f64,
    resident: u64,
}

#[derive(Serialize)]
struct Pair {
    once: Figures,
    often: Figures,
    of_bytes: f64,
}

fn main() -> Result<()> {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    if let [_, one, keys, times] = &std::env::args().collect::<Vec<_>>()[..]
        && one == "one"
    {
        println!("{}", serde_json::to_string(&measure(keys.parse()?, times.parse()?)?)?);
        return Ok(());
    }
    let (keys, times) = match numbers[..] {
        [keys, times] => (keys, times),
        _ => (KEYS, TIMES),
    };
    let measured = |times: u64| child(&["one", &keys.to_string(), &times.to_string()]);
    let (once, often): (Figures, Figures) = (measured(1)?, measured(times)?);
    for Figures { updates, bytes, rows, seconds, resident } in [&once, &often] {
        println!(
            "{updates:>11} updates of {keys} keys  {rows:>9} rows  {:>6.1} MiB  {:>6.2} M updates/s  {:>5} MiB of memory",
            *bytes as f64 / 1_048_576.0,
            *updates as f64 / seconds / 1e6,
            resident >> 20
        );
    }
    let of_bytes = often.bytes as f64 / once.bytes as f64;
    println!("a checkpoint after {times} updates a key is {of_bytes:.2} times as large as after one");
    figures::write(&Pair { once, often, of_bytes })
}

/// A table of text by number.
#[derive(clap::Args, Debug)]
struct Table {}

impl Dataflow for Table {
    const NAME: &'static str = "table";
    fn build(&self, flow: &Flow<'_>) {
        flow.input("updates").decode(Update).upsert("table").output("table", &["key"], &["value"]);
    }
}

/// An update: its key in the record's key, its value in the value.
struct Update;

impl Decode for Update {
    type Row = (i64, (i64, Option<Text>));
    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Self::Row>) -> Result<(), Malformed> {
        let key = record.key.and_then(|key| key.try_into().ok()).ok_or(Malformed::because("no key"))?;
        let value = record.value.and_then(|value| std::str::from_utf8(value).ok());
        rows.push((i64::from_be_bytes(key), (record.offset, value)));
        Ok(())
    }
}

/// Updates of keys at random; each key once where that is all.
struct Updates {
    keys: u64,
    updates: u64,
    next: u64,
    random: SmallRng,
    here: Option<Activator>,
    /// The epoch before is to go through the dataflow first: there is no other bound on what is in flight.
    rests: bool,
}

impl Driver for Updates {
    fn first(&self) -> Epoch {
        1
    }
    fn attach(&mut self, here: Activator, _anywhere: SyncActivator) {
        self.here = Some(here);
    }
    fn turn(&mut self, decode: &mut DecodeRecord<'_>) -> Turn {
        self.rests = !self.rests;
        if !self.rests {
            self.here.iter().for_each(Activator::activate);
            return Turn::Yield;
        }
        let begin = self.next;
        while self.next < self.updates && self.next < begin + EPOCH {
            // Each key is there from the first round on.
            let key = if self.next < self.keys { self.next } else { self.random.random_range(0..self.keys) };
            let value = format!("update {:012} of all", self.next);
            let (offset, key) = (self.next as i64, key.to_be_bytes());
            decode(&Record { offset, key: Some(&key), ..Record::of_value(Some(value.as_bytes())) });
            self.next += 1;
        }
        let next = self.next as i64;
        let moved = Moved { topic: "updates".into(), partition: 0, start: None, id: None, next, end: next };
        let report = Report { moved: vec![moved], records: self.next - begin, ..Report::default() };
        if self.next < self.updates { Turn::Close(report) } else { Turn::Done(report) }
    }
}

fn measure(keys: u64, times: u64) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let (storage, _lock) = storage::claim(&folder.path().to_string_lossy())?;
    let fault = Fault::default();
    let files = RunFiles::new(Arc::clone(&storage), "first", Sizes::default());
    let (writers, threads) = RunStateWriters::start(files, BTreeMap::new(), &fault)?;
    let writers = Arc::new(writers);
    let updates = keys * times;
    let began = Instant::now();
    let parts = timely::execute_directly(move |worker| {
        let probe = Handle::<Epoch>::new();
        let parts = Rc::new(RefCell::new(Vec::<CheckpointPart>::new()));
        let found = Rc::clone(&parts);
        worker.dataflow(|scope| {
            let place = Place { worker: 0, workers: 1 };
            let writers = Box::new(move |name: &str, sharding| writers.writer(name, place, sharding));
            let persistence = Persistence { writers, barriers: empty(scope) };
            let drivers = Box::new(move |_: &str| -> Box<dyn Driver> {
                let random = SmallRng::seed_from_u64(1);
                Box::new(Updates { keys, updates, next: 0, random, here: None, rests: false })
            });
            let mut parts = Flow::build(scope, &Table {}, drivers, Some(persistence), FlowTime::default());
            let output = parts.outputs.pop().expect("it has an output");
            (output.changes)(false).probe_with(&probe);
            for part in parts.checkpoint_parts {
                let found = Rc::clone(&found);
                part.inspect(move |part| found.borrow_mut().push(part.clone())).probe_with(&probe);
            }
        });
        while !probe.done() {
            worker.step();
        }
        parts.take()
    });
    let seconds = began.elapsed().as_secs_f64();
    threads.join();
    if let Some(error) = fault.take() {
        return Err(error);
    }
    let runs = parts.iter().filter(|part| part.epoch.is_none()).flat_map(|part| &part.runs);
    let (bytes, rows) = runs.fold((0, 0), |(bytes, rows), run| (bytes + run.bytes, rows + run.rows));
    ensure!(rows >= keys, "{rows} rows of {keys} keys");
    Ok(Figures { updates, bytes, rows, seconds, resident: memory::resident("VmRSS") })
}
