use cutwater_dataflows::cleanse::{Cleanse, Rules, samples};
use cutwater_dataflows::testing::Sample;
use serde_json::{Value, json};

use crate::recount::{check, epochs, money};

const RULES: &str = include_str!("../../fixtures/cleanse/rules.toml");

/// What the rules of the fixture make of a record: a row, nothing, or the field that is wrong.
fn cleansed(record: &Sample) -> Result<Option<String>, &'static str> {
    let value: Value = serde_json::from_slice(record.value.as_ref().expect("a value")).map_err(|_| "")?;
    let region = value["region"].as_str().unwrap_or_default().trim().to_lowercase();
    // The samples have these regions and none.
    let quantity = value["quantity"].as_i64().unwrap_or(1);
    if value["kind"] != "order" || !["north", "south"].contains(&region.as_str()) {
        return Ok(None);
    }
    if quantity < 1 {
        return Err("quantity");
    }
    if quantity > 50 {
        return Ok(None);
    }
    let id = value["id"].as_str().unwrap_or_default().trim();
    if !id.strip_prefix("o-").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("id");
    }
    let name = value["customer"]["name"].as_str().unwrap_or_default().trim().to_lowercase();
    let name = if name.is_empty() { "nobody".to_owned() } else { name };
    let price = value["price"].to_string();
    let price = price.trim_matches('"');
    // Numbers that end in zeros are shown without them by JSON.
    let (whole, part) = price.split_once('.').unwrap_or((price, ""));
    if part.len() > 2 {
        return Err("price");
    }
    let cents = format!("{whole}{part:0<2}").parse().expect("digits");
    let seconds = value["at"].as_i64().expect("milliseconds");
    let at = cutwater_dataflows::rows::Timestamp::from_millis(seconds).expect("a time");
    let row = format!(
        r#"{{"id":{},"customer":{},"quantity":{quantity},"price":"{}","region":"{region}","at":"{at}","gift":{},"weight":null,"kind":"order"}}"#,
        json!(id),
        json!(name),
        money(cents),
        value["gift"].as_bool().unwrap_or(false),
    );
    Ok(Some(row))
}

#[test]
fn clean_rows_are_those_of_a_recount() {
    for seed in 0..2 {
        let epochs = epochs(samples(seed), seed, 4_000);
        let outcome = check(Cleanse { rules: Rules::parse("rules", RULES).expect("rules") }, seed, &epochs);
        let (mut rows, mut wrong, mut left_out) = (Vec::new(), Vec::new(), 0);
        for (_, record) in epochs.iter().flatten() {
            match cleansed(record) {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => left_out += 1,
                Err(field) => wrong.push(field),
            }
        }
        rows.sort();
        assert_eq!(outcome.rows("clean"), rows);
        assert!(rows.len() > 500 && left_out > 500, "{} rows, {left_out} left out", rows.len());
        let mut reasons: Vec<String> = outcome.reasons();
        reasons.iter_mut().for_each(|reason| reason.truncate(reason.find(':').unwrap_or(0)));
        reasons.iter_mut().filter(|reason| *reason == "not JSON").for_each(String::clear);
        reasons.sort();
        wrong.sort_unstable();
        assert_eq!(reasons, wrong);
        assert!(["", "id", "price", "quantity"].iter().all(|field| wrong.contains(field)), "{wrong:?}");
    }
}
