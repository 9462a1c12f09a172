use std::collections::BTreeMap;

use cutwater_dataflows::prelude::*;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::proof::{Rows, prove, rows};

type Scored = (Text, (i64, Text));

fn scored(random: &mut StdRng) -> Scored {
    let key = ["", "a", "ab"][random.random_range(0..3)];
    let name = ["", "x", "x\0", "xy\u{1}"][random.random_range(0..4)];
    (key.into(), (random.random_range(-2..3), name.into()))
}

/// The rows of each key that are there, each as often as it is, in order.
fn groups(changes: &[Vec<(Scored, i64)>]) -> BTreeMap<Text, Vec<(i64, Text)>> {
    let mut groups: BTreeMap<Text, Vec<(i64, Text)>> = BTreeMap::new();
    for ((key, row), count) in rows(changes) {
        (0..count).for_each(|_| groups.entry(key.clone()).or_default().push(row.clone()));
    }
    groups
}

/// Rows with their ranks.
type Ranked = Rows<(Text, (i64, (i64, Text)))>;

fn ranked(changes: &[Vec<(Scored, i64)>], most: usize, turned: bool) -> Ranked {
    let mut made = Rows::new();
    for (key, mut rows) in groups(changes) {
        if turned {
            rows.reverse();
        }
        for (rank, row) in (1..).zip(rows).take(most) {
            made.insert((key.clone(), (rank, row)), 1);
        }
    }
    made
}

#[test]
fn the_first_rows_of_each_key_have_ranks() {
    for most in [0, 1, 3, 100] {
        prove(
            false,
            scored,
            move |rows| rows.persist("rows").least("least", most),
            |changes| ranked(changes, most as usize, false),
        );
        prove(
            false,
            scored,
            move |rows| rows.persist("rows").greatest("greatest", most),
            |changes| ranked(changes, most as usize, true),
        );
    }
}

#[test]
fn rows_are_read_from_either_end_and_from_the_middle() {
    type Out = (Text, (i64, Option<Text>));
    prove(
        false,
        scored,
        |rows| {
            rows.persist("rows").arrange("rows").reduce_ordered::<(i64, Option<Text>)>(
                "looked",
                |_, rows, out| {
                    let there = |(_, count): &((i64, &str), i64)| *count > 0;
                    let from = rows.from::<i64>(0).find(there).map(|((_, name), _)| name);
                    let until = rows.until::<i64>(0).find(there).map(|((_, name), _)| name);
                    out.push((0, from));
                    out.push((1, until));
                    out.push((2, rows.first().map(|(_, name)| name)));
                    out.push((3, rows.last().map(|(_, name)| name)));
                    out.push_diff((4, None), rows.iter().map(|(_, count)| count).sum());
                    out.push_diff((5, None), rows.rev().count() as i64);
                },
            )
        },
        |changes| {
            let mut made: Rows<Out> = Rows::new();
            let mut counts: BTreeMap<Text, (i64, i64)> = BTreeMap::new();
            for ((key, _), count) in rows(changes) {
                let counts = counts.entry(key).or_default();
                *counts = (counts.0 + count, counts.1 + 1);
            }
            let mut groups = groups(changes);
            for (key, (sum, distinct)) in counts {
                let rows = groups.remove(&key).unwrap_or_default();
                let name = |row: Option<&(i64, Text)>| row.map(|(_, name)| name.clone());
                let mut put = |number, name| {
                    made.insert((key.clone(), (number, name)), 1);
                };
                put(0, name(rows.iter().find(|(score, _)| *score >= 0)));
                put(1, name(rows.iter().rev().find(|(score, _)| *score <= 0)));
                put(2, name(rows.first()));
                put(3, name(rows.last()));
                made.insert((key.clone(), (4, None)), sum);
                made.insert((key, (5, None)), distinct);
            }
            made.retain(|_, count| *count != 0);
            made
        },
    );
}
