//! Operators that follow the events of a key through time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use cutwater_dataflows::prelude::*;
use cutwater_dataflows::testing::{Given, Sample, Test, given};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::proof::{Changes, Rows, Samples, compare, output, prove, rows};

fn key(random: &mut StdRng) -> Text {
    ["", "a", "ab"][random.random_range(0..3)].into()
}

/// How many of the steps can be taken, by trying all ways: who has taken so many steps, the last of them at that time, with
/// these rows left.
fn most(left: &mut Vec<(i64, &str)>, since: i64, steps: &[&str]) -> i64 {
    let Some((step, rest)) = steps.split_first() else { return 0 };
    let mut best = 0;
    for place in 0..left.len() {
        let (at, page) = left[place];
        if at >= since && page == *step {
            let row = left.swap_remove(place);
            best = best.max(1 + most(left, at, rest));
            left.push(row);
            let last = left.len() - 1;
            left.swap(place, last);
        }
    }
    best
}

#[test]
fn sequence() {
    for steps in [&["a", "b", "c"][..], &["a", "a", "b"], &["b", "a", "b", "b"], &["c"], &[]] {
        let view = |random: &mut StdRng| {
            let page = ["a", "b", "c", "d"][random.random_range(0..4)];
            (key(random), (random.random_range(0..4), Text::from(page)))
        };
        let owned: Vec<Text> = steps.iter().map(|step| Text::from(*step)).collect();
        prove(
            false,
            view,
            move |views: Collection<'_, (Text, (i64, Text))>| views.persist("views").sequence("come", &owned),
            |changes| {
                let rows = rows(changes);
                let mut views: BTreeMap<Text, Vec<(i64, &str)>> = BTreeMap::new();
                for ((user, (at, page)), count) in &rows {
                    let times = usize::try_from(*count).unwrap_or_default();
                    views.entry(user.clone()).or_default().extend(vec![(*at, page.as_str()); times]);
                }
                let come =
                    views.into_iter().map(|(user, mut views)| (user, most(&mut views, i64::MIN, steps)));
                come.filter(|(_, come)| *come > 0).map(|row| (row, 1)).collect()
            },
        );
    }
}

/// A row of a time, in seconds.
trait Event: Row {
    fn at(&self) -> i64;
}

impl Event for (Text, Timestamp) {
    fn at(&self) -> i64 {
        self.1.micros() / SECOND
    }
}

impl Event for (Text, (Timestamp, i64)) {
    fn at(&self) -> i64 {
        self.1.0.micros() / SECOND
    }
}

const SECOND: i64 = 1_000_000;

fn second(second: i64) -> Timestamp {
    Timestamp::from_micros(second * SECOND)
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds as u64)
}

/// Proves an operator that follows time: in each epoch, its rows are those that `recount` makes of the rows so far and the
/// watermark. Nothing comes, or is withdrawn, that is `lateness` or more behind the watermark of the epoch before; some is
/// beyond that of its own.
fn prove_timed<R: Event, Out: Row>(
    lateness: i64,
    row: impl Fn(&mut StdRng, i64) -> R,
    operator: impl for<'s> Fn(Collection<'s, R>) -> Collection<'s, Out> + Clone + Send + Sync + 'static,
    recount: impl Fn(&Rows<R>, Option<i64>) -> Rows<Out>,
) -> usize {
    let answers = Cell::new(0);
    for seed in 0..12 {
        let random = &mut StdRng::seed_from_u64(seed);
        let (mut changes, mut samples): (Changes<R>, Samples) = Default::default();
        let mut watermarks: Vec<Option<i64>> = Vec::new();
        let mut start = 0;
        for _ in 0..random.random_range(1..9) {
            let before = watermarks.last().copied().flatten();
            let late = |at: i64| before.is_some_and(|before| at <= before - lateness);
            let mut watermark = before;
            let (mut changed, mut sampled) = (Vec::new(), Vec::new());
            for _ in 0..random.random_range(0..16) {
                let at = start + random.random_range(-lateness.min(12)..6);
                let drawn = row(random, at);
                let there = rows(&changes).into_keys().filter(|row| !late(row.at()));
                let (row, diff) = match there.last().filter(|_| random.random_range(0..6) == 0) {
                    Some(there) => (there, -1),
                    None if late(drawn.at()) => continue,
                    None => (drawn, random.random_range(1..3)),
                };
                // A record says of its time what it likes.
                let at = row.at() - random.random_range(0..3) * random.random_range(0..3);
                watermark = watermark.max(Some(at));
                sampled.push(("rows", Sample { timestamp: Some(at * 1000), ..given(&row, diff) }));
                changed.push((row, diff));
            }
            changes.push(changed);
            samples.push(sampled);
            watermarks.push(watermark);
            start += random.random_range(0..12);
        }
        let operator = operator.clone();
        let test = Test::building("proof", move |flow| {
            output(operator(flow.input("rows").decode(Given::<R>::new())));
        });
        compare(test, random, changes.len(), &[samples], &changes, |epochs| {
            let made = recount(&rows(&changes[..epochs]), watermarks[epochs - 1]);
            answers.set(answers.get() + made.len());
            made
        });
    }
    answers.get()
}

fn event(random: &mut StdRng, at: i64) -> (Text, Timestamp) {
    (key(random), second(at))
}

/// The events of each key that are there, by second.
fn by_key(rows: &Rows<(Text, Timestamp)>) -> BTreeMap<Text, Vec<(i64, i64)>> {
    let mut events: BTreeMap<Text, Vec<(i64, i64)>> = BTreeMap::new();
    for (row, times) in rows {
        events.entry(row.0.clone()).or_default().push((row.at(), *times));
    }
    events
}

/// How many there are in the window that ends then.
fn count(events: &[(i64, i64)], window: i64, end: i64) -> i64 {
    events.iter().filter(|&&(at, _)| at > end - window && at <= end).map(|(_, times)| times).sum()
}

#[test]
fn rate() {
    let answers = prove_timed(
        1000,
        event,
        |events: Collection<'_, (Text, Timestamp)>| events.rate("rate", seconds(7)),
        |rows, now| {
            let Some(now) = now else { return Rows::new() };
            let counts = by_key(rows).into_iter().map(|(key, events)| ((key, count(&events, 7, now)), 1));
            counts.filter(|((_, count), _)| *count != 0).collect()
        },
    );
    assert!(answers > 60, "only {answers} rows");
}

/// Since when an alarm stands at `now`: second by second.
fn alarm(events: &[(i64, i64)], (window, hold, raise, clear): (i64, i64, i64, i64), now: i64) -> Option<i64> {
    let (mut above, mut raised) = (None, None);
    for time in -100..=now {
        let count = count(events, window, time);
        above = if count > raise { above.or(Some(time)) } else { None };
        if count < clear {
            raised = None;
        }
        raised = raised.or(above.filter(|since| time - since >= hold));
    }
    raised
}

#[test]
fn hysteresis() {
    for (parts, lateness) in
        [((5, 0, 2, 3), 5), ((5, 3, 1, 1), 0), ((8, 4, 3, 2), 4), ((3, 5, 1, 2), 3), ((4, 1, 1, 2), 12)]
    {
        let (window, hold, raise_above, clear_below) = parts;
        let [window, hold, settles] = [window, hold, lateness].map(seconds);
        let levels = Levels { window, raise_above, clear_below, hold, lateness: settles };
        let answers = prove_timed(
            lateness + 1,
            event,
            move |events: Collection<'_, (Text, Timestamp)>| events.hysteresis("alarms", move |_| levels),
            |rows, now| {
                let Some(now) = now else { return Rows::new() };
                let alarms = by_key(rows).into_iter().filter_map(|(key, events)| {
                    let since = alarm(&events, parts, now)?;
                    Some(((key, (second(since), count(&events, parts.0, now))), 1))
                });
                alarms.collect()
            },
        );
        assert!(answers > 10, "only {answers} alarms with {parts:?}");
    }
}

#[test]
fn deduplicate_within() {
    let row = |random: &mut StdRng, at: i64| (key(random), (second(at), random.random_range(0..2)));
    for (within, lateness) in [(4, 6), (1, 0), (10, 3)] {
        let answers = prove_timed(
            lateness + 1,
            row,
            move |rows: Collection<'_, (Text, (Timestamp, i64))>| {
                rows.deduplicate_within("once", seconds(within), seconds(lateness))
            },
            |rows, _| {
                let mut counted = Rows::new();
                let mut last: BTreeMap<Text, i64> = BTreeMap::new();
                for (row, _) in rows.iter().filter(|(_, times)| **times > 0) {
                    if last.get(&row.0).is_none_or(|last| row.at() - last >= within) {
                        last.insert(row.0.clone(), row.at());
                        counted.insert(row.clone(), 1);
                    }
                }
                counted
            },
        );
        assert!(answers > 60, "only {answers} rows");
    }
}
