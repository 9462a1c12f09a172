//! What decides on late records, as [`lateness`](mod@crate::lateness) says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::operators::micros::{after, micros};
use crate::record::Malformed;
use crate::rows::Timestamp;
use crate::{Activator, Epoch};

/// `time` less `lateness`: what is before it is late, and what ends before it can change no more.
pub fn horizon(time: Timestamp, lateness: Duration) -> Timestamp {
    after(time, -micros(lateness))
}

/// What decides on the records of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The watermark of the epoch before; `None` where it is not known: then no record is late.
    watermark: Option<Timestamp>,
    lateness: Duration,
}

impl Limit {
    #[cfg(test)]
    pub(crate) fn new(watermark: Option<Timestamp>, lateness: Duration) -> Self {
        Limit { watermark, lateness }
    }

    /// Why a record with this event time does not count.
    #[inline]
    pub(crate) fn late(&self, event_time: Option<Timestamp>) -> Option<Malformed> {
        let (time, watermark) = (event_time?, self.watermark?);
        (time < horizon(watermark, self.lateness)).then(|| self.reason(time, watermark))
    }

    #[cold]
    fn reason(&self, time: Timestamp, watermark: Timestamp) -> Malformed {
        let lateness = humantime::format_duration(self.lateness);
        Malformed(
            format!("late: its event time {time} is more than the lateness, {lateness}, behind the watermark {watermark}")
                .into(),
        )
    }
}

/// The limits of a worker's sources: told by the operator that tells the time.
pub(crate) struct Limits {
    lateness: Duration,
    /// The watermark that the run resumes with.
    before: Option<Timestamp>,
    /// The newest epoch of which the time is known, and its watermark.
    known: Cell<Option<(Epoch, Option<Timestamp>)>>,
    sources: RefCell<Vec<Activator>>,
}

impl Limits {
    pub(crate) fn new(lateness: Duration, before: Option<Timestamp>) -> Rc<Self> {
        Rc::new(Limits { lateness, before, known: Cell::new(None), sources: RefCell::default() })
    }

    /// The lateness.
    pub(crate) fn lateness(&self) -> Duration {
        self.lateness
    }

    /// Has this source run when a limit becomes known.
    pub(crate) fn wake(&self, source: Activator) {
        self.sources.borrow_mut().push(source);
    }

    /// The times of all epochs up to this one are known. The watermark is that of the last one: no source is past an epoch
    /// on which it has not decided, so none needs an earlier one.
    pub(crate) fn reached(&self, epoch: Epoch, watermark: Option<Timestamp>) {
        if self.known.get().is_none_or(|(known, _)| known < epoch) {
            self.known.set(Some((epoch, watermark)));
            self.sources.borrow().iter().for_each(Activator::activate);
        }
    }

    /// What decides on the records of an epoch, once it is known. `first` is the first epoch of the run.
    pub(crate) fn of(&self, epoch: Epoch, first: Epoch) -> Option<Limit> {
        let watermark = match self.known.get() {
            _ if epoch == first => self.before,
            Some((known, watermark)) if known + 1 >= epoch => watermark,
            _ => return None,
        };
        Some(Limit { watermark, lateness: self.lateness })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Option<Timestamp> {
        Some(Timestamp::from_micros(micros))
    }

    #[test]
    fn a_record_is_late_that_is_more_than_the_lateness_behind() {
        let limit = |watermark| Limit { watermark, lateness: Duration::from_micros(10) };
        let late = |watermark, time| limit(watermark).late(time).is_some();
        assert!(!late(at(100), at(90)) && late(at(100), at(89)));
        assert!(!late(None, at(i64::MIN)) && !late(at(100), None));
        assert!(!late(at(i64::MIN), at(i64::MIN)), "it does not wrap around");
        let reason = limit(at(3_600_000_000)).late(at(0)).unwrap().0;
        for text in ["late", "1970-01-01T00:00:00Z", "10us", "1970-01-01T01:00:00Z"] {
            assert!(reason.contains(text), "{text} in {reason}");
        }
    }

    #[test]
    fn the_limit_of_an_epoch_is_the_watermark_of_the_one_before() {
        let limits = Limits::new(Duration::ZERO, at(5));
        let watermark = |epoch| limits.of(epoch, 3).map(|limit| limit.watermark);
        assert_eq!((watermark(3), watermark(4)), (Some(at(5)), None));
        limits.reached(2, at(9));
        assert_eq!((watermark(3), watermark(4)), (Some(at(5)), None));
        limits.reached(3, at(7));
        assert_eq!((watermark(4), watermark(5)), (Some(at(7)), None));
        limits.reached(3, at(8));
        assert_eq!(watermark(4), Some(at(7)));
    }
}
