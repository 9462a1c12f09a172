use cutwater_dataflows::prelude::*;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::proof::{Rows, prove, prove_two, rows};

type Pair = (Text, i64);

fn pair(random: &mut StdRng) -> Pair {
    (
        ["a", "b", "long, longer, as long as one that is in no entry"][random.random_range(0..3)].into(),
        random.random_range(-2..3),
    )
}

fn each<R: Ord, Out: Ord>(rows: Rows<R>, make: impl Fn(R) -> Vec<(Out, i64)>) -> Rows<Out> {
    let mut made = Rows::new();
    for (row, count) in rows {
        for (row, times) in make(row) {
            *made.entry(row).or_default() += count * times;
        }
    }
    made.retain(|_, count| *count != 0);
    made
}

#[test]
fn map() {
    prove(
        false,
        pair,
        |rows| rows.map::<Text>(|&(text, _)| text),
        |changes| each(rows(changes), |(text, _)| vec![(text, 1)]),
    );
}

#[test]
fn flat_map_emits_none_one_or_several() {
    prove(
        false,
        pair,
        |rows| {
            rows.flat_map::<(i64, Text)>(|(text, number), out| {
                for turn in 0..number {
                    out.push((turn, &text.to_uppercase()));
                }
                out.push_diff((9, text), -2);
            })
        },
        |changes| {
            each(rows(changes), |(text, number)| {
                let upper = Text::from(text.to_uppercase());
                let turns = (0..number).map(|turn| ((turn, upper.clone()), 1));
                turns.chain([((9, text.clone()), -2)]).collect()
            })
        },
    );
}

#[test]
fn filter_and_negate() {
    prove(
        false,
        pair,
        |rows| rows.filter(|&(_, number)| number > 0).negate(),
        |changes| each(rows(changes), |row| if row.1 > 0 { vec![(row, -1)] } else { vec![] }),
    );
}

#[test]
fn concat() {
    prove_two(
        (pair, pair),
        |one, other| one.concat(other),
        |one, other| {
            let mut both = one.clone();
            other.iter().for_each(|(row, count)| *both.entry(row.clone()).or_default() += count);
            both.retain(|_, count| *count != 0);
            both
        },
    );
}

#[test]
fn persisted_exchanged_and_consolidated_rows_are_the_same() {
    prove(false, pair, |rows| rows.persist("rows"), rows);
    prove(false, pair, |rows| rows.exchange().inspect(|_, _| {}), rows);
    prove(false, pair, |rows| rows.map::<Pair>(|row| *row).consolidate(), rows);
}

#[test]
fn the_way_to_differential_and_back() {
    prove(
        false,
        pair,
        |rows| {
            let rows = rows.persist("rows");
            let flow = rows.flow().clone();
            flow.collection(rows.differential().distinct_core::<i64>())
        },
        |changes| each(rows(changes).into_keys().map(|row| (row, 1)).collect(), |row| vec![(row, 1)]),
    );
}

/// Each row that is there, once: an operator of one's own that remembers rows.
fn once<'s, R: Row>(rows: Collection<'s, R>) -> Collection<'s, R> {
    use std::collections::HashMap;

    use cutwater_dataflows::flat::FlatBatch;
    use timely::container::CapacityContainerBuilder;
    use timely::dataflow::{channels::pact::Pipeline, operators::Operator as _};

    rows.remembered_by("Once");
    rows.through(|changes| {
        changes.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Once", |_, _| {
            let mut there: HashMap<Vec<u8>, i64> = HashMap::new();
            move |input, output| {
                input.for_each(|capability, batch| {
                    let mut changed = FlatBatch::default();
                    for (row, diff) in batch.iter() {
                        let count = there.entry(row.to_vec()).or_default();
                        let (old, new) = (*count > 0, *count + diff > 0);
                        *count += diff;
                        if old != new {
                            changed.push(row, if new { 1 } else { -1 });
                        }
                    }
                    output.session(&capability).give_container(&mut changed);
                });
            }
        })
    })
}

#[test]
fn an_operator_of_ones_own_that_remembers_rows_is_given_the_snapshot() {
    prove(
        false,
        pair,
        |rows| once(rows.persist("rows").count().exchange()),
        |changes| {
            rows(changes).into_iter().map(|((text, number), count)| (((text, number), count), 1)).collect()
        },
    );
}
