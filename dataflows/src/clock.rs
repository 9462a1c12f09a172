//! Time, as of the cut: the watermark and the wall-clock time at which an epoch closed. Both come from the ledger where an
//! epoch is replayed, so what depends on them is decided as in the first run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::core::feedback::Handle;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Capability, Concatenate, ConnectLoop, Feedback, Operator};
use timely::dataflow::{Scope, Stream};

use crate::Epoch;
use crate::collection::{Collection, Snapshot};
use crate::flat::FlatBatch;
use crate::flow::Flow;
use crate::lateness::Limits;
use crate::rows::{Row, Timestamp, encode_into};
use crate::source::Report;
use crate::waker::{Waker, Wakers};
use crate::watermark::{TimeReport, Times, Watermarks};

/// The time of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Up to where the records have come, by event time: the least watermark of the partitions that are not idle, over all
    /// inputs. `None` as long as nothing is known of one of them. It never goes back.
    pub watermark: Option<Timestamp>,
    /// The wall-clock time at which the epoch closed. It never goes back.
    pub closed: Timestamp,
}

impl From<&Times> for Now {
    fn from(times: &Times) -> Self {
        let watermark = times.watermark.map(Timestamp::from_micros);
        Now { watermark, closed: Timestamp::from_micros(times.closed) }
    }
}

/// The row of [`Flow::clock`]: a [`Now`].
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clock {
    /// As [`Now::watermark`].
    pub watermark: Option<Timestamp>,
    /// As [`Now::closed`].
    pub closed: Timestamp,
}

/// What the runtime gives a dataflow of time, and takes.
#[derive(Clone, Default)]
pub struct FlowTime {
    /// The times of the epoch that the run resumes after; `None` where it begins.
    pub before: Option<Times>,
    /// Asked for by operators, heard by the runtime.
    pub wakers: Wakers,
}

/// The time of a flow under construction. Nothing of it is built unless the dataflow asks.
pub(crate) struct TimeOfFlow<'s> {
    given: FlowTime,
    now: RefCell<Option<Stream<'s, Epoch, Vec<Now>>>>,
    /// Takes what the workers report, once all inputs are there.
    reports: RefCell<Option<Handle<'s, Epoch, Vec<Told>>>>,
    /// What decides on late records, where a lateness is set.
    limits: RefCell<Option<Rc<Limits>>>,
}

/// What a worker reports to all: the input, whether something was read or the epoch was closed for a timer, and the time.
type Told = (String, bool, TimeReport);

impl<'s> TimeOfFlow<'s> {
    pub(crate) fn new(given: FlowTime) -> Rc<Self> {
        Rc::new(TimeOfFlow {
            given,
            now: RefCell::default(),
            reports: RefCell::default(),
            limits: RefCell::default(),
        })
    }

    /// Sets the lateness. Late records need the time.
    fn set_lateness(&self, lateness: Duration, scope: Scope<'s, Epoch>) {
        let before = self.given.before.as_ref().and_then(|before| Now::from(before).watermark);
        *self.limits.borrow_mut() = Some(Limits::new(lateness, before));
        drop(self.now(scope));
    }

    pub(crate) fn limits(&self) -> Option<Rc<Limits>> {
        self.limits.borrow().clone()
    }

    fn now(&self, scope: Scope<'s, Epoch>) -> Stream<'s, Epoch, Vec<Now>> {
        let mut now = self.now.borrow_mut();
        let build = || {
            // All inputs are needed, and some may be named later. This is no loop, so nothing is advanced.
            let (handle, told) = scope.feedback(0);
            *self.reports.borrow_mut() = Some(handle);
            self.given.wakers.timed();
            tell(told, self.given.clone(), self.limits())
        };
        now.get_or_insert_with(build).clone()
    }

    /// All inputs are there, and these are their reports.
    pub(crate) fn finish(&self, scope: Scope<'s, Epoch>, reports: &[Stream<'s, Epoch, Vec<Report>>]) {
        let Some(handle) = self.reports.borrow_mut().take() else { return };
        let told = scope.concatenate(reports.iter().cloned());
        let told = told.flat_map(|report: Report| {
            let is_epoch = report.is_epoch();
            report.time.map(|time| (report.input, is_epoch, time))
        });
        told.broadcast().connect_loop(handle);
    }
}

/// Tells the time of each epoch, when all workers have reported.
fn tell<'s>(
    told: Stream<'s, Epoch, Vec<Told>>,
    given: FlowTime,
    limits: Option<Rc<Limits>>,
) -> Stream<'s, Epoch, Vec<Now>> {
    let FlowTime { before, wakers } = given;
    let mut watermarks = Watermarks::after(before.unwrap_or_default());
    told.unary_frontier::<CapacityContainerBuilder<Vec<Now>>, _, _, _>(Pipeline, "Now", |_, _| {
        let mut pending: BTreeMap<Epoch, (Capability<Epoch>, Vec<Told>)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, told| {
                let Some(held) = capability.retain_least(0) else { return };
                pending.entry(*held.time()).or_insert_with(|| (held, Vec::new())).1.append(told);
            });
            while let Some(first) = pending.first_entry().filter(|first| !frontier.less_equal(first.key())) {
                let (capability, told) = first.remove();
                // When the inputs end, a worker may say something although there is no such epoch.
                if told.iter().any(|&(_, is_epoch, _)| is_epoch) {
                    let times = told.iter().map(|(input, _, time)| (input.as_str(), *time));
                    let now = Now::from(watermarks.advance(times));
                    wakers.reached(now);
                    output.session(&capability).give(now);
                }
            }
            if let Some(limits) = &limits
                && let Some(open) = frontier.frontier().first()
            {
                limits.reached(open.saturating_sub(1), Now::from(watermarks.times()).watermark);
            }
        }
    })
}

/// Rows of [`Clock`], on the first worker.
fn rows<'s>(now: Stream<'s, Epoch, Vec<Now>>, before: Option<Now>) -> Stream<'s, Epoch, FlatBatch> {
    let first = now.scope().index() == 0;
    now.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Clock", move |capability, _| {
        let mut snapshot = Some(capability);
        let mut last = before.filter(|_| first);
        move |input, output| {
            if let Some(capability) = snapshot.take()
                && let Some(last) = last
            {
                output.session(&capability).give_container(&mut changes(None, Some(last)));
            }
            input.for_each(|capability, told| {
                for now in told.drain(..).filter(|_| first) {
                    if last == Some(now) {
                        continue;
                    }
                    output.session(&capability).give_container(&mut changes(last.replace(now), Some(now)));
                }
            });
        }
    })
}

/// Withdraws a row and adds another.
fn changes(old: Option<Now>, new: Option<Now>) -> FlatBatch {
    let mut batch = FlatBatch::default();
    let mut row = Vec::new();
    for (now, diff) in old.map(|old| (old, -1)).into_iter().chain(new.map(|new| (new, 1))) {
        row.clear();
        let clock = Clock { watermark: now.watermark, closed: now.closed };
        encode_into::<Clock>(clock.borrow(), &mut row);
        batch.push(&row, diff);
    }
    batch
}

impl<'s> Flow<'s> {
    /// The time of each epoch, as a collection of one row that changes with every epoch.
    ///
    /// It costs a change an epoch in all that is made of it: join it with little.
    pub fn clock(&self) -> Collection<'s, Clock> {
        self.made(rows(self.now(), self.resumed_at()), Snapshot::default()).unique_by(0)
    }

    /// The time of each epoch, for operators that wait for a time: one message an epoch on each worker, at the epoch's own
    /// time. It comes when all workers have closed the epoch.
    pub fn now(&self) -> Stream<'s, Epoch, Vec<Now>> {
        self.time().now(self.scope())
    }

    /// How far behind the watermark a record may come and still count: a late one becomes a dead letter. `None`: all count.
    ///
    /// An operator whose state nothing can change any more, since its time is further behind the watermark than that, may
    /// drop it. What it has handed on stays.
    pub fn lateness(&self) -> Option<Duration> {
        self.time().limits().map(|limits| limits.lateness())
    }

    /// Sets the lateness: before the first input is named.
    pub(crate) fn set_lateness(&self, lateness: Duration) {
        self.time().set_lateness(lateness, self.scope());
    }

    /// The time of the epoch that the run resumes after, if it does: that of all restored rows.
    pub fn resumed_at(&self) -> Option<Now> {
        self.time().given.before.as_ref().map(Now::from)
    }

    /// Asks for epochs when a time comes and no record does. One for each operator that waits.
    pub fn waker(&self) -> Waker {
        // It is told what was reached.
        drop(self.now());
        self.time().given.wakers.waker()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decode, Rows};
    use crate::record::{Malformed, Record};
    use crate::rows::Text;
    use crate::testing::{Sample, Test};

    struct Lines;

    impl Decode for Lines {
        type Row = Text;
        fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Text>) -> Result<(), Malformed> {
            rows.push(std::str::from_utf8(record.value.unwrap_or_default()).unwrap_or_default());
            Ok(())
        }
    }

    fn at(millis: i64) -> Sample {
        Sample { timestamp: Some(millis), ..Sample::from("line") }
    }

    #[test]
    fn the_clock_is_one_row_also_after_a_restart_and_without_records() {
        let test = Test::building("clock", |flow| {
            // Before the inputs are named.
            flow.clock().output("clock", &["watermark"], &["closed"]);
            flow.input("a").decode(Lines);
            flow.input("b").decode(Lines);
        });
        let test = test
            .epoch::<Sample>([])
            .epoch([("a", at(7)), ("b", at(5)), ("a", at(6))])
            .restart()
            .epoch([("b", at(3))])
            .at(Timestamp::from_micros(1))
            .epoch([("b", at(9))])
            .at(Timestamp::from_micros(9_000_000));
        let outcome = test.check();
        let row = |watermark: &str, second: i64| {
            format!(r#"{{"watermark":{watermark},"closed":"1970-01-01T00:00:0{second}Z"}}"#)
        };
        let (seven, nine) = (r#""1970-01-01T00:00:00.007Z""#, r#""1970-01-01T00:00:00.009Z""#);
        assert_eq!(outcome.changes_of("clock", 1), [format!("+1 {}", row("null", 1))]);
        let second = [format!("-1 {}", row("null", 1)), format!("+1 {}", row(seven, 2))];
        assert_eq!(outcome.changes_of("clock", 2), second);
        assert!(outcome.changes_of("clock", 3).is_empty(), "nothing has changed");
        assert_eq!(outcome.rows("clock"), [row(nine, 9)]);
    }
}
