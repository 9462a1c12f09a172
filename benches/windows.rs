//! What a short epoch costs over many open windows, and many open sessions: each epoch changes 900 of them, opens 100 and ends
//! 100, which the lateness drops. On 10 thousand, 100 thousand and a million, each in a process of its own, so that its memory is
//! known. No Kafka, no sinks.
//!
//! `cargo bench --bench windows [-- SIZE...] [--json FILE]`

#[path = "support/child.rs"]
mod child;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/memory.rs"]
mod memory;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use child::child;
use cutwater_dataflows::clock::FlowTime;
use cutwater_dataflows::lateness::with_lateness;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::source::{DecodeRecord, Driver, Report, Turn};
use cutwater_dataflows::watermark::{EventTimes, Known, TimeReport};
use cutwater_dataflows::{Activator, Build, SyncActivator};
use memory::resident;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::{Inspect, Probe, probe::Handle};

/// Open windows.
const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// Of an epoch: windows that change, and that begin. As many end.
const CHANGED: u64 = 900;
const BEGIN: u64 = 100;
/// Epochs that are measured, after as many as a tenth of them that are not.
const EPOCHS: usize = 1_000;
/// Windows in an epoch of the load.
const LOAD: u64 = 10_000;

/// What was measured of so many.
#[derive(Serialize, Deserialize)]
struct Figures {
    open: u64,
    median_micros: f64,
    p99_micros: f64,
    /// A window that changes, begins or ends, by the median.
    micros_a_change: f64,
    bytes_a_window: f64,
}

#[derive(Serialize)]
struct Size {
    windows: Figures,
    sessions: Figures,
}

/// What is made of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Windows,
    Sessions,
}

impl Build for Kind {
    fn name(&self) -> &'static str {
        "windows"
    }

    fn build(&self, flow: &Flow<'_>) {
        let events = flow.input("events").decode(Events);
        match self {
            Kind::Windows => {
                let window = Window::tumbling(Duration::from_millis(1));
                let counts = events
                    .flat_map::<((i64, Option<Timestamp>), i64)>(move |(key, at), out| {
                        out.push(((key, window.start(at)), 1));
                    })
                    .sum_until("counts", move |(_key, start)| window.end(start));
                counts.output("counts", &["key", "window"], &["count"]);
            }
            Kind::Sessions => {
                let sessions = events.sessions("sessions", Duration::from_millis(1));
                sessions.output("sessions", &["key", "start"], &["end", "events"]);
            }
        }
    }
}

/// Events of a key and a time, each eight bytes.
struct Events;

impl Decode for Events {
    type Row = (i64, Timestamp);
    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Self::Row>) -> Result<(), Malformed> {
        for event in record.value.unwrap_or_default().as_chunks::<16>().0 {
            let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            rows.push((number(&event[..8]), Timestamp::from_micros(number(&event[8..]))));
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if let [_, who, open] = &args[..]
        && let Ok(open) = open.parse()
    {
        let kind = if who == "windows" { Kind::Windows } else { Kind::Sessions };
        println!("{}", serde_json::to_string(&measured(kind, open)?)?);
        return Ok(());
    }
    let asked: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if asked.is_empty() { SIZES.to_vec() } else { asked };
    println!(
        "{:>10} {:<9} {:>10} {:>10} {:>12} {:>9}",
        "open", "", "median µs", "p99 µs", "µs a change", "B each"
    );
    let mut all = Vec::new();
    for size in sizes {
        let (windows, sessions): (Figures, Figures) =
            (child(&["windows", &size.to_string()])?, child(&["sessions", &size.to_string()])?);
        for (name, figures) in [("windows", &windows), ("sessions", &sessions)] {
            let Figures { open, median_micros, p99_micros, micros_a_change, bytes_a_window } = figures;
            println!(
                "{open:>10} {name:<9} {median_micros:>10.0} {p99_micros:>10.0} {micros_a_change:>12.3} {bytes_a_window:>9.1}"
            );
        }
        all.push(Size { windows, sessions });
    }
    figures::write(&all)
}

fn measured(kind: Kind, open: u64) -> Result<Figures> {
    timely::execute_directly(move |worker| {
        let (turns, probe, rows) = (Turns::default(), Handle::new(), Rc::new(Cell::new(0)));
        let seen = Rc::clone(&rows);
        // As many milliseconds as windows are open: each begins one after the one before.
        let dataflow = with_lateness(Arc::new(kind), Some(Duration::from_millis(open)));
        worker.dataflow(|scope| {
            let driver = turns.clone();
            let drivers = Box::new(move |_: &str| Box::new(driver.clone()) as Box<dyn Driver>);
            let mut parts = Flow::build(scope, &*dataflow, drivers, None, FlowTime::default());
            let output = parts.outputs.pop().expect("it has an output");
            (output.changes)(false)
                .inspect_core(move |event| {
                    if let Ok((_, batch)) = event {
                        seen.set(seen.get() + batch.len());
                    }
                })
                .probe_with(&probe);
        });
        let mut number = 0;
        let mut epoch = |events: Vec<i64>| {
            number += 1;
            turns.0.borrow_mut().events = Some(events);
            let start = Instant::now();
            turns.activate();
            while probe.less_equal(&number) {
                worker.step();
            }
            start.elapsed()
        };
        let before = resident("VmRSS");
        for first in (0..open).step_by(LOAD as usize) {
            epoch((first..open.min(first + LOAD)).map(|key| key as i64).collect());
        }
        let bytes = resident("VmRSS").saturating_sub(before) as f64 / open as f64;
        let mut random = SmallRng::seed_from_u64(1);
        let (mut next, loaded) = (open, rows.get());
        let mut times = Vec::with_capacity(EPOCHS);
        for turn in 0..EPOCHS + EPOCHS / 10 {
            // The oldest ones end in this epoch or were late already.
            let changed = (0..CHANGED).map(|_| random.random_range(next - open + 2 * BEGIN..next) as i64);
            let events: Vec<i64> = changed.chain((next..next + BEGIN).map(|key| key as i64)).collect();
            next += BEGIN;
            let time = epoch(events);
            if turn >= EPOCHS / 10 {
                times.push(time.as_secs_f64() * 1e6);
            }
        }
        turns.0.borrow_mut().ended = true;
        turns.activate();
        let changes = rows.get() - loaded;
        ensure!(changes > EPOCHS * CHANGED as usize, "only {changes} changes");
        times.sort_by(f64::total_cmp);
        let median_micros = times[times.len() / 2];
        Ok(Figures {
            open,
            median_micros,
            p99_micros: times[times.len() * 99 / 100],
            micros_a_change: median_micros / (CHANGED + 2 * BEGIN) as f64,
            bytes_a_window: bytes,
        })
    })
}

/// Gives each list of events as an epoch: an event is its key, which is its time in milliseconds as well.
#[derive(Clone, Default)]
struct Turns(Rc<RefCell<Next>>);

#[derive(Default)]
struct Next {
    events: Option<Vec<i64>>,
    high: i64,
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
        let Some(events) = next.events.take() else {
            return if next.ended { Turn::Done(Report::default()) } else { Turn::Yield };
        };
        let mut value = Vec::with_capacity(16 * events.len());
        for &key in &events {
            value.extend(key.to_le_bytes());
            value.extend((key * 1000).to_le_bytes());
        }
        next.high = next.high.max(events.iter().max().map_or(0, |key| key * 1000));
        let record = Record::of_value(Some(&value));
        assert_eq!(decode(&record).malformed, None, "they are events");
        let known = Known::Read(EventTimes { low: None, high: Some(next.high) });
        let time = Some(TimeReport { worker: 0, forced: true, closed: 0, known });
        Turn::Close(Report { records: 1, time, ..Report::default() })
    }
}
