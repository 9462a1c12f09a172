//! The proof of an operator: it runs on random changes, and its result in each epoch is what a recount of the changes so far
//! says, however they came.

use std::collections::BTreeMap;

use cutwater_dataflows::prelude::*;
use cutwater_dataflows::rows::{Json, encode};
use cutwater_dataflows::testing::{Given, Sample, Test, given};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Rows, each with how often it is there.
pub(crate) type Rows<R> = BTreeMap<R, i64>;

/// Changes by epoch, in the order in which they come.
pub(crate) type Changes<R> = Vec<Vec<(R, i64)>>;

/// How often an operator is tried.
const TRIES: u64 = 12;

/// Random changes of rows that `row` draws: as many withdrawals as insertions, of what is there if `sound`.
pub(crate) fn changes<R: Row>(
    random: &mut StdRng,
    sound: bool,
    row: impl Fn(&mut StdRng) -> R,
) -> Changes<R> {
    let mut there: Rows<R> = Rows::new();
    (0..random.random_range(1..8))
        .map(|_| {
            (0..random.random_range(0..12))
                .map(|_| {
                    let drawn = row(random);
                    let withdrawn = there.iter().filter(|(_, count)| **count > 0).map(|(row, _)| row.clone());
                    let (row, diff) = match random.random_range(0..5) {
                        0 | 1 if sound => match withdrawn.last() {
                            Some(row) => (row, -1),
                            None => (drawn, 1),
                        },
                        0 | 1 => (drawn, -random.random_range(1..3)),
                        2 => (drawn, 2),
                        _ => (drawn, 1),
                    };
                    *there.entry(row.clone()).or_default() += diff;
                    (row, diff)
                })
                .collect()
        })
        .collect()
}

/// The rows after the first epochs.
pub(crate) fn rows<R: Row>(changes: &[Vec<(R, i64)>]) -> Rows<R> {
    let mut rows = Rows::new();
    for (row, diff) in changes.iter().flatten() {
        *rows.entry(row.clone()).or_default() += diff;
    }
    rows.retain(|_, count| *count != 0);
    rows
}

/// Proves an operator of one collection: in each epoch, its rows are those that `recount` makes of the changes so far.
pub(crate) fn prove<R: Row, Out: Row>(
    sound: bool,
    row: impl Fn(&mut StdRng) -> R,
    operator: impl for<'s> Fn(Collection<'s, R>) -> Collection<'s, Out> + Clone + Send + Sync + 'static,
    recount: impl Fn(&[Vec<(R, i64)>]) -> Rows<Out>,
) {
    prove_on(|random| changes(random, sound, &row), operator, recount);
}

/// As [`prove`], of rows that are only ever added.
pub(crate) fn prove_added<R: Row, Out: Row>(
    row: impl Fn(&mut StdRng) -> R,
    operator: impl for<'s> Fn(Collection<'s, R>) -> Collection<'s, Out> + Clone + Send + Sync + 'static,
    recount: impl Fn(&[Vec<(R, i64)>]) -> Rows<Out>,
) {
    let added = |random: &mut StdRng| {
        let mut changes = changes(random, false, &row);
        changes.iter_mut().flatten().for_each(|(_, diff)| *diff = diff.abs());
        changes
    };
    prove_on(added, operator, recount);
}

fn prove_on<R: Row, Out: Row>(
    changes: impl Fn(&mut StdRng) -> Changes<R>,
    operator: impl for<'s> Fn(Collection<'s, R>) -> Collection<'s, Out> + Clone + Send + Sync + 'static,
    recount: impl Fn(&[Vec<(R, i64)>]) -> Rows<Out>,
) {
    for seed in 0..TRIES {
        let random = &mut StdRng::seed_from_u64(seed);
        let given = changes(random);
        let operator = operator.clone();
        let test = Test::building("proof", move |flow| {
            output(operator(flow.input("rows").decode(Given::<R>::new())));
        });
        compare(test, random, given.len(), &[samples("rows", &given)], &given, |epochs| {
            recount(&given[..epochs])
        });
    }
}

/// As [`prove`], for an operator of two collections.
pub(crate) fn prove_two<A: Row, B: Row, Out: Row>(
    rows: (impl Fn(&mut StdRng) -> A, impl Fn(&mut StdRng) -> B),
    operator: impl for<'s> Fn(Collection<'s, A>, Collection<'s, B>) -> Collection<'s, Out>
    + Clone
    + Send
    + Sync
    + 'static,
    recount: impl Fn(&Rows<A>, &Rows<B>) -> Rows<Out>,
) {
    for seed in 0..TRIES {
        let random = &mut StdRng::seed_from_u64(seed);
        let (mut one, mut other) = (changes(random, false, &rows.0), changes(random, false, &rows.1));
        let epochs = one.len().max(other.len());
        one.resize(epochs, Vec::new());
        other.resize(epochs, Vec::new());
        let operator = operator.clone();
        let test = Test::building("proof", move |flow| {
            let one = flow.input("one").decode(Given::<A>::new());
            let other = flow.input("other").decode(Given::<B>::new());
            output(operator(one, other));
        });
        let samples = [samples("one", &one), samples("other", &other)];
        compare(test, random, epochs, &samples, &(&one, &other), |epochs| {
            recount(&self::rows(&one[..epochs]), &self::rows(&other[..epochs]))
        });
    }
}

pub(crate) type Samples = Vec<Vec<(&'static str, Sample)>>;

fn samples<R: Row>(input: &'static str, changes: &Changes<R>) -> Samples {
    changes.iter().map(|epoch| epoch.iter().map(|(row, diff)| (input, given(row, *diff))).collect()).collect()
}

fn names<R: Row>() -> Vec<String> {
    (0..Schema::of::<R>().columns.len()).map(|column| format!("c{column}")).collect()
}

/// Hands a collection out, all columns the key.
pub(crate) fn output<R: Row>(rows: Collection<'_, R>) {
    let names = names::<R>();
    rows.output("out", &names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
}

/// Runs a test at several numbers of workers and with random restarts.
pub(crate) fn compare<Out: Row>(
    mut test: Test,
    random: &mut StdRng,
    epochs: usize,
    samples: &[Samples],
    shown: &dyn std::fmt::Debug,
    recount: impl Fn(usize) -> Rows<Out>,
) {
    for epoch in 0..epochs {
        if epoch > 0 && random.random_range(0..3) == 0 {
            test = test.restart();
        }
        test = test.epoch(samples.iter().flat_map(|samples| samples[epoch].clone()));
    }
    let outcome = test.check();
    let json = {
        let names = names::<Out>();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Json::new(Schema::of::<Out>().named(&names, &[]).expect("a name for each column"))
    };
    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    for epoch in 1..=epochs {
        for change in outcome.changes_of("out", epoch as u64) {
            let (diff, row) = change.split_once(' ').expect("a difference and a row");
            *found.entry(row.to_owned()).or_default() += diff.parse::<i64>().expect("a difference");
        }
        found.retain(|_, count| *count != 0);
        let expected: BTreeMap<String, i64> = recount(epoch)
            .into_iter()
            .map(|(row, count)| {
                let mut text = Vec::new();
                json.write(&encode(&row), &mut text).expect("it is a row");
                (String::from_utf8(text).expect("JSON"), count)
            })
            .collect();
        assert_eq!(found, expected, "after epoch {epoch} of {shown:?}");
    }
}
