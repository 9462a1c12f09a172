//! A query as it is, fed from memory.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use cutwater::anyhow::Result;
use cutwater::dataflows::clock::FlowTime;
use cutwater::dataflows::source::{DecodeRecord, Driver, Report, Turn};
use cutwater::dataflows::watermark::{EventTimes, Known, TimeReport};
use cutwater::dataflows::{Activator, Entry, SyncActivator};
use cutwater::prelude::*;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Inspect, Probe};

use crate::{EPOCH, Pass, seconds};

/// Feeds it all events, epoch by epoch: the next one is read when the last one has come out.
pub(crate) fn pass(entry: &Entry, events: Vec<Vec<u8>>) -> Result<Pass> {
    let query = entry.parse(&entry.arguments(clap::Command::new("run")).try_get_matches_from(["run"])?)?;
    let epochs = events.len().div_ceil(EPOCH) as u64;
    Ok(timely::execute_directly(move |worker| {
        let (feed, probe, changes) = (Feed::of(events), Handle::new(), Rc::new(Cell::new(0)));
        worker.dataflow(|scope| {
            let (driver, seen) = (feed.clone(), Rc::clone(&changes));
            let drivers = Box::new(move |_: &str| Box::new(driver.clone()) as Box<dyn Driver>);
            let mut parts = Flow::build(scope, &*query, drivers, None, FlowTime::default());
            let output = parts.outputs.pop().expect("it has an output");
            let count = move |batch: &cutwater::dataflows::flat::FlatBatch| {
                seen.set(seen.get() + batch.len());
            };
            (output.changes)(false)
                .inspect_core(move |event| event.iter().for_each(|(_, batch)| count(batch)))
                .probe_with(&probe);
        });
        let seconds = seconds(|| {
            for epoch in 1..=epochs {
                feed.ask();
                while probe.less_equal(&epoch) {
                    worker.step();
                }
            }
        });
        feed.0.borrow_mut().ended = true;
        feed.ask();
        (seconds, changes.get())
    }))
}

/// Gives an epoch when it is asked for one.
#[derive(Clone)]
struct Feed(Rc<RefCell<Events>>);

struct Events {
    records: std::vec::IntoIter<Vec<u8>>,
    asked: bool,
    ended: bool,
    closed: i64,
    here: Option<Activator>,
}

impl Feed {
    fn of(records: Vec<Vec<u8>>) -> Self {
        let records = records.into_iter();
        Feed(Rc::new(RefCell::new(Events { records, asked: false, ended: false, closed: 0, here: None })))
    }

    fn ask(&self) {
        let mut events = self.0.borrow_mut();
        events.asked = true;
        events.here.iter().for_each(Activator::activate);
    }
}

impl Driver for Feed {
    fn first(&self) -> Epoch {
        1
    }

    fn attach(&mut self, here: Activator, _anywhere: SyncActivator) {
        self.0.borrow_mut().here = Some(here);
    }

    fn turn(&mut self, decode: &mut DecodeRecord<'_>) -> Turn {
        let events = &mut *self.0.borrow_mut();
        if events.ended {
            return Turn::Done(Report::default());
        }
        if !std::mem::take(&mut events.asked) {
            return Turn::Yield;
        }
        let mut high = None;
        let mut records = 0;
        for value in events.records.by_ref().take(EPOCH) {
            let decoded = decode(&Record::of_value(Some(&value)));
            assert_eq!(decoded.malformed, None, "it is an event");
            high = high.max(decoded.event_time.map(Timestamp::micros));
            records += 1;
        }
        // Ten seconds of event time an epoch, and as many of processing time.
        events.closed += 10_000_000;
        let known = Known::Read(EventTimes { low: None, high });
        let time = Some(TimeReport { worker: 0, forced: true, closed: events.closed, known });
        Turn::Close(Report { records, time, ..Report::default() })
    }
}
