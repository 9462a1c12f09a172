use cutwater_dataflows::operators::join_as_of::AsOf;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::testing::{Given, Test, given};
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::proof::{Rows, prove_two};

type At<V> = (Timestamp, V);
type Timed = (Text, At<Text>);

fn timed(random: &mut StdRng) -> Timed {
    let key = ["", "a", "ab"][random.random_range(0..3)];
    let value = ["x", "", "y\0"][random.random_range(0..3)];
    (key.into(), (Timestamp::from_micros(random.random_range(-6..7)), value.into()))
}

#[test]
fn an_interval_join_is_a_join_of_what_is_near() {
    for (from, to) in [(-3, 2), (0, 0), (1, 4), (-5, -4), (i64::MIN, i64::MAX), (-100, 1)] {
        prove_two(
            (timed, timed),
            move |one, other| one.persist("one").interval_join(other.persist("other"), from..=to),
            move |one, other| {
                let mut pairs = Rows::new();
                for ((key, row), count) in one {
                    for ((other, with), times) in other.iter().filter(|((other, _), _)| other == key) {
                        if (from..=to).contains(&(with.0.micros() - row.0.micros())) {
                            *pairs.entry((other.clone(), (row.clone(), with.clone()))).or_default() +=
                                count * times;
                        }
                    }
                }
                pairs.retain(|_, count| *count != 0);
                pairs
            },
        );
    }
}

#[test]
fn times_at_the_ends_of_all_time_are_near_what_is_near() {
    let test = Test::building("ends", |flow| {
        let one = flow.input("one").decode(Given::<(i64, At<i64>)>::new());
        let other = flow.input("other").decode(Given::<(i64, At<i64>)>::new());
        let pairs = one.persist("one").interval_join(other.persist("other"), -10..=10);
        let pairs = pairs.map::<(Timestamp, Timestamp)>(|&(_, ((one, _), (other, _)))| (one, other));
        pairs.output("pairs", &["one", "other"], &[]);
    });
    let row = |micros| given(&(1, (Timestamp::from_micros(micros), 0)), 1);
    let outcome = test
        .epoch([("one", row(i64::MIN)), ("one", row(i64::MAX)), ("one", row(0))])
        .epoch([("other", row(i64::MIN + 10)), ("other", row(i64::MAX - 10)), ("other", row(11))])
        .check();
    assert_eq!(outcome.rows("pairs").len(), 2, "{:?}", outcome.rows("pairs"));
}

#[test]
fn an_as_of_join_finds_the_newest_row_before() {
    type Joined = AsOf<Text, Timestamp, Text, Text>;
    prove_two(
        (timed, timed),
        |one, other| one.persist("one").join_as_of("as of", other.persist("other")),
        |one, other| {
            let mut made: Rows<Joined> = Rows::new();
            for ((key, row), count) in one {
                let before = other
                    .iter()
                    .filter(|((other, with), times)| other == key && with.0 <= row.0 && **times > 0);
                let newest = before.map(|((_, with), _)| with.clone()).max();
                made.insert((key.clone(), (row.clone(), newest)), *count);
            }
            made
        },
    );
}

#[test]
fn an_as_of_join_goes_by_orders_of_any_kind() {
    type Worded = (Text, (Text, i64));
    let worded = |random: &mut StdRng| -> Worded {
        let order = ["", "a", "a\0", "ab", "b"][random.random_range(0..5)];
        (["k", "l"][random.random_range(0..2)].into(), (order.into(), random.random_range(0..2)))
    };
    prove_two(
        (worded, worded),
        |one, other| one.persist("one").join_as_of("as of", other.persist("other")),
        |one, other| {
            let mut made: Rows<AsOf<Text, Text, i64, i64>> = Rows::new();
            for ((key, row), count) in one {
                let before = other
                    .iter()
                    .filter(|((other, with), times)| other == key && with.0 <= row.0 && **times > 0);
                made.insert(
                    (key.clone(), (row.clone(), before.map(|((_, with), _)| with.clone()).max())),
                    *count,
                );
            }
            made
        },
    );
}

#[test]
fn a_row_is_looked_up_in_a_table() {
    let pair = |random: &mut StdRng| -> (Text, i64) {
        (["", "a", "ab", "b"][random.random_range(0..4)].into(), random.random_range(-2..3))
    };
    prove_two(
        (pair, pair),
        |one, table| one.persist("one").look_up(table.persist("table")),
        |one, table| {
            let mut made: Rows<(Text, (i64, Option<i64>))> = Rows::new();
            for ((key, value), count) in one {
                let found = table.iter().filter(|((other, _), times)| other == key && **times > 0);
                made.insert((key.clone(), (*value, found.map(|((_, found), _)| *found).min())), *count);
            }
            made
        },
    );
    // Of a table that is known to have a row a key, nothing is held but the table.
    prove_two(
        (pair, |random: &mut StdRng| pair(random).0),
        |one, keys| one.persist("one").look_up(keys.persist("keys").count()),
        |one, keys| {
            let mut made: Rows<(Text, (i64, Option<i64>))> = Rows::new();
            for ((key, value), count) in one {
                made.insert((key.clone(), (*value, keys.get(key).copied())), *count);
            }
            made
        },
    );
}
