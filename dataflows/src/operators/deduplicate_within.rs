//! Leaves out what comes soon after another one of its key, by event time.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use crate::clock::Now;
use crate::collection::{About, Collection, Snapshot};
use crate::group::Group;
use crate::operators::map::{ENCODED, Emit};
use crate::operators::micros::{after, micros};
use crate::operators::stateful::{Due, KeyedState, Stateful};
use crate::rows::{Row, Timestamp, decode};

/// Leaves out what comes soon after another one of its key, by event time.
pub trait DeduplicateWithin<'s, K: Row, V: Row> {
    /// Of the rows of a key, in the order of their times and then of their values, the first one counts, and then each that
    /// is `within` or more after the last one that counts. A row that is there several times counts once.
    ///
    /// A row is held for `within` and `lateness` after its time, by the watermark, and then forgotten: it stays in the result
    /// for good. So:
    /// - One that comes no more than `lateness` behind the watermark of the epoch before is taken as if it had been there from
    ///   the start. It may count in place of others, which are withdrawn then. A row that is withdrawn in that time makes way
    ///   for others.
    /// - One that comes later than that is compared with what is still held: it counts unless one that counts is less than
    ///   `within` before it. What it repeats may have been forgotten, and then both have counted.
    /// - A withdrawal of what is forgotten changes nothing.
    ///
    /// A key costs what is held of it, in each epoch in which rows of it come or may be forgotten. The state survives under
    /// `name`. The result is like an input: it is given once, row by row, and a restart does not give back what it was. So
    /// persist what is made of it, or make it with an operator that has a state of its own, as
    /// [`Sum::sum`](crate::operators::Sum::sum) has.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// # use cutwater_dataflows::testing::{Given, Sample, Test, given};
    /// use std::time::Duration;
    ///
    /// /// Clicks of each user and button: a double click is one.
    /// fn clicks<'s>(clicks: Collection<'s, (Text, (Timestamp, Text))>) -> Collection<'s, (Text, (Timestamp, Text))> {
    ///     clicks.deduplicate_within("clicks", Duration::from_millis(500), Duration::from_secs(60))
    /// }
    /// # let test = Test::building("clicks", |flow| {
    /// #     clicks(flow.input("clicks").decode(Given::new())).output("clicks", &["user"], &["at", "button"]);
    /// # });
    /// # let click = |millis: i64| {
    /// #     let row = (Text::from("ann"), (Timestamp::from_micros(millis * 1000), Text::from("buy")));
    /// #     ("clicks", Sample { timestamp: Some(millis), ..given(&row, 1) })
    /// # };
    /// # let outcome = test.epoch([click(1000), click(1499)]).restart().epoch([click(1500), click(999_999)]).check();
    /// # assert_eq!(outcome.rows("clicks").len(), 3);
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn deduplicate_within(
        self,
        name: &str,
        within: Duration,
        lateness: Duration,
    ) -> Collection<'s, (K, (Timestamp, V))>;
}

impl<'s, K: Row, V: Row> DeduplicateWithin<'s, K, V> for Collection<'s, (K, (Timestamp, V))> {
    #[track_caller]
    fn deduplicate_within(
        self,
        name: &str,
        within: Duration,
        lateness: Duration,
    ) -> Collection<'s, (K, (Timestamp, V))> {
        let flow = self.flow().clone();
        let within = micros(within);
        let held = within.saturating_add(micros(lateness));
        let states = self.stateful_with(name, First::<K, V> { within, held, types: PhantomData });
        let told: Self = states.linear("Deduplicated", |batch, out| {
            // A row of the state that goes takes nothing with it: what there is to tell stands in those that come. They are
            // net, and come as the operator has made them.
            for (row, times) in batch.iter().filter(|(_, diff)| *diff > 0) {
                let (key, (at, value, .., told, _until)) = decode::<(K, Held<V>)>(row).expect(ENCODED);
                if told != 0 {
                    out.push::<(K, (Timestamp, V))>((key, (at, value)), told * times);
                }
            }
        });
        Collection::new(flow, told.changes_after_snapshot(), About::default(), Snapshot::default())
    }
}

/// A row that is held: its time and value, how often it is there, whether it counts, what there was to tell of that when it
/// was last decided (1: it counts from now on, -1: no more, 0: nothing new), and until which watermark it is held.
type Held<V> = (Timestamp, V, i64, bool, i64, Timestamp);

/// How the state of a key follows.
struct First<K, V> {
    within: i64,
    held: i64,
    types: PhantomData<fn() -> (K, V)>,
}

/// What is known of a row beside its time and value.
struct Known {
    times: i64,
    counts: bool,
    told: i64,
    until: Timestamp,
    /// It comes in this epoch, or is another than it was.
    changed: bool,
}

impl<K: Row, V: Row> KeyedState for First<K, V> {
    type Key = K;
    type Update = (Timestamp, V);
    type State = Held<V>;

    fn update(
        &mut self,
        _key: K::Ref<'_>,
        state: Group<'_, Held<V>>,
        updates: Group<'_, (Timestamp, V)>,
        now: Now,
        out: &mut Emit<'_, Held<V>>,
    ) {
        let mut rows = BTreeMap::new();
        for ((at, value, times, counts, told, until), _) in state {
            let known = Known { times, counts, told, until, changed: false };
            rows.insert((at, V::to_owned(value)), known);
        }
        for ((at, value), times) in updates {
            let new = || Known { times: 0, counts: false, told: 0, until: at, changed: true };
            let known = rows.entry((at, V::to_owned(value))).or_insert_with(new);
            known.times += times;
            known.changed = true;
        }
        self.decide(&mut rows);
        for ((at, value), known) in &mut rows {
            let Known { times, counts, told, until, changed } = known;
            if *changed {
                // What is new has to be seen for an epoch at least, so that it is told.
                let later = now.watermark.map(|now| after(now, 1));
                *until = later.into_iter().fold(after(*at, self.held), Timestamp::max);
            }
            let is_over = now.watermark.is_some_and(|now| now >= *until);
            let is_nothing = *times == 0 && !*counts && *told == 0;
            if !is_over && !is_nothing {
                out.push((*at, value.borrow(), *times, *counts, *told, *until));
            }
        }
    }

    fn due(&self, _key: K::Ref<'_>, state: Group<'_, Held<V>>) -> Due {
        let first = state.iter().map(|((.., until), _)| until).min();
        first.map_or(Due::never(), Due::at_watermark)
    }
}

impl<K: Row, V: Row> First<K, V> {
    /// Decides which rows count, from the first one that has changed on: what stands before that stands.
    fn decide(&self, rows: &mut BTreeMap<(Timestamp, V), Known>) {
        let mut last: Option<Timestamp> = None;
        let mut decided = true;
        for ((at, _), known) in rows {
            decided &= !known.changed;
            if !decided {
                let counts = known.times > 0 && last.is_none_or(|last| *at >= after(last, self.within));
                let told = i64::from(counts) - i64::from(known.counts);
                if known.changed || told != 0 {
                    (known.counts, known.told, known.changed) = (counts, told, true);
                }
            }
            if known.counts {
                last = Some(*at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::{Map, Sum};
    use crate::rows::Text;
    use crate::testing::{Given, Sample, Test, given};

    fn event(second: i64, diff: i64) -> (&'static str, Sample) {
        let row = (Text::from("a"), (Timestamp::from_micros(second * 1_000_000), Text::from("x")));
        ("events", Sample { timestamp: Some(second * 1000), ..given(&row, diff) })
    }

    #[test]
    fn what_counted_stays_when_it_is_forgotten_and_may_count_once_more() {
        let test = Test::building("once", |flow| {
            let events = flow.input("events").decode(Given::<(Text, (Timestamp, Text))>::new());
            let once = events.deduplicate_within("once", Duration::from_secs(5), Duration::from_secs(2));
            once.clone().output("once", &["key"], &["at", "value"]);
            once.map::<(Text, i64)>(|&(key, _)| (key, 1)).sum("number").output(
                "number",
                &["key"],
                &["number"],
            );
        });
        let outcome = test
            .epoch([event(10, 1), event(12, 1)])
            // It takes the place of the one at 10.
            .epoch([event(9, 1)])
            .restart()
            // All are forgotten.
            .epoch([event(30, 1)])
            .epoch([event(12, -1), event(31, 1)])
            .restart()
            .epoch([event(10, 1)])
            .check();
        let row = |second: i64| format!(r#"{{"key":"a","at":"1970-01-01T00:00:{second:02}Z","value":"x"}}"#);
        assert_eq!(outcome.changes_of("once", 1), [format!("+1 {}", row(10))]);
        assert_eq!(outcome.changes_of("once", 2), [format!("+1 {}", row(9)), format!("-1 {}", row(10))]);
        assert_eq!(outcome.changes_of("once", 3), [format!("+1 {}", row(30))]);
        assert!(outcome.changes_of("once", 4).is_empty());
        assert_eq!(outcome.changes_of("once", 5), [format!("+1 {}", row(10))]);
        assert_eq!(outcome.rows("number"), [r#"{"key":"a","number":3}"#]);
    }
}
