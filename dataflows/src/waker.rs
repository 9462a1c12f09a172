//! Wakers: how an operator that waits for time asks for an epoch although no record comes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::Activator;
use crate::clock::Now;
use crate::rows::Timestamp;

/// Asks for an epoch when a time comes that an operator waits for. Without that, no epoch closes until a record comes.
///
/// It stands for one operator on one worker, and holds one time of each kind: what is asked for replaces what was asked for
/// before, and a time that [`Flow::now`](crate::Flow::now) has reached is dropped. So an operator asks for its next times
/// whenever it has seen a `Now`.
///
/// An operator that is restored asks as soon as it knows what it waits for.
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
