//! Cleans records by rules: takes fields out, checks and converts them, leaves records out.

mod field;
mod keep;
mod rules;
mod value;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::dataflow::Samples;
use crate::prelude::*;
use crate::testing::Sample;

pub use rules::Rules;

/// Cleans records by rules, and appends what comes of them
///
/// Input records, in any format. Output clean: a row for each record that is right, with the fields of the rules; what sinks
/// get of it is append where --emit says nothing else. A record that breaks a rule is a dead letter, whose reason names the
/// field. One that no [[keep]] wants is left out.
///
/// The rules are a file in TOML:
///
///   [[field]]                    # a column of the output, in this order
///   name = "price"               # its name
///   from = "order.price"         # the path of its value; without this, its name
///   type = "decimal(2)"          # text (if nothing is said), int, float, decimal(N), bool or timestamp
///   required = true              # a record without it is a dead letter; else the column is null
///   min = 0                      # of numbers and times; so is max
///
///   [[field]]
///   name = "email"
///   trim = true                  # without white space around it; missing, if nothing is left
///   lower = true                 # in lower case
///   pattern = '^[^@\s]+@[^@\s]+$' # a regular expression that is found in it: ^ and $ are its ends
///   default = "none@example.com" # where it is missing
///   # one-of = ["a", "b"]        # the values that there are
///
///   [[keep]]                     # what has to hold, or the record is left out
///   field = "price"              # a field's name, and one of equals, pattern, min, max and exists
///   max = 1000
///
/// Example: cutwater run cleanse --rules rules.toml -t records -o kafka:clean --dead-letter kafka:dirty
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
// The rules stand as they are typed: the help shows the same text.
#[allow(rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links)]
pub struct Cleanse {
    /// The file of rules
    #[arg(long, value_name = "FILE", value_parser = Rules::read)]
    pub rules: Rules,
}

impl Dataflow for Cleanse {
    const NAME: &'static str = "cleanse";

    fn build(&self, flow: &Flow<'_>) {
        let rules = self.rules.clone();
        let records = flow.input("records");
        let clean = records.refined::<DynRow>(rules.reads(), move |row, out| rules.apply(row, out));
        // A table's rows are withdrawn when newer ones come.
        let clean = if flow.envelope("records") == Some(Envelope::Append) { clean.appended() } else { clean };
        clean.dyn_output("clean", self.rules.writes());
    }
}

/// Orders as a web shop may send them, for the rules in `fixtures/cleanse`: about one in ten is left out by them, one in 20
/// breaks one, and one in 1,000 is no JSON.
pub fn samples(seed: u64) -> Samples {
    let mut random = StdRng::seed_from_u64(seed);
    let mut millis = START;
    let records = (0u64..).map(move |number| {
        millis += random.random_range(0..200);
        let value = if random.random_range(0..1_000) == 0 {
            format!("order {number}")
        } else {
            order(number, millis, &mut random)
        };
        ("records", Sample { timestamp: Some(millis), ..Sample::from(value.into_bytes()) })
    });
    Box::new(records)
}

fn order(number: u64, millis: i64, random: &mut StdRng) -> String {
    let mut one_in = |n: u32| random.random_range(0..n) == 0;
    let id = if one_in(100) { format!("x{number}") } else { format!(" o-{number} ") };
    let (kind, wrong_price, no_name) = (if one_in(20) { "offer" } else { "order" }, one_in(100), one_in(50));
    let (late, quoted, no_quantity, gift) = (one_in(10), one_in(2), one_in(5), one_in(4));
    let name = ["Ann", " BOB", "Čeněk", "Dora "].choose(random).expect("there are some");
    let name = if no_name { "null".to_owned() } else { format!(r#"{{"name":"{name}"}}"#) };
    let cents: u64 = random.random_range(1..100_000);
    let price =
        if wrong_price { format!("{cents}.005") } else { format!("{}.{:02}", cents / 100, cents % 100) };
    let price = if quoted { format!("\"{price}\"") } else { price };
    let quantity: i64 = random.random_range(-2..60);
    let quantity = if no_quantity { String::new() } else { format!(r#""quantity":{quantity},"#) };
    let region = ["north", "South ", "EAST", "west", ""].choose(random).expect("there are some");
    let at = if late { millis - random.random_range(0..10_000) } else { millis };
    let gift = if gift { r#","gift":true"# } else { "" };
    format!(
        r#"{{"id":"{id}","kind":"{kind}","customer":{name},{quantity}"price":{price},"region":"{region}","at":{at}{gift}}}"#
    )
}

/// The day on which the samples begin: 2026-01-01, in milliseconds.
const START: i64 = 1_767_225_600_000;

#[cfg(test)]
mod tests;
