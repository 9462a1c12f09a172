use std::collections::BTreeMap;

use cutwater_dataflows::balances::{Balances, samples};
use serde_json::{Value, json};

use crate::recount::{Given, cents, check, epochs, money, object, text};

/// The balances after these transfers, in cents.
fn balances<'a>(transfers: impl Iterator<Item = &'a Given>) -> BTreeMap<String, i64> {
    let mut balances = BTreeMap::new();
    for (_, transfer) in transfers {
        let Some(transfer) = object(transfer) else { continue };
        let parts = (text(&transfer, "from"), text(&transfer, "to"), cents(&transfer, "amount"));
        let (Some(from), Some(to), Some(amount)) = parts else { continue };
        *balances.entry(from).or_default() -= amount;
        *balances.entry(to).or_default() += amount;
    }
    balances
}

#[test]
fn balances_are_those_of_a_recount() {
    for seed in 0..2 {
        let epochs = epochs(samples(seed), seed, 3_000);
        let outcome = check(Balances {}, seed, &epochs);
        let expected = balances(epochs.iter().flatten()).into_iter().map(|(account, balance)| {
            format!(r#"{{"account":{},"balance":"{}"}}"#, json!(account), money(balance))
        });
        assert_eq!(outcome.rows("balances"), expected.collect::<Vec<_>>());
        assert_eq!(outcome.rows("total"), [r#"{"name":"total","total":"0.00"}"#]);
        assert!(!outcome.dead_letters().is_empty(), "the samples have some that can't be read");
    }
}

/// What the changes of an epoch add to the sum of all balances, in cents.
fn added(changes: &[String]) -> i64 {
    let add = |change: &String| {
        let (diff, row) = change.split_once(' ').expect("a difference and a row");
        let row: Value = serde_json::from_str(row).expect("a row is an object");
        diff.parse::<i64>().expect("a difference") * cents(&row, "balance").expect("an amount")
    };
    changes.iter().map(add).sum()
}

#[test]
fn the_total_is_0_in_the_changes_of_every_epoch() {
    for seed in 10..12 {
        let epochs = epochs(samples(seed), seed, 3_000);
        let outcome = check(Balances {}, seed, &epochs);
        for epoch in 1..=epochs.len() {
            let changes = outcome.changes_of("balances", epoch as u64);
            assert!(!changes.is_empty(), "seed {seed}: nothing was transferred in epoch {epoch}");
            assert_eq!(added(&changes), 0, "seed {seed}, epoch {epoch}: {changes:#?}");
            // The first epoch of these seeds has a transfer.
            let total = outcome.changes_of("total", epoch as u64);
            let expected: &[&str] = if epoch == 1 { &[r#"+1 {"name":"total","total":"0.00"}"#] } else { &[] };
            assert_eq!(total, expected, "seed {seed}, epoch {epoch}");
        }
    }
}
