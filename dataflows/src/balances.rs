//! What every account has after all transfers, and that nothing is lost on the way.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::dataflow::Samples;
use crate::operators::Sum;
use crate::prelude::*;
use crate::testing::Sample;

/// Adds up transfers between accounts
///
/// Input transfers: {from, to, amount}, the amount with up to two digits after the point, as a JSON number or string; other
/// fields, an id say, are ignored. The amount is taken from one account and added to the other.
///
/// Output balances has a row for each account that took part, also where its balance is "0.00". Output total has the sum of all
/// balances in one row: it is "0.00" from the first transfer on, whatever epoch is looked at.
///
/// Example: cutwater run balances -t transfers -o balances=kafka:bank -o total=none --emit upserts --state /var/lib/cutwater/balances
#[derive(clap::Args, Clone, Debug)]
pub struct Balances {}

/// An amount that goes from one account to another.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Transfer {
    from: Text,
    to: Text,
    amount: Decimal<2>,
}

impl Dataflow for Balances {
    const NAME: &'static str = "balances";

    fn build(&self, flow: &Flow<'_>) {
        let transfers = flow.input("transfers").rows::<Transfer>();
        let entries = transfers.flat_map::<(Text, Decimal<2>)>(|transfer, out| {
            // The difference turns the sign: no amount is so large that it can't be taken away.
            out.push((transfer.to, transfer.amount));
            out.push((transfer.from, Decimal::from_units(transfer.amount.units().wrapping_neg())));
        });
        let balances = entries.sum("balances");
        // The total of what is published, not of what came in: it shows that no epoch has half of a transfer.
        let total = balances
            .clone()
            .map::<(Text, Decimal<2>)>(|&(_account, balance)| ("total", balance))
            .sum("total");
        balances.output("balances", &["account"], &["balance"]);
        total.output("total", &["name"], &["total"]);
    }
}

/// Transfers between 500 accounts, of which some are poor and some pay themselves. One in 1,000 can't be read.
pub fn samples(seed: u64) -> Samples {
    let mut random = StdRng::seed_from_u64(seed);
    let mut millis = START;
    let transfers = (0u64..).map(move |id| {
        millis += random.random_range(0..100);
        // The square of a uniform number: some accounts are busier than others.
        let mut account = || (random.random::<f64>().powi(2) * ACCOUNTS) as u64;
        let (from, to) = (account(), account());
        let cents: u64 = random.random_range(1..100_000);
        let amount = if random.random_range(0..1_000) == 0 { "ten".to_owned() } else { cents_of(cents) };
        let value = format!(r#"{{"id":"t{id}","from":"a{from:03}","to":"a{to:03}","amount":"{amount}"}}"#);
        ("transfers", Sample { timestamp: Some(millis), ..Sample::from(value.into_bytes()) })
    });
    Box::new(transfers)
}

fn cents_of(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// How many accounts there are in the samples.
const ACCOUNTS: f64 = 500.0;

/// The day on which the samples begin: 2026-01-01, in milliseconds.
const START: i64 = 1_767_225_600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Test, lines, records};

    #[test]
    fn the_fixture_is_added_up() {
        let transfers = records(include_str!("../fixtures/balances/transfers.jsonl"));
        let outcome = Test::of(Balances {})
            .epoch(transfers[..3].iter().cloned().map(|record| ("transfers", record)))
            .restart()
            .epoch(transfers[3..].iter().cloned().map(|record| ("transfers", record)))
            .check();
        assert_eq!(outcome.rows("balances"), lines(include_str!("../fixtures/balances/balances.jsonl")));
        assert_eq!(outcome.rows("total"), lines(include_str!("../fixtures/balances/total.jsonl")));
        assert_eq!(outcome.dead_letters().len(), 3, "{:#?}", outcome.dead_letters());
        let reasons: String = outcome.dead_letters().iter().flat_map(|letter| letter.chars()).collect();
        for reason in ["amount: it has more than 2 digits", "to: it is missing", "amount: "] {
            assert!(reasons.contains(reason), "{reason} is not in {reasons}");
        }
    }

    #[test]
    fn the_total_appears_once_and_never_changes() {
        let transfer = |text: &str| ("transfers", Sample::from(text));
        let outcome = Test::of(Balances {})
            .epoch([transfer(r#"{"from":"a","to":"a","amount":5}"#)])
            .epoch([transfer(r#"{"from":"a","to":"b","amount":5}"#)])
            .restart()
            .epoch([transfer(r#"{"from":"c","to":"b","amount":"0.01"}"#)])
            .check();
        assert_eq!(outcome.changes_of("total", 1), [r#"+1 {"name":"total","total":"0.00"}"#]);
        assert!(outcome.changes_of("total", 2).is_empty() && outcome.changes_of("total", 3).is_empty());
        assert_eq!(outcome.changes_of("balances", 1), [r#"+1 {"account":"a","balance":"0.00"}"#]);
    }
}
