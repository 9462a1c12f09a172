use std::collections::BTreeMap;

use cutwater_dataflows::event_monitor::{EventMonitor, Rules, samples};
use cutwater_dataflows::rows::Timestamp;

use crate::recount::{Given, check, epochs, object, text};

const RULES: &str = r#"
    [[rule]]
    name = "bad"
    kind = "disk-.*|login-failed"
    window = "30s"
    raise-above = 5
    clear-below = 3
    hold = "4s"
    [[rule]]
    name = "logins"
    kind = "login-.*"
    window = "10s"
    raise-above = 3
"#;

/// A rule in milliseconds: its name, which kinds it is of, its window, its levels, and how long it holds.
type Plain = (&'static str, fn(&str) -> bool, i64, usize, usize, i64);

const PLAIN: [Plain; 2] = [
    ("bad", |kind| kind.starts_with("disk-") || kind == "login-failed", 30_000, 5, 3, 4_000),
    ("logins", |kind| kind.starts_with("login-"), 10_000, 3, 4, 0),
];

/// The events of epochs that can be read, however late: source, kind, time.
fn events(epochs: &[Vec<Given>]) -> Vec<(String, String, i64)> {
    let read = epochs.iter().flatten().filter_map(|(_, event)| {
        let event = object(event)?;
        Some((text(&event, "source")?, text(&event, "kind")?, event["at"].as_i64()?))
    });
    read.collect()
}

/// Since when the alarm of a rule stands, and how many events there are, after events at these times: at each time at which
/// the number changes, all are counted.
fn alarm(times: &[i64], &(_, _, window, raise, clear, hold): &Plain, now: i64) -> Option<(i64, usize)> {
    let count = |time: i64| times.iter().filter(|&&at| at > time - window && at <= time).count();
    let mut turns: Vec<i64> =
        times.iter().flat_map(|at| [*at, at + window]).filter(|turn| *turn <= now).collect();
    turns.sort_unstable();
    turns.dedup();
    let (mut above, mut raised) = (None, None);
    for (turn, next) in turns.iter().zip(turns.iter().skip(1).chain([&i64::MAX])) {
        above = if count(*turn) > raise { above.or(Some(*turn)) } else { None };
        raised = if count(*turn) < clear { None } else { raised };
        // It is so until the next time, and at the end up to now.
        let lasted = |since: &i64| since + hold < *next && since + hold <= now;
        raised = raised.or(above.filter(lasted));
    }
    raised.map(|since| (since, count(now)))
}

/// The rows that there are to be, in order.
fn recount(epochs: &[Vec<Given>]) -> Vec<String> {
    let events = events(epochs);
    let Some(now) = events.iter().map(|(.., at)| *at).max() else { return Vec::new() };
    let mut rows = Vec::new();
    for rule in &PLAIN {
        let mut sources: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for (source, _, at) in events.iter().filter(|(_, kind, _)| rule.1(kind)) {
            sources.entry(source).or_default().push(*at);
        }
        for (source, times) in sources {
            if let Some((since, count)) = alarm(&times, rule, now) {
                let (name, since) = (rule.0, Timestamp::from_micros(since * 1000));
                rows.push(format!(
                    r#"{{"rule":"{name}","source":"{source}","raised":true,"since":"{since}","count":{count}}}"#
                ));
            }
        }
    }
    rows
}

#[test]
fn alarms_are_those_of_a_recount_after_every_epoch() {
    let (mut raised, mut cleared) = (0, 0);
    for seed in 0..3 {
        let epochs = epochs(samples(seed), seed, 5_000);
        let rules = Rules::parse("rules.toml", RULES).expect("they are rules");
        let outcome = check(EventMonitor { rules }, seed, &epochs);
        let mut rows: BTreeMap<String, i64> = BTreeMap::new();
        for epoch in 1..=epochs.len() {
            // By rule and source: what changes of it.
            let mut of: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            for change in outcome.changes_of("alarms", epoch as u64) {
                let (diff, row) = change.split_once(' ').expect("a difference and a row");
                let diff = diff.parse().expect("a difference");
                let (key, _) = row.split_once(r#","raised""#).expect("a column");
                of.entry(key.to_owned()).or_default().push(diff);
                *rows.entry(row.to_owned()).or_default() += diff;
            }
            rows.retain(|_, times| *times != 0);
            assert_eq!(rows.keys().cloned().collect::<Vec<_>>(), recount(&epochs[..epoch]), "epoch {epoch}");
            for (key, mut diffs) in of {
                diffs.sort_unstable();
                assert!([&[1][..], &[-1], &[-1, 1]].contains(&&*diffs), "{key}: {diffs:?}");
                raised += usize::from(diffs == [1]);
                cleared += usize::from(diffs == [-1]);
            }
        }
        assert!(!outcome.dead_letters().is_empty(), "the samples have some that can't be read");
    }
    assert!(raised > 20 && cleared > 10, "{raised} were raised, {cleared} cleared");
}
