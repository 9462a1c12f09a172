//! Windows of time: which ones a time is in.

use std::time::Duration;

use crate::collection::Collection;
use crate::operators::map::Map;
use crate::operators::micros::{after, micros};
use crate::rows::{Row, Timestamp};

/// Windows of one size, `[start, start + size)`, each a hop after the one before, counted from the Unix epoch.
///
/// A window is known by its start. A size of 0 means one window for all time, which has no start: `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    size: i64,
    hop: i64,
}

impl Window {
    /// Windows side by side: a time is in one of them.
    pub fn tumbling(size: Duration) -> Self {
        Window::hopping(size, size)
    }

    /// Windows that begin each `hop`: a time is in as many as overlap, in none where it lies in a gap between them. A hop of
    /// less than a microsecond is one of a microsecond.
    pub fn hopping(size: Duration, hop: Duration) -> Self {
        Window { size: micros(size), hop: micros(hop).max(1) }
    }

    /// The start of the last window that begins at this time or before; `None` where one is for all time. Of tumbling windows,
    /// the one that the time is in.
    #[inline]
    pub fn start(&self, at: Timestamp) -> Option<Timestamp> {
        // A window that begins before all times is said to begin with them.
        (self.size > 0)
            .then(|| Timestamp::from_micros(at.micros().saturating_sub(at.micros().rem_euclid(self.hop))))
    }

    /// The starts of all windows that a time is in, the last one first. `[None]` where one is for all time.
    pub fn starts(&self, at: Timestamp) -> impl Iterator<Item = Option<Timestamp>> + use<> {
        let Window { size, hop } = *self;
        let holds = move |start: &i64| start.checked_add(size).is_none_or(|end| at.micros() < end);
        let before = move |start: &i64| start.checked_sub(hop);
        let last = self.start(at).map(Timestamp::micros);
        let starts = std::iter::successors(last, before).take_while(holds);
        starts.map(|start| Some(Timestamp::from_micros(start))).chain((size == 0).then_some(None))
    }

    /// Where a window ends that begins there: a time before is in it, this one is not. `None` of the one for all time.
    #[inline]
    pub fn end(&self, start: Option<Timestamp>) -> Option<Timestamp> {
        start.map(|start| after(start, self.size))
    }
}

/// Puts rows in windows.
pub trait Windows<'s, R: Row> {
    /// Each row with the start of each window that it is in before it, by the time that `at` reads in it.
    ///
    /// Nothing is remembered: what is made of a window's rows is any operator's affair, and [`Sum::sum_until`] and its like
    /// drop the state of a window that nothing can change any more. A row costs as much as it has windows.
    ///
    /// [`Sum::sum_until`]: crate::operators::Sum::sum_until
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// use std::time::Duration;
    /// /// Every ten seconds, the views of the last minute.
    /// fn lately<'s>(views: Collection<'s, (Timestamp, Text)>) -> Collection<'s, (Option<Timestamp>, i64)> {
    ///     let minute = Window::hopping(Duration::from_secs(60), Duration::from_secs(10));
    ///     views.windows(minute, |(at, _page)| *at).map(|&(start, _view)| (start, 1)).sum("lately")
    /// }
    /// # use cutwater_dataflows::testing::{Given, Test, given};
    /// # let test = Test::building("lately", |flow| {
    /// #     lately(flow.input("views").decode(Given::new())).output("lately", &["window"], &["views"]);
    /// # });
    /// # let view = |second: i64| ("views", given(&(Timestamp::from_micros(second * 1_000_000), Text::from("home")), 1));
    /// # let outcome = test.epoch([view(60), view(65), view(119)]).check();
    /// # assert_eq!(outcome.rows("lately")[4], r#"{"window":"1970-01-01T00:00:50Z","views":2}"#);
    /// # assert_eq!(outcome.rows("lately")[5], r#"{"window":"1970-01-01T00:01:00Z","views":3}"#);
    /// # assert_eq!(outcome.rows("lately").len(), 11);
    /// ```
    fn windows(
        self,
        window: Window,
        at: impl for<'a> Fn(&R::Ref<'a>) -> Timestamp + 'static,
    ) -> Collection<'s, (Option<Timestamp>, R)>;
}

impl<'s, R: Row> Windows<'s, R> for Collection<'s, R> {
    fn windows(
        self,
        window: Window,
        at: impl for<'a> Fn(&R::Ref<'a>) -> Timestamp + 'static,
    ) -> Collection<'s, (Option<Timestamp>, R)> {
        self.flat_map(move |row, out| window.starts(at(&row)).for_each(|start| out.push((start, row))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_time_is_in_the_windows_that_begin_at_it_or_before_and_end_after_it() {
        for (size, hop) in [(10, 10), (10, 5), (10, 3), (3, 10), (1, 1)] {
            let window = Window::hopping(micros(size), micros(hop));
            for time in -40..40 {
                let all = (-100..100).map(|number| number * hop as i64);
                let expected: Vec<_> =
                    all.filter(|start| *start <= time && time < start + size as i64).rev().collect();
                let found: Vec<_> = window.starts(at(time)).map(|start| start.unwrap().micros()).collect();
                assert_eq!(found, expected, "{time} in windows of {size} each {hop}");
                if size == hop {
                    assert_eq!(window.start(at(time)).map(Timestamp::micros), expected.first().copied());
                }
            }
        }
    }

    #[test]
    fn one_window_for_all_time_has_no_start_and_no_end() {
        let window = Window::tumbling(Duration::ZERO);
        assert_eq!(window.starts(at(7)).collect::<Vec<_>>(), [None]);
        assert_eq!((window.start(at(7)), window.end(None)), (None, None));
    }

    #[test]
    fn the_first_and_last_times_are_in_a_window() {
        for window in [Window::tumbling(micros(1000)), Window::tumbling(Duration::MAX)] {
            for time in [at(i64::MIN), at(i64::MAX)] {
                let start = window.start(time);
                assert!(start <= Some(time) && window.end(start) >= Some(time));
                assert!(window.starts(time).count() <= 1);
            }
        }
    }
}
