use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cutwater_dataflows::rows::Timestamp;
use cutwater_dataflows::user_behaviour::{UserBehaviour, samples};
use serde_json::{Value, json};

use crate::recount::{Given, check, epochs, object, text};

const FUNNEL: [&str; 4] = ["home", "product", "cart", "paid"];
const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// A view: user, page, and microseconds.
type View = (String, String, i64);

fn micros(at: &Value) -> Option<i64> {
    match at {
        Value::String(text) => text.parse().ok().map(Timestamp::micros),
        at => at.as_i64().map(|millis| millis * 1000),
    }
}

/// The views of these records, those with an id that came before left out if `once`.
fn views<'a>(records: impl Iterator<Item = &'a Given>, once: bool) -> Vec<View> {
    let mut ids = BTreeSet::new();
    let read = |(_, record): &Given| {
        let record = object(record)?;
        let view = (text(&record, "user")?, text(&record, "page")?, micros(record.get("at")?)?);
        (ids.insert(text(&record, "id")?) || !once).then_some(view)
    };
    let mut views: Vec<View> = records.filter_map(read).collect();
    views.sort_by_key(|(_, _, at)| *at);
    views
}

fn shown(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

fn sorted(rows: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().collect();
    rows.sort();
    rows
}

fn pages(views: &[View], size: i64) -> Vec<String> {
    type Of<'a> = (&'a str, Option<i64>);
    let mut pages: BTreeMap<Of<'_>, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for (user, page, at) in views {
        let start = (size > 0).then(|| at - at.rem_euclid(size));
        let (views, users) = pages.entry((page, start)).or_default();
        *views += 1;
        users.insert(user);
    }
    sorted(pages.into_iter().map(|((page, start), (views, users))| {
        let (start, users) = (json!(start.map(shown)), users.len());
        format!(r#"{{"page":"{page}","window":{start},"views":{views},"users":{users}}}"#)
    }))
}

fn sessions(views: &[View], gap: i64) -> Vec<String> {
    let mut users: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    views.iter().for_each(|(user, _, at)| users.entry(user).or_default().push(*at));
    sorted(users.into_iter().flat_map(|(user, times)| {
        let sessions = times.chunk_by(|before, at| at - before <= gap);
        let row = |session: &[i64]| {
            let (start, end, views) = (shown(session[0]), shown(session[session.len() - 1]), session.len());
            format!(r#"{{"user":"{user}","start":"{start}","end":"{end}","views":{views}}}"#)
        };
        sessions.map(row).collect::<Vec<_>>()
    }))
}

/// True iff these views, in order of time, go through the pages: tried view by view, from the first one of each page on.
fn come<'a>(views: &[&'a View], pages: &[&'a str], since: i64) -> bool {
    let Some((first, rest)) = pages.split_first() else { return true };
    let mut next = views.iter().filter(|(_, page, at)| page == first && *at >= since);
    next.any(|(_, _, at)| come(views, rest, *at))
}

fn funnel(views: &[View]) -> Vec<String> {
    let mut users: BTreeMap<&str, Vec<&View>> = BTreeMap::new();
    views.iter().for_each(|view| users.entry(&view.0).or_default().push(view));
    let steps = (1..=FUNNEL.len()).map(|step| {
        let users = users.values().filter(|views| come(views, &FUNNEL[..step], i64::MIN)).count();
        format!(r#"{{"step":{step},"page":"{}","users":{users}}}"#, FUNNEL[step - 1])
    });
    steps.collect()
}

fn visitors(views: &[View]) -> Vec<String> {
    let mut days: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
    for (user, _, at) in views {
        days.entry(at.div_euclid(DAY)).or_default().insert(user);
    }
    let mut seen = BTreeSet::new();
    let rows = days.into_iter().map(|(day, users)| {
        let new = users.iter().filter(|&&user| seen.insert(user)).count();
        let (day, returning) = (shown(day * DAY), users.len() - new);
        format!(r#"{{"day":"{day}","new":{new},"returning":{returning}}}"#)
    });
    rows.collect()
}

#[test]
fn views_are_followed_as_in_a_recount() {
    for (seed, size, gap, once) in [(0, MINUTE, 30 * MINUTE, true), (1, 0, 5 * MINUTE, false)] {
        let epochs = epochs(samples(seed), seed, 2_500);
        let options = UserBehaviour {
            window: Duration::from_micros(size as u64),
            gap: Duration::from_micros(gap as u64),
            funnel: FUNNEL.map(str::to_owned).into(),
            deduplicate: once.then(|| "id".to_owned()),
        };
        let outcome = check(options, seed, &epochs);
        let views = views(epochs.iter().flatten(), once);
        assert_eq!(outcome.rows("pages"), pages(&views, size));
        assert_eq!(outcome.rows("sessions"), sessions(&views, gap));
        assert_eq!(outcome.rows("funnel"), funnel(&views));
        assert_eq!(outcome.rows("visitors"), visitors(&views));
        assert!(!outcome.dead_letters().is_empty(), "the samples have some that can't be read");
        assert!(outcome.rows("visitors").len() > 1, "the samples go on for more than a day");
    }
}
