use std::collections::BTreeMap;
use std::time::Duration;

use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::render::{Encoded, rendered};
use cutwater_dataflows::rows::{Decimal, Schema, Text, encode};
use cutwater_dataflows::source::Report;
use cutwater_dataflows::{OutputShape, Unique};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::cursor::{Cursor, asked};
use super::select::{From, PARAMETERS, Selection};
use crate::serve::answer::Params;
use crate::serve::views::{History, Views};

/// Category and region are the key; then a price that may be missing, and a number.
type Row = ((Text, Text), (Option<Decimal<2>>, i64));
/// The same, in what Rust compares.
type Plain = (String, String, Option<i64>, i64);
/// The plain filter that a query is.
type Filter = Box<dyn Fn(&Plain) -> bool>;

fn output() -> OutputShape {
    let schema = Schema::of::<Row>().named(&["category", "region"], &["price", "number"]).unwrap();
    OutputShape {
        name: "o".into(),
        schema,
        restorable: true,
        unique: Unique::Unknown,
        appends: false,
        with_offsets: false,
    }
}

fn encoded(row: &Plain) -> Vec<u8> {
    let (category, region, price, number) = row;
    let price = price.map(|cents| shown(cents).parse().unwrap());
    encode::<Row>(&((category.as_str().into(), region.as_str().into()), (price, *number)))
}

fn shown(cents: i64) -> String {
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
}

/// Views with these rows, each as often.
fn views(rows: &[(Plain, i64)]) -> Views {
    let views = Views::new(vec![output()]);
    let history = History { time: Duration::from_secs(3600), bytes: usize::MAX };
    let mut publisher = views.fill(history, None).unwrap();
    publisher.restored();
    // In some epochs: so there are several runs.
    for (epoch, rows) in (1..).zip(rows.chunks(17)) {
        let mut batch = FlatBatch::default();
        rows.iter().for_each(|(row, count)| batch.push(&encoded(row), *count));
        let changes = BTreeMap::from([(0, vec![rendered(&Encoded, &[batch])])]);
        publisher.publish(epoch, changes, &[Report::default()]);
    }
    views
}

/// All rows that a query selects, in pages of `limit`.
fn select(views: &Views, query: &str, limit: usize) -> Result<Vec<Vec<u8>>, String> {
    let output = output();
    let params = Params::read(Some(query), &PARAMETERS).map_err(|failed| failed.to_string())?;
    let selection = Selection::read(&params, &output).map_err(|failed| failed.to_string())?;
    let snapshot = views.snapshot(&[0], None).unwrap();
    let (mut all, mut from) = (Vec::new(), From::Skip(0));
    loop {
        let (mut page, mut next) = (Vec::new(), None);
        selection.rows(&output.schema, (&snapshot, 0), &from, |row, after| {
            page.push(row.to_vec());
            next = Some(after());
            page.len() < limit
        });
        let ended = page.len() < limit;
        all.append(&mut page);
        match next {
            Some(next) if !ended => {
                let cursor = Cursor { epoch: 1, asked: asked("o", &params), from: next };
                from = Cursor::read(&cursor.write()).unwrap().from;
            }
            _ => return Ok(all),
        }
    }
}

fn random_rows(rng: &mut StdRng) -> Vec<(Plain, i64)> {
    let texts = ["", "a", "ab", "abc", "b", "a\u{0}", "a\u{1}b", "\u{e9}", "long"];
    let mut rows = BTreeMap::new();
    for _ in 0..rng.random_range(0..150) {
        let mut text = texts[rng.random_range(0..texts.len())].to_owned();
        if text == "long" {
            text = "long".repeat(rng.random_range(1..1000));
        }
        let region = texts[rng.random_range(0..4)].to_owned();
        let price = (rng.random_range(0..3) > 0).then(|| rng.random_range(-1500..1500));
        rows.insert((text, region, price, rng.random_range(-3..12)), rng.random_range(1..4));
    }
    rows.into_iter().collect()
}

/// Text as it stands in a query.
fn quoted(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[test]
fn rows_are_those_that_a_plain_filter_finds_in_whatever_pages() {
    let mut rng = StdRng::seed_from_u64(5);
    for seed in 0..20 {
        let rows = random_rows(&mut rng);
        let views = if rows.is_empty() { continue } else { views(&rows) };
        let pick = rows[rng.random_range(0..rows.len())].0.clone();
        let (category, region, price, number) = pick.clone();
        let half: String = category.chars().take(2).collect();
        let price_shown = price.map_or_else(|| "null".to_owned(), shown);
        let both = serde_json::json!([category, region]).to_string();
        let asks: [(String, Filter); 8] = [
            (String::new(), Box::new(|_| true)),
            (format!("key={}", quoted(&category)), {
                let category = category.clone();
                Box::new(move |row| row.0 == category)
            }),
            (format!("key={}", quoted(&both)), {
                let (category, region) = (category.clone(), region.clone());
                Box::new(move |row| row.0 == category && row.1 == region)
            }),
            (format!("prefix={}", quoted(&half)), Box::new(move |row| row.0.starts_with(&half))),
            (format!("where=number={number}"), Box::new(move |row| row.3 == number)),
            (format!("where=price={price_shown}"), Box::new(move |row| row.2 == price)),
            (format!("where=region={}&where=number={number}", quoted(&region)), {
                let region = region.clone();
                Box::new(move |row| row.1 == region && row.3 == number)
            }),
            ("key=no%20such".to_owned(), Box::new(|_| false)),
        ];
        for (query, wanted) in &asks {
            let mut expected: Vec<Vec<u8>> = Vec::new();
            for (row, count) in rows.iter().filter(|(row, _)| wanted(row)) {
                expected.extend((0..*count).map(|_| encoded(row)));
            }
            expected.sort();
            for limit in [1, 7, 100_000] {
                assert_eq!(select(&views, query, limit).as_ref(), Ok(&expected), "{seed} {query} {limit}");
            }
            for (order, top) in [("asc", 3), ("desc", 10), ("desc", 10_000)] {
                ranked(&views, &rows, (query, &**wanted), order, top);
            }
        }
    }
}

/// Checks rankings by price and by number.
fn ranked(
    views: &Views,
    rows: &[(Plain, i64)],
    (query, wanted): (&str, &dyn Fn(&Plain) -> bool),
    order: &str,
    top: usize,
) {
    for by in ["price", "number"] {
        let value = |row: &Plain| if by == "price" { row.2 } else { Some(row.3) };
        let mut expected: Vec<(bool, i64, Vec<u8>)> = Vec::new();
        for (row, count) in rows.iter().filter(|(row, _)| wanted(row)) {
            let sign = if order == "asc" { 1 } else { -1 };
            let rank = (value(row).is_none(), sign * value(row).unwrap_or_default(), encoded(row));
            expected.extend((0..*count).map(|_| rank.clone()));
        }
        expected.sort();
        let expected: Vec<Vec<u8>> = expected.into_iter().take(top).map(|(_, _, row)| row).collect();
        let query = format!("{query}&by={by}&top={top}&order={order}");
        for limit in [4, 100_000] {
            assert_eq!(select(views, &query, limit).as_ref(), Ok(&expected), "{query} {limit}");
        }
    }
}

#[test]
fn a_key_that_is_the_whole_row_is_no_beginning_of_another() {
    let schema = Schema::of::<Text>().named(&["word"], &[]).unwrap();
    let output = OutputShape {
        name: "words".into(),
        schema,
        restorable: true,
        unique: Unique::Unknown,
        appends: false,
        with_offsets: false,
    };
    let views = Views::new(vec![output.clone()]);
    let history = History { time: Duration::from_secs(3600), bytes: usize::MAX };
    let mut publisher = views.fill(history, None).unwrap();
    publisher.restored();
    let mut batch = FlatBatch::default();
    ["the", "then", "the end"].iter().for_each(|word| batch.push(word.as_bytes(), 1));
    publisher.publish(1, BTreeMap::from([(0, vec![rendered(&Encoded, &[batch])])]), &[Report::default()]);
    let snapshot = views.snapshot(&[0], None).unwrap();
    for (query, expected) in
        [("key=the", &["the"][..]), ("prefix=the", &["the", "the end", "then"]), ("key=th", &[])]
    {
        let params = Params::read(Some(query), &PARAMETERS).unwrap();
        let mut found = Vec::new();
        Selection::read(&params, &output).unwrap().rows(
            &output.schema,
            (&snapshot, 0),
            &From::Skip(0),
            |row, _| {
                found.push(std::str::from_utf8(row).unwrap());
                true
            },
        );
        assert_eq!(found, expected, "{query}");
    }
}

#[test]
fn what_can_not_be_asked_is_told() {
    let views = views(&[(("a".into(), "b".into(), None, 1), 1)]);
    for (query, says) in [
        ("where=number", "where=number: expected COLUMN=VALUE"),
        ("where=nubmer=1", "\"o\" has no column \"nubmer\", but category, region, price, number"),
        ("where=number=x", "where=number=x: number is i64: it is not a whole number"),
        ("where=price=0.001", "where=price=0.001: price is decimal(2)?:"),
        ("key=a&prefix=a", "both say which keys"),
        ("key=[%22a%22,%22b%22,1]", "3 values, but the key of \"o\" has 2 columns"),
        ("by=number", "of how many rows? Say it with top=N"),
        ("top=3", "by which column? Say it with by=COLUMN"),
        ("by=number&top=0", "from 1 to 10000"),
        ("by=no&top=1", "has no column \"no\""),
        ("order=asc", "order is that of by=COLUMN&top=N"),
        ("by=number&top=1&order=up", "expected asc or desc"),
        ("key=a&key=b", "twice"),
    ] {
        let told = select(&views, query, 1).unwrap_err();
        assert!(told.contains(says), "{query}: {told}");
    }
}
