//! Alarms: raised when a key has had too many events for a while, cleared when it has few.

use std::marker::PhantomData;
use std::time::Duration;

use crate::clock::Now;
use crate::collection::Collection;
use crate::group::Group;
use crate::operators::filter::Filter;
use crate::operators::map::{Emit, Map};
use crate::operators::micros::{after, micros};
use crate::operators::stateful::{Due, KeyedState, Stateful};
use crate::rows::{Row, Schema, Timestamp};

/// When an alarm is raised, and when it is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// How long the sliding window is in which events are counted.
    pub window: Duration,
    /// It is raised when more events than that have been in the window for `hold`.
    pub raise_above: i64,
    /// It is cleared when fewer events than that are in the window: at least 1, else never, and at most one more than
    /// `raise_above`.
    pub clear_below: i64,
    /// How long there must have been too many events without a break. With 0, the first one too many raises it.
    pub hold: Duration,
    /// How far behind the watermark of the epoch before an event may come and be taken as if it had come in time; with
    /// [`Duration::MAX`] however late.
    pub lateness: Duration,
}

/// Alarms by a level above which they are raised, and another below which they are cleared.
pub trait Hysteresis<'s, K: Row> {
    /// The alarms that stand at the watermark: for each key that has one, since when there have been too many events, and how
    /// many are in the window that ends at the watermark. `levels` says when the alarm of a key is raised and cleared; it must
    /// depend on the key alone.
    ///
    /// At any time *t* of the past, the window has the events later than *t* - `window`, up to *t*. An alarm goes up at the
    /// end of a span of `hold` throughout which there were more than `raise_above`; the start of that span is since when it
    /// stands. It goes down when there are fewer than `clear_below`. That is followed through all times at which the number
    /// changes, not through epochs: however records are cut into epochs, it is the same. The number in the result is that of
    /// the watermark, so it moves as long as the alarm stands: this is a row less and a row more in one epoch. An alarm that
    /// goes up and down between two watermarks is in no row.
    ///
    /// The answer follows from the events that are there and the watermark, as long as they come no more than `lateness` behind
    /// the watermark of the epoch before. What is older than `lateness` before the watermark is settled whenever a key is
    /// looked at: an event that comes later than that is counted from there on, as long as it is in a window, and raises and
    /// clears nothing in hindsight; if it is in none, it is dropped. A key of which nothing is held takes any event as if it
    /// came in time.
    ///
    /// With a `lateness` of [`Duration::MAX`] nothing is ever settled, and a key holds all its events. Else a key holds the events of the last `window` and `lateness`, those beyond the watermark, and two rows or three, under
    /// `name`: it costs these in each epoch in which it has an event, or waits for a time. It waits for the end of a `hold`;
    /// for each event that leaves the window, as long as its alarm stands; and else for the time at which nothing has to be
    /// held.
    ///
    /// ```
    /// # use cutwater_dataflows::operators::hysteresis::Levels;
    /// # use cutwater_dataflows::prelude::*;
    /// use std::time::Duration;
    ///
    /// /// Hosts with more than a hundred errors a minute, until there are fewer than ten.
    /// fn failing<'s>(errors: Collection<'s, (Text, Timestamp)>) -> Collection<'s, (Text, (Timestamp, i64))> {
    ///     let (window, hold) = (Duration::from_secs(60), Duration::from_secs(30));
    ///     let levels = Levels { window, raise_above: 100, clear_below: 10, hold, lateness: window };
    ///     errors.hysteresis("failing", move |_host| levels)
    /// }
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn hysteresis(
        self,
        name: &str,
        levels: impl for<'a> Fn(K::Ref<'a>) -> Levels + 'static,
    ) -> Collection<'s, (K, (Timestamp, i64))>;
}

impl<'s, K: Row> Hysteresis<'s, K> for Collection<'s, (K, Timestamp)> {
    #[track_caller]
    fn hysteresis(
        self,
        name: &str,
        levels: impl for<'a> Fn(K::Ref<'a>) -> Levels + 'static,
    ) -> Collection<'s, (K, (Timestamp, i64))> {
        let columns = Schema::of::<K>().columns.len();
        self.stateful_with(name, Alarms { levels, key: PhantomData })
            .filter(|&(_key, (what, ..))| what == ALARM)
            .map::<(K, (Timestamp, i64))>(|&(key, (_what, since, _, count))| (key, (since, count)))
            .unique_by(columns)
    }
}

/// A row of a key's state: what it is, which time it is of, and what else there is to say of that.
type Held = (i64, Timestamp, Option<Timestamp>, i64);

/// An event, as often as there are of its time.
const EVENT: i64 = 0;
/// Up to when the past is settled, since when there were too many events then, and whether the alarm stood.
const SETTLED: i64 = 1;
/// The alarm stands at the watermark: since when, and how many events there are. This is the result.
const ALARM: i64 = 2;
/// For which watermark the key waits. The last row.
const WAITS: i64 = 3;

/// How the state of a key follows.
struct Alarms<L, K> {
    levels: L,
    key: PhantomData<fn() -> K>,
}

impl<K: Row, L: for<'a> Fn(K::Ref<'a>) -> Levels + 'static> KeyedState for Alarms<L, K> {
    type Key = K;
    type Update = Timestamp;
    type State = Held;

    fn update(
        &mut self,
        key: K::Ref<'_>,
        state: Group<'_, Held>,
        updates: Group<'_, Timestamp>,
        now: Now,
        out: &mut Emit<'_, Held>,
    ) {
        let levels = Micros::from((self.levels)(key));
        let (mut events, mut settled) = (Vec::new(), None);
        for ((what, at, since, number), times) in state {
            match what {
                EVENT => events.push((at, times)),
                SETTLED => settled = Some((at, Phase::of(since, number))),
                _ => {}
            }
        }
        // No window after what is settled has an event that is older than this.
        let open = |at: Timestamp| settled.is_none_or(|(settled, _)| after(at, levels.window) > settled);
        events.extend(updates.iter().filter(|&(at, _)| open(at)));
        sum(&mut events);
        match now.watermark {
            Some(now) => Course::new(&events, levels, settled).follow(now, out),
            None => {
                events.iter().for_each(|&(at, times)| out.push_diff((EVENT, at, None, 0), times));
                out.extend(events.first().map(|&(at, _)| (WAITS, at, None, 0)));
            }
        }
    }

    fn due(&self, _key: K::Ref<'_>, state: Group<'_, Held>) -> Due {
        match state.last() {
            Some((WAITS, time, ..)) => Due::at_watermark(time),
            _ => Due::never(),
        }
    }
}

/// Sorts events, and sums those of the same time. They are two runs in order, which this sort merges.
fn sum(events: &mut Vec<(Timestamp, i64)>) {
    events.sort_by_key(|&(at, _)| at);
    events.dedup_by(|next, sum| {
        let same = next.0 == sum.0;
        if same {
            sum.1 += next.1;
        }
        same
    });
    events.retain(|&(_, times)| times != 0);
}

/// [`Levels`] in microseconds.
#[derive(Clone, Copy)]
struct Micros {
    window: i64,
    raise_above: i64,
    clear_below: i64,
    hold: i64,
    /// One more than the lateness: what is not late is not settled.
    settles: i64,
}

impl From<Levels> for Micros {
    fn from(levels: Levels) -> Self {
        let Levels { window, raise_above, clear_below, hold, lateness } = levels;
        let settles = micros(lateness).saturating_add(1);
        Micros { window: micros(window), raise_above, clear_below, hold: micros(hold), settles }
    }
}

/// How a key's alarm is at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There are not too many events.
    Quiet,
    /// There have been too many since then, not for long enough.
    Above(Timestamp),
    /// The alarm stands, and there were too many since then.
    Raised(Timestamp),
}

impl Phase {
    /// What a row says of it.
    fn of(since: Option<Timestamp>, number: i64) -> Self {
        match since {
            None => Phase::Quiet,
            Some(since) if number == 0 => Phase::Above(since),
            Some(since) => Phase::Raised(since),
        }
    }

    /// What a row says of it.
    fn row(self) -> (Option<Timestamp>, i64) {
        match self {
            Phase::Quiet => (None, 0),
            Phase::Above(since) => (Some(since), 0),
            Phase::Raised(since) => (Some(since), 1),
        }
    }
}

/// How the number of events in the window goes through time, and the alarm with it.
struct Course<'a> {
    events: &'a [(Timestamp, i64)],
    levels: Micros,
    /// Up to when the past is settled.
    settled: Option<Timestamp>,
    /// So many events have come into the window, of which so many have left it.
    entered: usize,
    left: usize,
    count: i64,
    phase: Phase,
}

impl<'a> Course<'a> {
    /// From what is settled on.
    fn new(events: &'a [(Timestamp, i64)], levels: Micros, settled: Option<(Timestamp, Phase)>) -> Self {
        let mut course =
            Course { events, levels, settled: None, entered: 0, left: 0, count: 0, phase: Phase::Quiet };
        if let Some((time, phase)) = settled {
            (course.phase, course.settled) = (phase, Some(time));
            course.entered = events.partition_point(|&(at, _)| at <= time);
            course.left = events.partition_point(|&(at, _)| after(at, levels.window) <= time);
            course.count = events[course.left..course.entered].iter().map(|(_, times)| times).sum();
            // If some have come late, there are others in the window now.
            course.turn(time);
        }
        course
    }

    /// Follows it to the watermark, and gives what is to be held from there on.
    fn follow(mut self, watermark: Timestamp, out: &mut Emit<'_, Held>) {
        // What is settled stays so, also where the lateness has become a greater one.
        let settled = after(watermark, -self.levels.settles);
        let settled = self.settled.map_or(settled, |before| settled.max(before));
        self.advance(settled);
        let (phase, first) = (self.phase, self.left);
        self.advance(watermark);
        let held = &self.events[first..];
        if held.is_empty() && phase == Phase::Quiet {
            return;
        }
        held.iter().for_each(|&(at, times)| out.push_diff((EVENT, at, None, 0), times));
        let (since, stands) = phase.row();
        out.push((SETTLED, settled, since, stands));
        if let Phase::Raised(since) = self.phase {
            out.push((ALARM, since, None, self.count));
        }
        out.extend(self.waits().map(|time| (WAITS, time, None, 0)));
    }

    /// For what there is something to be done next.
    fn waits(&self) -> Option<Timestamp> {
        let enters = self.events.get(self.entered).map(|&(at, _)| at);
        let changes = match self.phase {
            Phase::Quiet => {
                let last = self.events.last().filter(|_| self.levels.settles < i64::MAX);
                let last = last.map(|&(at, _)| after(at, self.levels.window));
                last.map(|left| after(left, self.levels.settles))
            }
            Phase::Above(since) => Some(after(since, self.levels.hold)),
            Phase::Raised(_) => self.leaves(),
        };
        enters.into_iter().chain(changes).min()
    }

    /// When the next event leaves the window.
    fn leaves(&self) -> Option<Timestamp> {
        let within = &self.events[self.left..self.entered];
        within.first().map(|&(at, _)| after(at, self.levels.window))
    }

    /// Goes on up to a time and with it.
    fn advance(&mut self, to: Timestamp) {
        loop {
            let enters = self.events.get(self.entered).map(|&(at, _)| at);
            let next = enters.into_iter().chain(self.leaves()).min();
            let Some(next) = next.filter(|&next| next <= to) else { break };
            while let Some(&(_, times)) = self.events.get(self.entered).filter(|&&(at, _)| at == next) {
                self.count += times;
                self.entered += 1;
            }
            while self.leaves() == Some(next) {
                self.count -= self.events[self.left].1;
                self.left += 1;
            }
            self.turn(next);
        }
        self.raise(|raised| raised <= to);
    }

    /// The number may be another one from this time on.
    fn turn(&mut self, time: Timestamp) {
        // There were too many up to this time.
        self.raise(|raised| raised < time);
        self.phase = match self.phase {
            Phase::Quiet if self.count > self.levels.raise_above => Phase::Above(time),
            Phase::Above(_) if self.count <= self.levels.raise_above => Phase::Quiet,
            Phase::Raised(_) if self.count < self.levels.clear_below => Phase::Quiet,
            phase => phase,
        };
        self.raise(|raised| raised <= time);
    }

    /// The alarm goes up, if that is to be at such a time.
    fn raise(&mut self, at: impl Fn(Timestamp) -> bool) {
        match self.phase {
            Phase::Above(since) if at(after(since, self.levels.hold)) => self.phase = Phase::Raised(since),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Text;
    use crate::testing::{Given, Sample, Test, given};

    fn test() -> Test {
        let second = Duration::from_secs;
        let (window, hold) = (second(10), second(0));
        let levels = Levels { window, raise_above: 2, clear_below: 2, hold, lateness: window };
        Test::building("alarms", move |flow| {
            let events = flow.input("events").decode(Given::<(Text, Timestamp)>::new());
            let alarms = events.hysteresis("alarms", move |_| levels);
            alarms.output("alarms", &["key"], &["since", "count"]);
        })
    }

    fn event(key: &str, second: i64) -> (&'static str, Sample) {
        let row = (Text::from(key), Timestamp::from_micros(second * 1_000_000));
        ("events", Sample { timestamp: Some(second * 1000), ..given(&row, 1) })
    }

    fn row(since: i64, count: i64) -> String {
        format!(r#"{{"key":"a","since":"1970-01-01T00:00:{since:02}Z","count":{count}}}"#)
    }

    #[test]
    fn an_alarm_goes_up_moves_and_goes_down() {
        let outcome = test()
            .epoch([event("a", 10), event("a", 11), event("a", 12)])
            .epoch([event("a", 15)])
            .restart()
            .epoch([event("b", 20)])
            .epoch([event("c", 21)])
            // Of the events of a, one is left.
            .epoch([event("d", 22)])
            .check();
        assert_eq!(outcome.changes_of("alarms", 1), [format!("+1 {}", row(12, 3))]);
        assert_eq!(
            outcome.changes_of("alarms", 2),
            [format!("-1 {}", row(12, 3)), format!("+1 {}", row(12, 4))]
        );
        assert_eq!(
            outcome.changes_of("alarms", 4),
            [format!("+1 {}", row(12, 2)), format!("-1 {}", row(12, 3))]
        );
        assert_eq!(outcome.changes_of("alarms", 5), [format!("-1 {}", row(12, 2))]);
    }

    #[test]
    fn what_comes_too_late_raises_nothing_in_hindsight() {
        let outcome = test()
            .epoch([event("a", 10), event("a", 15), event("a", 30)])
            .restart()
            // All before 20 is settled. These would have raised an alarm at 16; as it is, they do just before 20, and it is
            // cleared at 25.
            .epoch([event("a", 12), event("a", 16)])
            // In time: there are never fewer than two, so the alarm of 20 stands.
            .epoch([event("a", 21), event("a", 22)])
            .epoch([event("a", 31)])
            .check();
        assert!(outcome.changes_of("alarms", 1).is_empty() && outcome.changes_of("alarms", 2).is_empty());
        assert_eq!(outcome.rows("alarms"), [row(20, 3).replace("20Z", "19.999999Z")]);
    }
}
