//! Time, as of the cut: the watermark and the wall-clock time at which an epoch closed. Both come from the ledger where an
//! epoch is replayed, so what depends on them is decided as in the first run.

use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::Epoch;
use crate::collection::{Collection, Snapshot};
use crate::flat::FlatBatch;
use crate::flow::Flow;
pub use crate::flow_time::FlowTime;
use crate::rows::{Row, Timestamp, encode_into};
use crate::waker::Waker;
pub use crate::watermark::Now;

/// The row of [`Flow::clock`]: a [`Now`].
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clock {
    /// As [`Now::watermark`].
    pub watermark: Option<Timestamp>,
    /// As [`Now::closed`].
    pub closed: Timestamp,
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
        self.time().before()
    }

    /// Asks for epochs when a time comes and no record does. One for each operator that waits.
    pub fn waker(&self) -> Waker {
        // It is told what was reached.
        drop(self.now());
        self.time().waker()
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
