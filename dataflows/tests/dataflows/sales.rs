use std::collections::BTreeMap;
use std::time::Duration;

use cutwater_dataflows::prelude::Timestamp;
use cutwater_dataflows::sales::{Sales, samples};
use serde_json::Value;

use crate::recount::{Given, check, epochs, money, object, text};

const HOUR: i64 = 3_600_000_000;

/// An order, if it can be read: product, quantity, cents, region and microseconds.
fn order(value: &Value) -> Option<(String, i64, i64, String, i64)> {
    let price = &value["price"];
    let cents = match price.as_f64() {
        Some(price) => (price * 100.0).round() as i64,
        None => price.as_str()?.replace('.', "").parse().ok()?,
    };
    let at = match value["at"].as_i64() {
        Some(millis) => millis * 1_000,
        None => value["at"].as_str()?.parse::<Timestamp>().ok()?.micros(),
    };
    Some((text(value, "product")?, value["quantity"].as_i64()?, cents, text(value, "region")?, at))
}

/// The category of each product in the table that these records leave.
fn table<'a>(records: impl Iterator<Item = &'a Given>) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, record) in records.filter(|(input, _)| *input == "products") {
        let key = record.key.clone().expect("products have a key");
        match object(record) {
            Some(row) => table.insert(key, (text(&row, "product"), text(&row, "category"))),
            None => table.remove(&key),
        };
    }
    table.into_values().filter_map(|(product, category)| product.zip(category)).collect()
}

/// Both outputs: with the windows as they are shown.
fn recount(records: &[Given], window: i64, top: usize) -> (Vec<String>, Vec<String>) {
    let table = table(records.iter());
    let mut revenue: BTreeMap<(&str, String, String), (i64, i64)> = BTreeMap::new();
    let mut pieces: BTreeMap<&str, BTreeMap<String, i64>> = BTreeMap::new();
    for (_, record) in records.iter().filter(|(input, _)| *input == "orders") {
        let Some((product, quantity, cents, region, at)) = object(record).as_ref().and_then(order) else {
            continue;
        };
        let Some(category) = table.get(&product) else { continue };
        let window = match window {
            0 => "null".to_owned(),
            size => format!("\"{}\"", Timestamp::from_micros(at / size * size)),
        };
        let sums = revenue.entry((category, region, window)).or_default();
        *sums = (sums.0 + quantity * cents, sums.1 + i64::from(quantity > 0));
        *pieces.entry(category).or_default().entry(product).or_default() += quantity;
    }
    let row = |((category, region, window), (cents, orders)): ((&str, String, String), (i64, i64))| {
        let revenue = money(cents);
        format!(
            r#"{{"category":"{category}","region":"{region}","window":{window},"revenue":"{revenue}","orders":{orders}}}"#
        )
    };
    let mut revenue: Vec<_> = revenue.into_iter().map(row).collect();
    revenue.sort();
    let mut sellers = Vec::new();
    for (category, pieces) in pieces {
        let mut pieces: Vec<_> = pieces.into_iter().filter(|(_, quantity)| *quantity > 0).collect();
        pieces.sort_by_key(|(_, quantity)| -quantity);
        for (rank, (product, quantity)) in (1..).zip(pieces).take(top) {
            sellers.push(format!(
                r#"{{"category":"{category}","rank":{rank},"product":"{product}","quantity":{quantity}}}"#
            ));
        }
    }
    sellers.sort();
    (revenue, sellers)
}

#[test]
fn sales_are_those_of_a_recount() {
    for (seed, window, top) in [(0, HOUR, 10), (1, 0, 3)] {
        let epochs = epochs(samples(seed), seed, 3_000);
        let dataflow = Sales { window: Duration::from_micros(window as u64), top };
        let outcome = check(dataflow, seed, &epochs);
        let (revenue, sellers) = recount(&epochs.concat(), window, top as usize);
        assert!(revenue.len() > 40 && sellers.len() > 30, "{} and {} rows", revenue.len(), sellers.len());
        assert_eq!(outcome.rows("revenue"), revenue);
        assert_eq!(outcome.rows("top-sellers"), sellers);
        assert!(!outcome.dead_letters().is_empty(), "the samples have some that can't be read");
    }
}
