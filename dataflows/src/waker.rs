//! Wakers: how an operator that waits for time asks for an epoch although no record comes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::Activator;
use crate::rows::Timestamp;
use crate::watermark::Now;

/// Asks for an epoch when a time comes that an operator waits for. Without that, no epoch closes until a record comes.
///
/// It stands for one operator on one worker, and holds one time of each kind: what is asked for replaces what was asked for
/// before, and a time that [`Flow::now`](crate::Flow::now) has reached is dropped. So an operator asks for its next times
/// whenever it has seen a `Now`.
///
/// An operator that is restored asks as soon as it knows what it waits for.
///
/// [`Stateful::stateful_with`](crate::operators::Stateful::stateful_with) does all this for states by key. By hand:
///
/// ```
/// # use cutwater_dataflows::prelude::*;
/// # use cutwater_dataflows::testing::{Sample, Test};
/// # use timely::container::CapacityContainerBuilder;
/// # use timely::dataflow::channels::pact::Pipeline;
/// # use timely::dataflow::operators::Operator;
/// /// A row at each full minute of the wall clock, on the first worker.
/// fn minutes<'s>(flow: &Flow<'s>) -> Collection<'s, Timestamp> {
///     const MINUTE: i64 = 60_000_000;
///     let (now, waker) = (flow.now(), flow.waker());
///     let first = now.scope().index() == 0;
///     let rows = now.unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, "Minutes", move |_, _| {
///         let mut next = None;
///         move |input, output| {
///             input.for_each(|capability, now| {
///                 for now in now.drain(..).filter(|_| first) {
///                     if next.is_some_and(|next| now.closed >= next) {
///                         let epoch = *capability.least().expect("a message has a time");
///                         output.session(&capability).give((now.closed, epoch, 1));
///                     }
///                     let minute = Timestamp::from_micros((now.closed.micros() / MINUTE + 1) * MINUTE);
///                     waker.at(minute);
///                     next = Some(minute);
///                 }
///             });
///         }
///     });
///     flow.collection(differential_dataflow::AsCollection::as_collection(rows))
/// }
/// # let test = Test::building("minutes", |flow| {
/// #     minutes(flow).output("minutes", &["at"], &[]);
/// #     flow.input("a").decode(cutwater_dataflows::word_count::Tokenizer::Whitespace);
/// # });
/// # let test = test.epoch::<Sample>([]).epoch::<Sample>([]).at(Timestamp::from_micros(61_000_000));
/// # assert_eq!(test.run().rows("minutes"), [r#"{"at":"1970-01-01T00:01:01Z"}"#]);
/// ```
pub struct Waker {
    wanted: Rc<Cell<Wanted>>,
    wakers: Wakers,
}

/// What an operator waits for. Microseconds since the Unix epoch.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Wanted {
    closed: Option<i64>,
    watermark: Option<i64>,
}

impl Waker {
    /// Asks for an epoch that closes at this wall-clock time or later, soon after it has come.
    pub fn at(&self, time: Timestamp) {
        self.set(Wanted { closed: Some(time.micros()), ..self.wanted.get() });
    }

    /// Asks for an epoch when the watermark may reach this time, although no record comes: when partitions become idle that
    /// hold it back.
    pub fn at_watermark(&self, time: Timestamp) {
        self.set(Wanted { watermark: Some(time.micros()), ..self.wanted.get() });
    }

    /// Asks for nothing any more.
    pub fn rest(&self) {
        self.set(Wanted::default());
    }

    fn set(&self, wanted: Wanted) {
        if self.wanted.replace(wanted) != wanted {
            self.wakers.0.heard.borrow().iter().for_each(Activator::activate);
        }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.wanted.set(Wanted::default());
    }
}

/// All wakers of a worker's dataflow, for the runtime.
#[derive(Clone, Default)]
pub struct Wakers(Rc<Shared>);

#[derive(Default)]
struct Shared {
    wanted: RefCell<Vec<Rc<Cell<Wanted>>>>,
    /// Run when an operator asks for something.
    heard: RefCell<Option<Activator>>,
    /// True once anything of the dataflow depends on time.
    timed: Cell<bool>,
}

impl Wakers {
    /// A new one.
    pub(crate) fn waker(&self) -> Waker {
        self.0.timed.set(true);
        let wanted = Rc::default();
        self.0.wanted.borrow_mut().push(Rc::clone(&wanted));
        Waker { wanted, wakers: self.clone() }
    }

    /// Has an operator run when anything is asked for.
    pub fn on_asked(&self, operator: Activator) {
        *self.0.heard.borrow_mut() = Some(operator);
    }

    /// The earliest wall-clock time that is asked for.
    pub fn closed(&self) -> Option<i64> {
        self.0.wanted.borrow().iter().filter_map(|wanted| wanted.get().closed).min()
    }

    /// The earliest watermark that is asked for.
    pub fn watermark(&self) -> Option<i64> {
        self.0.wanted.borrow().iter().filter_map(|wanted| wanted.get().watermark).min()
    }

    /// True iff something of the dataflow depends on time.
    pub fn is_timed(&self) -> bool {
        self.0.timed.get()
    }

    /// Something of the dataflow depends on time.
    pub(crate) fn timed(&self) {
        self.0.timed.set(true);
    }

    /// Operators are about to see this `Now`: what it reaches is no longer asked for.
    pub(crate) fn reached(&self, now: Now) {
        for wanted in self.0.wanted.borrow().iter() {
            let Wanted { closed, watermark } = wanted.get();
            let reached = now.watermark.map(Timestamp::micros);
            wanted.set(Wanted {
                closed: closed.filter(|&time| time > now.closed.micros()),
                watermark: watermark.filter(|&time| reached.is_none_or(|reached| time > reached)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_or_dropped_is_not_asked_for() {
        let wakers = Wakers::default();
        assert!(!wakers.is_timed());
        let (one, two) = (wakers.waker(), wakers.waker());
        assert!(wakers.is_timed());
        one.at(Timestamp::from_micros(5));
        one.at(Timestamp::from_micros(7));
        two.at(Timestamp::from_micros(6));
        two.at_watermark(Timestamp::from_micros(3));
        assert_eq!((wakers.closed(), wakers.watermark()), (Some(6), Some(3)));
        let now = |closed, watermark: Option<i64>| Now {
            watermark: watermark.map(Timestamp::from_micros),
            closed: Timestamp::from_micros(closed),
        };
        wakers.reached(now(6, None));
        assert_eq!((wakers.closed(), wakers.watermark()), (Some(7), Some(3)));
        wakers.reached(now(6, Some(3)));
        assert_eq!((wakers.closed(), wakers.watermark()), (Some(7), None));
        two.at_watermark(Timestamp::from_micros(9));
        two.rest();
        drop(one);
        assert_eq!((wakers.closed(), wakers.watermark()), (None, None));
    }
}
