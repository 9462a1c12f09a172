use cutwater_dataflows::prelude::*;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::proof::{Rows, prove, prove_two, rows};

type Pair = (Text, i64);

fn pair(random: &mut StdRng) -> Pair {
    let key = ["", "a", "ab", "b\u{1}", "b\0c"][random.random_range(0..5)];
    (key.into(), random.random_range(-2..3))
}

fn word(random: &mut StdRng) -> Text {
    pair(random).0
}

#[test]
fn count() {
    prove(
        false,
        word,
        |rows| rows.persist("rows").count(),
        |changes| rows(changes).into_iter().map(|(row, count)| ((row, count), 1)).collect(),
    );
}

#[test]
fn count_of_several_persisted_collections() {
    prove(
        false,
        pair,
        |rows| rows.persist("pairs").map::<Text>(|&(key, _)| key).persist("keys").count(),
        |changes| {
            let mut keys = Rows::new();
            for ((key, _), count) in rows(changes) {
                *keys.entry(key).or_default() += count;
            }
            keys.retain(|_, count| *count != 0);
            keys.into_iter().map(|(row, count)| ((row, count), 1)).collect()
        },
    );
}

#[test]
fn distinct_and_threshold() {
    prove(
        false,
        pair,
        |rows| rows.persist("rows").distinct(),
        |changes| {
            rows(changes).into_iter().filter(|(_, count)| *count > 0).map(|(row, _)| (row, 1)).collect()
        },
    );
    prove(
        false,
        pair,
        |rows| rows.persist("rows").threshold(|(_, number), count| number * count),
        |changes| {
            let times = |(row, count): (Pair, i64)| (row.clone(), row.1 * count);
            rows(changes).into_iter().map(times).filter(|(_, count)| *count != 0).collect()
        },
    );
}

#[test]
fn join_and_its_like() {
    prove_two(
        (pair, pair),
        |one, other| one.persist("one").join(other.persist("other")),
        |one, other| {
            let mut pairs = Rows::new();
            for ((key, value), count) in one {
                for ((other, with), times) in other {
                    if key == other {
                        *pairs.entry((key.clone(), (*value, *with))).or_default() += count * times;
                    }
                }
            }
            pairs
        },
    );
    let with = |one: &Rows<Pair>, keys: &Rows<Text>, wanted| {
        let is_there = |key: &Text| keys.get(key).is_some_and(|count| *count > 0);
        one.clone().into_iter().filter(|((key, _), _)| is_there(key) == wanted).collect::<Rows<Pair>>()
    };
    prove_two(
        (pair, word),
        |one, keys| one.persist("one").semijoin(keys.persist("keys")),
        |one, keys| with(one, keys, true),
    );
    prove_two(
        (pair, word),
        |one, keys| one.persist("one").antijoin(keys.persist("keys")),
        |one, keys| with(one, keys, false),
    );
}

#[test]
fn an_arrangement_serves_several_operators() {
    prove(
        false,
        pair,
        |rows| {
            let arranged = rows.persist("rows").arrange("rows");
            let pairs = arranged
                .clone()
                .join_core(arranged.clone(), |key, one, other, out| out.push((key, one * other)));
            let sizes = arranged.reduce::<i64>("sizes", |_, rows, out| {
                out.push(rows.iter().map(|(_, count)| count).sum());
            });
            pairs.concat(sizes)
        },
        |changes| {
            let rows = rows(changes);
            let mut made = Rows::new();
            for ((key, one), count) in &rows {
                for ((other, with), times) in rows.iter().filter(|((other, _), _)| other == key) {
                    *made.entry((other.clone(), one * with)).or_default() += count * times;
                }
            }
            let keys: std::collections::BTreeSet<_> = rows.keys().map(|(key, _)| key.clone()).collect();
            for key in keys {
                let size = rows.iter().filter(|((other, _), _)| *other == key).map(|(_, count)| count).sum();
                *made.entry((key, size)).or_default() += 1;
            }
            made.retain(|_, count| *count != 0);
            made
        },
    );
}

#[test]
fn reduce_to_the_two_greatest() {
    prove(
        false,
        pair,
        |rows| {
            rows.map::<(i64, Text)>(|&(text, number)| (number, text))
                .persist("rows")
                .arrange("rows")
                .reduce::<(i64, Text)>("greatest", |_, rows, out| {
                    let there = rows.iter().rev().filter(|(_, count)| *count > 0);
                    there.take(2).enumerate().for_each(|(rank, (text, _))| out.push((rank as i64, text)));
                })
        },
        |changes| {
            let mut made = Rows::new();
            for number in -2..3 {
                let rows =
                    rows(changes).into_iter().rev().filter(|((_, n), count)| *n == number && *count > 0);
                for (rank, ((text, _), _)) in rows.take(2).enumerate() {
                    made.insert((number, (rank as i64, text)), 1);
                }
            }
            made
        },
    );
}
