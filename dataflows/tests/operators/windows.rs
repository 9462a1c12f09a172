//! Windows and sessions, and what becomes of their state with a lateness.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use cutwater_dataflows::prelude::*;
use cutwater_dataflows::rows::{Json, encode};
use cutwater_dataflows::testing::{Given, Outcome, Sample, Test, given};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::proof::{Rows, prove, rows};

/// An event: a key and its time.
type Event = (Text, Timestamp);
type Session = (Timestamp, Timestamp, i64);

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn event(random: &mut StdRng) -> Event {
    (["", "a", "b\0"][random.random_range(0..3)].into(), Timestamp::from_micros(random.random_range(-30..30)))
}

/// The sessions of these events: a walk through each key's times.
fn sessions(events: &Rows<Event>, gap: i64) -> Rows<(Text, Session)> {
    let mut open: BTreeMap<&Text, Session> = BTreeMap::new();
    let mut sessions = Rows::new();
    for ((key, at), &count) in events.iter().filter(|(_, count)| **count > 0) {
        match open.get_mut(key) {
            Some((_, end, events)) if at.micros() - end.micros() <= gap => {
                (*end, *events) = (*at, *events + count)
            }
            _ => {
                let before = open.insert(key, (*at, *at, count));
                sessions.extend(before.map(|session| ((key.clone(), session), 1)));
            }
        }
    }
    sessions.extend(open.into_iter().map(|(key, session)| ((key.clone(), session), 1)));
    sessions
}

#[test]
fn sessions_are_those_of_the_events_that_are_there() {
    for (gap, sound) in [(0, true), (1, true), (3, false), (7, true), (1000, true)] {
        prove(
            sound,
            event,
            move |events: Collection<'_, Event>| events.sessions("sessions", micros(gap)),
            |changes| sessions(&rows(changes), gap as i64),
        );
    }
}

#[test]
fn windows_have_the_rows_whose_times_are_in_them() {
    for (size, hop) in [(5, 5), (6, 2), (3, 7), (0, 1)] {
        prove(
            false,
            event,
            move |events: Collection<'_, Event>| {
                events.windows(Window::hopping(micros(size), micros(hop)), |(_, at)| *at)
            },
            |changes| {
                let mut windows = Rows::new();
                for ((key, at), count) in rows(changes) {
                    let starts = (-100..100).map(|number| number * hop as i64);
                    let holds = |start: &i64| *start <= at.micros() && at.micros() < start + size as i64;
                    for start in starts.filter(holds) {
                        windows.insert((Some(Timestamp::from_micros(start)), (key.clone(), at)), count);
                    }
                    if size == 0 {
                        windows.insert((None, (key, at)), count);
                    }
                }
                windows
            },
        );
    }
}

#[test]
fn count_windows_have_so_many_rows_in_their_order() {
    for (size, sound) in [(1, true), (2, false), (5, true)] {
        prove(
            sound,
            event,
            move |events: Collection<'_, Event>| {
                let size = NonZeroU32::new(size).expect("it is not 0");
                events.persist("events").arrange("events").count_windows("windows", size)
            },
            |changes| {
                let mut places: BTreeMap<Text, i64> = BTreeMap::new();
                let mut windows = Rows::new();
                for ((key, at), count) in rows(changes) {
                    for _ in 0..count {
                        let place = places.entry(key.clone()).or_default();
                        *windows.entry((key.clone(), (*place / i64::from(size), at))).or_default() += 1;
                        *place += 1;
                    }
                }
                windows
            },
        );
    }
}

/// A feed whose times move on, some of them backwards, and withdraws some events of before.
struct Feed {
    random: StdRng,
    time: i64,
    there: Rows<Event>,
}

impl Feed {
    /// What comes: the event, whether it appears or is withdrawn, and the time of the record, which is now for a withdrawal.
    fn next(&mut self) -> (Event, i64, i64) {
        self.time += self.random.random_range(0..4);
        let withdrawn = self.random.random_range(0..5) == 0;
        let known = self.random.random_range(0..self.there.len().max(1));
        if let Some(event) = self.there.keys().nth(known).filter(|_| withdrawn) {
            return (event.clone(), -1, self.time);
        }
        let key = ["a", "b", "c"][self.random.random_range(0..3)];
        let at = self.time - self.random.random_range(0..40i64).saturating_sub(25).max(0);
        ((key.into(), Timestamp::from_micros(at * 1000)), 1, at)
    }
}

/// Runs `build` with a lateness on random events, in milliseconds. `closed` says whether a change to an event comes too late at a
/// horizon. Compares the output of each epoch with `recount` of the events that count, and gives the outcome and these events
/// to `then`, with the last horizon.
fn prove_retired<Out: Row>(
    build: fn(Collection<'_, Event>) -> Collection<'_, Out>,
    closed: fn(at: i64, horizon: i64) -> bool,
    recount: fn(&Rows<Event>) -> Rows<Out>,
    mut then: impl FnMut(&Outcome, &Rows<Event>, i64),
) {
    let names: Vec<String> =
        (0..Schema::of::<Out>().columns.len()).map(|column| format!("c{column}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let json = Json::new(Schema::of::<Out>().named(&names, &[]).expect("a name for each column"));
    for seed in 0..12 {
        let lateness = [0, 3, 10][seed as usize % 3];
        let random = StdRng::seed_from_u64(seed);
        let mut feed = Feed { random, time: 100, there: Rows::new() };
        let columns: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut test = Test::building("retired", move |flow| {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            build(flow.input("events").decode(Given::<Event>::new())).output("out", &columns, &[]);
        });
        test = test.lateness(Duration::from_millis(lateness as u64));
        let (mut watermark, mut horizon) = (None, None::<i64>);
        let mut expected = Vec::new();
        for epoch in 0..feed.random.random_range(2..12) {
            let mut records = Vec::new();
            for _ in 0..feed.random.random_range(0..10) {
                let (event, diff, time) = feed.next();
                let too_late = |at| horizon.is_some_and(|horizon| closed(at, horizon));
                if horizon.is_none_or(|horizon| time >= horizon) && !too_late(event.1.micros() / 1000) {
                    *feed.there.entry(event.clone()).or_default() += diff;
                    feed.there.retain(|_, count| *count != 0);
                }
                records.push(("events", Sample { timestamp: Some(time), ..given(&event, diff) }));
                watermark = watermark.max(Some(time));
            }
            horizon = watermark.map(|watermark: i64| watermark - lateness);
            if epoch > 0 && feed.random.random_range(0..3) == 0 {
                test = test.restart();
            }
            test = test.epoch(records);
            expected.push(recount(&feed.there));
        }
        let outcome = test.check();
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for (epoch, expected) in expected.iter().enumerate() {
            for change in outcome.changes_of("out", epoch as u64 + 1) {
                let (diff, row) = change.split_once(' ').expect("a difference and a row");
                *found.entry(row.to_owned()).or_default() += diff.parse::<i64>().expect("a difference");
            }
            found.retain(|_, count| *count != 0);
            let shown = |row: &Out| {
                let mut text = Vec::new();
                json.write(&encode(row), &mut text).expect("it is a row");
                String::from_utf8(text).expect("JSON")
            };
            let expected = expected.iter().map(|(row, count)| (shown(row), *count)).collect();
            assert_eq!(found, expected, "seed {seed}, after epoch {}", epoch + 1);
        }
        then(&outcome, &feed.there, horizon.unwrap_or(i64::MIN));
    }
}

const SIZE: i64 = 5;

type Counted = ((Text, Option<Timestamp>), i64);

#[test]
fn sums_of_windows_that_ended_stay_published_and_leave_the_state() {
    let minute = || Window::tumbling(Duration::from_millis(SIZE as u64));
    let end = |at: i64| (at.div_euclid(SIZE) + 1) * SIZE;
    let (mut dropped, mut open) = (0, 0);
    prove_retired::<Counted>(
        |events| {
            let minute = Window::tumbling(Duration::from_millis(SIZE as u64));
            events
                .flat_map::<Counted>(move |(key, at), out| out.push(((key, minute.start(at)), 1)))
                .sum_until("counts", move |(_, start)| minute.end(start))
        },
        |at, horizon| (at.div_euclid(SIZE) + 1) * SIZE <= horizon,
        |events| {
            let mut counts: BTreeMap<(Text, Option<Timestamp>), i64> = BTreeMap::new();
            for ((key, at), count) in events {
                let start = at.micros().div_euclid(SIZE * 1000) * SIZE * 1000;
                *counts.entry((key.clone(), Some(Timestamp::from_micros(start)))).or_default() += count;
            }
            counts.into_iter().map(|count| (count, 1)).collect()
        },
        |outcome, events, horizon| {
            let mut left: Vec<_> = events
                .keys()
                .filter(|(_, at)| end(at.micros() / 1000) > horizon)
                .map(|(key, at)| (key, minute().start(*at)))
                .collect();
            left.sort();
            left.dedup();
            assert_eq!(outcome.state_rows("counts"), left.len());
            open += left.len();
            dropped += outcome.rows("out").len() - left.len();
        },
    );
    assert!(dropped > 50 && open > 5, "{dropped} were dropped, {open} are open");
}

const GAP: i64 = 4;

#[test]
fn sessions_that_ended_stay_published_and_leave_the_state() {
    let (mut dropped, mut open) = (0, 0);
    prove_retired::<(Text, Session)>(
        |events| events.sessions("sessions", Duration::from_millis(GAP as u64)),
        |at, horizon| at < horizon,
        |events| sessions(events, GAP * 1000),
        |outcome, events, horizon| {
            let sessions = sessions(events, GAP * 1000);
            let left = |session: &&(Text, Session)| session.1.1.micros() / 1000 + GAP >= horizon;
            let within = |(key, at): &&Event| {
                sessions
                    .keys()
                    .filter(left)
                    .any(|(of, (start, end, _))| of == key && start <= at && at <= end)
            };
            let times = events.keys().filter(within).count();
            assert_eq!(outcome.state_rows("sessions"), times);
            open += times;
            dropped += events.len() - times;
        },
    );
    assert!(dropped > 50 && open > 5, "{dropped} were dropped, {open} are open");
}

#[test]
fn what_remembers_rows_that_may_be_dropped_is_noted_unless_they_are_persisted() {
    let shape = |lateness: bool, persisted: bool| {
        let test = move |flow: &Flow<'_>| {
            let sessions = flow.input("events").decode(Given::<Event>::new()).sessions("sessions", micros(1));
            let sessions = if persisted { sessions.persist("all") } else { sessions };
            sessions.map::<Text>(|&(key, _)| key).count().output("counts", &["key"], &["count"]);
        };
        let test = Test::building("dropped", test);
        (if lateness { test.lateness(Duration::ZERO) } else { test }).shape()
    };
    assert_eq!(shape(true, false).unpersisted_state, ["count"]);
    assert!(shape(false, false).unpersisted_state.is_empty());
    assert!(shape(true, true).unpersisted_state.is_empty());
}
