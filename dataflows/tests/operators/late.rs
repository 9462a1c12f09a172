//! Late records: which they are is a function of the cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cutwater_dataflows::prelude::*;
use cutwater_dataflows::testing::{Given, Sample, Test, given};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const SECOND: i64 = 1_000_000;

/// A record: its input, number and event time in seconds, if it has one.
type Event = (&'static str, i64, Option<i64>);

fn sample(&(input, number, at): &Event) -> (&'static str, Sample) {
    // Twice, so that rows are more than records.
    (input, Sample { timestamp: at.map(|at| at * 1000), ..given(&number, 2) })
}

#[test]
fn late_records_are_dead_letters_at_every_number_of_workers_and_after_restarts() {
    let (mut late, mut counted) = (0, 0);
    for seed in 0..20 {
        let random = &mut StdRng::seed_from_u64(seed);
        let lateness = random.random_range(0..8);
        let mut test = Test::building("late", |flow| {
            for input in ["one", "other"] {
                let rows = flow.input(input).decode(Given::<i64>::new());
                rows.persist(input).count().output(input, &["number"], &["count"]);
            }
        });
        test = test.lateness(Duration::from_secs(lateness as u64));
        let (mut time, mut number) = (0, 0);
        let mut watermark: Option<i64> = None;
        let mut expected: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let mut letters = BTreeSet::new();
        for epoch in 0..random.random_range(1..10) {
            let events: Vec<Event> = (0..random.random_range(0..12))
                .map(|_| {
                    time += random.random_range(0..3);
                    number += 1;
                    let at =
                        (random.random_range(0..20) > 0).then(|| time - random.random_range(0..12).max(2));
                    (["one", "other"][random.random_range(0..2)], number, at)
                })
                .collect();
            if epoch > 0 && random.random_range(0..3) == 0 {
                test = test.restart();
            }
            test = test.epoch(events.iter().map(sample));
            for &(input, number, at) in &events {
                let Some((at, before)) =
                    at.zip(watermark).filter(|(at, watermark)| *at < watermark - lateness)
                else {
                    expected.entry(input).or_default().insert(format!(r#"{{"number":{number},"count":2}}"#));
                    counted += 1;
                    continue;
                };
                let shown = |second| Timestamp::from_micros(second * SECOND);
                letters.insert((shown(at).to_string(), shown(before).to_string()));
                late += 1;
            }
            watermark = watermark.max(events.iter().filter_map(|(.., at)| *at).max());
        }
        let outcome = test.check();
        for input in ["one", "other"] {
            let found: BTreeSet<String> = outcome.rows(input).into_iter().collect();
            assert_eq!(found, expected.remove(input).unwrap_or_default(), "seed {seed}, input {input}");
        }
        for (at, before) in &letters {
            let mut found = outcome.dead_letters().iter();
            let says = |letter: &&String| letter.contains(at) && letter.contains(before);
            assert!(found.any(|letter| says(&letter)), "seed {seed}: {at}, {before}");
        }
    }
    assert!(late > 40 && counted > 100, "{late} were late, {counted} counted");
}

#[test]
fn a_dead_letter_of_a_late_record_has_its_place_its_bytes_and_why() {
    let test = Test::building("late", |flow| {
        assert_eq!(flow.lateness(), Some(Duration::from_secs(90)));
        let lines = flow.input("lines").rows::<Text>();
        lines.persist("lines").count().output("lines", &["line"], &["count"]);
    });
    let at = |key: &str, minute: i64| {
        let sample = Sample { timestamp: Some(minute * 60_000), ..(key, "line").into() };
        ("lines", sample)
    };
    let outcome = test
        .lateness(Duration::from_secs(90))
        // The first epoch has none before it: nothing is late, whatever else comes in it.
        .epoch([at("a", 10), at("b", 1)])
        .epoch([at("c", 9), at("d", 8), at("e", 20)])
        .restart()
        .epoch([at("f", 18)])
        .check();
    let letters: Vec<&str> = outcome.dead_letters().iter().map(String::as_str).collect();
    let expected = |offset, key, minute, watermark| {
        format!(
            concat!(
                r#"{{"topic":"test","partition":0,"offset":{},"timestamp":{},"reason":"late: its event time "#,
                r#"1970-01-01T00:{:02}:00Z is more than the lateness, 1m 30s, behind the watermark "#,
                r#"1970-01-01T00:{:02}:00Z","key_base64":"{}","value_base64":"bGluZQ=="}}"#
            ),
            offset,
            minute * 60_000,
            minute,
            watermark,
            key
        )
    };
    assert_eq!(letters, [expected(3, "ZA==", 8, 10), expected(5, "Zg==", 18, 20)]);
    assert_eq!(outcome.rows("lines"), [r#"{"line":"line","count":4}"#]);
}
