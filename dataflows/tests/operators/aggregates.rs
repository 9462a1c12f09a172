use std::collections::BTreeMap;

use cutwater_dataflows::operators::aggregates::Aggregate;
use cutwater_dataflows::prelude::*;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::proof::{Rows, prove, rows};

type Money = Decimal<2>;

fn key(random: &mut StdRng) -> Text {
    ["", "a", "ab"][random.random_range(0..3)].into()
}

/// The changes that are left of each key: each value with its count.
fn values<V: Row>(changes: &[Vec<((Text, V), i64)>]) -> BTreeMap<Text, Vec<(V, i64)>> {
    let mut values: BTreeMap<Text, Vec<(V, i64)>> = BTreeMap::new();
    for ((key, value), count) in rows(changes) {
        values.entry(key).or_default().push((value, count));
    }
    values
}

#[test]
fn aggregates_follow_every_withdrawal() {
    for sound in [true, false] {
        prove(
            sound,
            |random| (key(random), Money::from_units(random.random_range(-5..6) * 7)),
            |rows: Collection<'_, (Text, Money)>| rows.persist("rows").aggregates("aggregates"),
            move |changes| {
                let mut made: Rows<(Text, Aggregate<Money>)> = Rows::new();
                for (key, values) in values(changes) {
                    let mut there = values.iter().filter(|(_, count)| *count > 0).map(|(value, _)| *value);
                    let Some(least) = there.next() else { continue };
                    let greatest = there.next_back().unwrap_or(least);
                    let count = values.iter().map(|(_, count)| count).sum::<i64>();
                    let sum: Money = values.iter().map(|(value, count)| *value * *count).sum();
                    let average = sum.units() as f64 / (count as f64 * 100.0);
                    made.insert((key, (count, sum, least, greatest, average.into())), 1);
                }
                made
            },
        );
    }
}

#[test]
fn aggregates_of_integers() {
    prove(
        true,
        |random| (key(random), random.random_range(-3..4)),
        |rows: Collection<'_, (Text, i64)>| {
            let aggregates = rows.persist("rows").aggregates("aggregates");
            aggregates.map::<(Text, Float)>(|&(key, (.., average))| (key, average))
        },
        |changes| {
            let averages = values(changes).into_iter().map(|(key, values)| {
                let count = values.iter().map(|(_, count)| count).sum::<i64>();
                let sum = values.iter().map(|(value, count)| value * count).sum::<i64>();
                ((key, (sum as f64 / count as f64).into()), 1)
            });
            averages.collect()
        },
    );
}

#[test]
fn distinct_values_are_counted() {
    prove(
        false,
        |random| (key(random), key(random)),
        |rows: Collection<'_, (Text, Text)>| rows.persist("rows").count_distinct(),
        |changes| {
            let counts = values(changes).into_iter().map(|(key, values)| {
                ((key, values.iter().filter(|(_, count)| *count > 0).count() as i64), 1)
            });
            counts.filter(|((_, count), _)| *count > 0).collect()
        },
    );
}

#[test]
fn quantiles_are_those_of_the_sorted_values() {
    const QUANTILES: [f64; 5] = [0.0, 0.25, 0.5, 0.99, 1.0];
    for (first, last) in [(0, 0), (-3, 4), (-1_000_000, 1_000_000), (i64::MIN / 2, i64::MAX / 2)] {
        prove(
            true,
            move |random| {
                // Some are beyond the domain.
                let near = random.random_range(-20_i64..20).saturating_mul(((last - first) / 16).max(1));
                (key(random), (first + (last - first) / 2).saturating_add(near))
            },
            move |rows: Collection<'_, (Text, i64)>| {
                rows.persist("rows").quantiles("quantiles", first..=last, &QUANTILES)
            },
            move |changes| {
                let mut made: Rows<(Text, (Float, i64))> = Rows::new();
                for (key, values) in values(changes) {
                    let repeated = values.iter().flat_map(|(value, count)| (0..*count).map(move |_| *value));
                    let sorted: Vec<i64> = repeated.map(|value| value.clamp(first, last)).collect();
                    for quantile in QUANTILES {
                        let rank = (quantile * sorted.len() as f64).ceil() as usize;
                        let value = sorted[rank.max(1) - 1];
                        made.insert((key.clone(), (quantile.into(), value)), 1);
                    }
                }
                made
            },
        );
    }
}
