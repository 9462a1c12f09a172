use super::*;
use crate::testing::{Sample, Test, lines, records};

fn monitor(rules: &str) -> EventMonitor {
    EventMonitor { rules: Rules::parse("rules.toml", rules).unwrap() }
}

fn fixture() -> EventMonitor {
    monitor(include_str!("../../fixtures/event-monitor/rules.toml"))
}

#[test]
fn the_fixture_is_watched() {
    let events = records(include_str!("../../fixtures/event-monitor/events.jsonl"));
    let mut test = Test::of(fixture());
    for (number, events) in events.chunks(4).enumerate() {
        test = if number % 2 == 1 { test.restart() } else { test };
        test = test.epoch(events.iter().cloned().map(|record| ("events", record)));
    }
    let outcome = test.check();
    assert_eq!(outcome.rows("alarms"), lines(include_str!("../../fixtures/event-monitor/alarms.jsonl")));
    // The burst that did not last was never published.
    let changes: Vec<String> = (1..=10)
        .flat_map(|epoch| outcome.changes_of("alarms", epoch))
        .filter(|row| row.contains("bursts"))
        .collect();
    assert!(changes.is_empty(), "{changes:#?}");
    assert_eq!(outcome.dead_letters().len(), 2, "{:#?}", outcome.dead_letters());
}

#[test]
fn an_alarm_is_raised_alone_and_cleared_alone_whatever_is_restarted() {
    let rules = "[[rule]]\nname = \"r\"\nkind = \"bad\"\nwindow = \"10s\"\nraise-above = 1\nclear-below = 2\nhold = \"2s\"";
    let event = |second: i64, source: &str, kind: &str| {
        let at = second * 1000;
        ("events", Sample::from(format!(r#"{{"source":"{source}","kind":"{kind}","at":{at}}}"#).into_bytes()))
    };
    let outcome = Test::of(monitor(rules))
        .epoch([event(1, "a", "bad"), event(2, "a", "bad")])
        .restart()
        // Nothing of it has come: the watermark tells that it has lasted.
        .epoch([event(4, "b", "fine")])
        .epoch([event(5, "a", "bad")])
        .restart()
        .epoch([event(11, "b", "fine")])
        .epoch([event(12, "b", "fine")])
        .check();
    let row = |count: i64| {
        format!(r#"{{"rule":"r","source":"a","raised":true,"since":"1970-01-01T00:00:02Z","count":{count}}}"#)
    };
    assert!(outcome.changes_of("alarms", 1).is_empty());
    assert_eq!(outcome.changes_of("alarms", 2), [format!("+1 {}", row(2))]);
    assert_eq!(outcome.changes_of("alarms", 3), [format!("-1 {}", row(2)), format!("+1 {}", row(3))]);
    assert_eq!(outcome.changes_of("alarms", 4), [format!("+1 {}", row(2)), format!("-1 {}", row(3))]);
    assert_eq!(outcome.changes_of("alarms", 5), [format!("-1 {}", row(2))]);
}

#[test]
fn late_events_raise_the_same_alarm_however_they_come_in_epochs() {
    let rules = "[[rule]]\nname = \"r\"\nkind = \"bad\"\nwindow = \"1m\"\nraise-above = 3\nclear-below = 1";
    let event = |second: i64| {
        let at = second * 1000;
        ("events", Sample::from(format!(r#"{{"source":"a","kind":"bad","at":{at}}}"#).into_bytes()))
    };
    // In the first minute there are too many, of which three come after twenty; from then on there always is one.
    let events: Vec<_> = (0..40).map(|number| event(number * 30)).chain([1; 3].map(event)).collect();
    let row = r#"{"rule":"r","source":"a","raised":true,"since":"1970-01-01T00:00:01Z","count":2}"#;
    for size in [43, 15, 1] {
        let mut test = Test::of(monitor(rules));
        for events in events.chunks(size) {
            test = test.epoch(events.to_vec()).restart();
        }
        assert_eq!(test.check().rows("alarms"), [row], "epochs of {size} records");
    }
}

#[test]
fn options_are_read_and_mistakes_are_said() {
    let entry = crate::entry::<EventMonitor>();
    let parse = |args: &[&str]| {
        let command =
            entry.arguments(crate::prelude::clap::Command::new("event-monitor").no_binary_name(true));
        command
            .try_get_matches_from(args)
            .and_then(|matches| entry.parse(&matches))
            .map_err(|error| error.to_string())
    };
    assert!(parse(&[]).unwrap_err().contains("--rules <FILE>"));
    let error = parse(&["--rules", "no/such/file"]).unwrap_err();
    assert!(error.contains("--rules") && error.contains("no/such/file: "), "{error}");
}
