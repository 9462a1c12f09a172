use std::collections::BTreeMap;

use cutwater_dataflows::prelude::*;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::proof::{Rows, prove, prove_added, rows};

fn key(random: &mut StdRng) -> Text {
    ["", "a", "ab", "b\u{1}", "b\0c"][random.random_range(0..5)].into()
}

type Update = (Text, (i64, Option<i64>));

/// The table that updates make, each epoch's by their order.
fn table(changes: &[Vec<(Update, i64)>]) -> BTreeMap<Text, i64> {
    let mut table = BTreeMap::new();
    for epoch in changes {
        for ((key, (_, value)), _) in
            rows(std::slice::from_ref(epoch)).into_iter().filter(|(_, count)| *count > 0)
        {
            match value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
    }
    table
}

#[test]
fn upsert() {
    let update = |random: &mut StdRng| {
        let value = (random.random_range(0..4) > 0).then(|| random.random_range(0..3));
        (key(random), (random.random_range(0..1000), value))
    };
    prove(
        true,
        update,
        |updates: Collection<'_, Update>| updates.upsert("table"),
        |changes| table(changes).into_iter().map(|row| (row, 1)).collect(),
    );
}

#[test]
fn a_table_that_changes_is_joined() {
    let update =
        |random: &mut StdRng| (key(random), (random.random_range(0..1000), Some(random.random_range(0..3))));
    prove(
        true,
        update,
        |updates: Collection<'_, Update>| {
            updates
                .upsert("table")
                .map::<(i64, Text)>(|&(key, value)| (value, key))
                .arrange("values")
                .reduce::<i64>("size", |_, keys, out| out.push(keys.len() as i64))
        },
        |changes| {
            let mut sizes = BTreeMap::new();
            table(changes).into_values().for_each(|value| *sizes.entry(value).or_default() += 1);
            sizes.into_iter().map(|row| (row, 1)).collect()
        },
    );
}

/// A key, an order and a value.
type Event = (Text, (i64, i64));

/// The latest of each key, of which each epoch's are those that are added, net.
fn latest_of(changes: &[Vec<(Event, i64)>]) -> Rows<Event> {
    let mut latest: BTreeMap<Text, (i64, i64)> = BTreeMap::new();
    for epoch in changes {
        let came = rows(std::slice::from_ref(epoch)).into_iter().filter(|(_, count)| *count > 0);
        for ((key, row), _) in came {
            let entry = latest.entry(key).or_insert(row);
            *entry = row.max(*entry);
        }
    }
    latest.into_iter().map(|row| (row, 1)).collect()
}

fn event(random: &mut StdRng) -> Event {
    (key(random), (random.random_range(0..5), random.random_range(0..5)))
}

#[test]
fn latest() {
    prove(true, event, |events: Collection<'_, Event>| events.latest("latest"), latest_of);
}

/// Where equal rows are on one worker, each worker sends the greatest that is there when all is added up, and no other.
#[test]
fn latest_of_persisted_rows() {
    prove(true, event, |events: Collection<'_, Event>| events.persist("events").latest("latest"), latest_of);
}

/// Of rows that are only ever added, those may be left out that are not the greatest.
#[test]
fn latest_of_rows_that_each_worker_has_combined() {
    prove_added(event, |events: Collection<'_, Event>| events.appended().latest("latest"), latest_of);
    prove_added(
        event,
        |events: Collection<'_, Event>| {
            let greatest = events.combine_by_key(|_key, rows, out| out.extend(rows.last()));
            greatest.stateful::<(i64, i64)>("latest", |_key, state, rows, out| {
                out.extend(state.last().max(rows.last()));
            })
        },
        latest_of,
    );
}

#[test]
fn deduplicate() {
    let event = |random: &mut StdRng| (key(random), random.random_range(0..5));
    prove(
        true,
        event,
        |events: Collection<'_, (Text, i64)>| events.deduplicate("first"),
        |changes| {
            let mut first: BTreeMap<Text, i64> = BTreeMap::new();
            for epoch in changes {
                let mut came: BTreeMap<Text, i64> = BTreeMap::new();
                let net = rows(std::slice::from_ref(epoch)).into_iter().filter(|(_, count)| *count > 0);
                net.for_each(|((key, row), _)| {
                    let entry = came.entry(key).or_insert(row);
                    *entry = row.min(*entry);
                });
                for (key, row) in came {
                    first.entry(key).or_insert(row);
                }
            }
            first.into_iter().map(|row| (row, 1)).collect()
        },
    );
}

#[test]
fn sum_of_several_columns() {
    type Sums = (i64, Decimal<2>);
    let sale = |random: &mut StdRng| {
        let price = Decimal::from_units(random.random_range(-300..300));
        (key(random), (random.random_range(-2..3), price))
    };
    prove(
        false,
        sale,
        |sales: Collection<'_, (Text, Sums)>| sales.sum("sums"),
        |changes| {
            let mut sums: BTreeMap<Text, (i64, Sums)> = BTreeMap::new();
            for ((key, (number, price)), count) in rows(changes) {
                let (rows, sum) = sums.entry(key).or_default();
                *rows += count;
                *sum = (sum.0 + number * count, sum.1 + price * count);
            }
            sums.into_iter()
                .filter(|(_, (rows, _))| *rows != 0)
                .map(|(key, (_, sum))| ((key, sum), 1))
                .collect()
        },
    );
}

#[test]
fn what_a_key_held_is_what_it_is_given() {
    // Collects all values of a key: the state has several rows, some of them twice.
    let event = |random: &mut StdRng| (key(random), random.random_range(0..5));
    prove(
        false,
        event,
        |events: Collection<'_, (Text, i64)>| {
            events.stateful::<i64>("all", |_, state, updates, out| {
                for (value, count) in state.iter().chain(updates) {
                    out.push_diff(value, count);
                }
            })
        },
        rows as fn(&[Vec<((Text, i64), i64)>]) -> Rows<(Text, i64)>,
    );
}
