//! Each query at random cuts, at 1, 2 and 3 workers, with restarts in between.

use std::collections::BTreeMap;

use cutwater::prelude::*;
use cutwater::testing::{Outcome, Sample, Test};
use cutwater_nexmark::samples::{config, sample};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Bid, Event, Person};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::oracle::{Cells, Oracle, cells, sql};

/// Events of a test: half a minute of event time.
const EVENTS: usize = 3_000;
/// Of which so many come in a second.
const RATE: usize = 100;
/// What is no event, with what the reason says.
const BROKEN: [(&str, &str); 3] = [
    (r#"{"event_type":7,"date_time":1767225600000}"#, "event_type: it is none of"),
    (r#"{"event_type":"bid","date_time":1767225600000}"#, "event_type: expected i64"),
    ("bid", "JSON"),
];

/// Events of a seed. There are more sellers than the generator's own hot ones, and they open auctions soon: few of so few events
/// would meet otherwise.
fn events(seed: u64) -> impl Iterator<Item = Event> {
    let config = NexmarkConfig { hot_seller_ratio: 1, active_people: 10, ..config(seed, RATE) };
    EventGenerator::new(config).take(EVENTS)
}

/// Events of a seed.
type Events = fn(u64) -> Box<dyn Iterator<Item = Event>>;

/// As the generator makes them: hardly two agree in anything that a query ranks by.
fn usual(seed: u64) -> Box<dyn Iterator<Item = Event>> {
    Box::new(events(seed))
}

/// The same, of which many agree. The price, time and bidder of a bid are one of a few, and some bids come twice, which are two
/// bids. Of three persons one comes twice, and another one once more by another name. Auctions are as they were: their ids are unique.
fn agreeing(seed: u64) -> Box<dyn Iterator<Item = Event>> {
    Box::new(events(seed).flat_map(|event| match event {
        Event::Bid(bid) => {
            let times = if bid.price % 5 == 0 { 2 } else { 1 };
            let (price, bidder) = (1 + bid.price % 3, bid.bidder % 3);
            let bid = Bid { price, bidder, date_time: bid.date_time / 200 * 200, ..bid };
            vec![Event::Bid(bid); times]
        }
        Event::Person(person) if person.id % 3 == 0 => vec![Event::Person(person); 2],
        Event::Person(person) if person.id % 3 == 1 => {
            let named = Person { name: "another".to_owned(), ..person.clone() };
            vec![Event::Person(person), Event::Person(named)]
        }
        event => vec![event],
    }))
}

/// An epoch: its events, and when it closes.
struct Epoch {
    events: Vec<Event>,
    closed: Timestamp,
}

/// Epochs of some hundred events, and of none, that close some seconds apart.
fn epochs(events: Events, seed: u64) -> Vec<Epoch> {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut events = events(seed).peekable();
    let (mut epochs, mut seconds) = (Vec::new(), 1_767_300_000);
    while events.peek().is_some() {
        let size = if random.random_range(0..8) == 0 { 0 } else { random.random_range(1..500) };
        seconds += random.random_range(0..7);
        let closed = Timestamp::from_micros(seconds * 1_000_000 + random.random_range(0..1_000) * 1_000);
        epochs.push(Epoch { events: events.by_ref().take(size).collect(), closed });
    }
    epochs
}

/// Runs a query on these epochs, each way: they all give the same, or it panics.
fn run(test: Test, epochs: &[Epoch], seed: u64) -> Outcome {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut test = test;
    for (number, epoch) in epochs.iter().enumerate() {
        if number > 0 && random.random_range(0..3) == 0 {
            test = test.restart();
        }
        let mut records: Vec<Sample> = epoch.events.iter().map(sample).collect();
        if number < BROKEN.len() {
            records.push(BROKEN[number].0.into());
        }
        test = test.epoch(records.into_iter().map(|record| ("events", record))).at(epoch.closed);
    }
    test.check()
}

/// Rows in the order of their columns, each as often as it is there.
fn standing(rows: &BTreeMap<Cells, i64>) -> Vec<Cells> {
    let mut standing = Vec::new();
    for (row, &times) in rows {
        assert!(times > 0, "{row:?} is there {times} times");
        standing.extend(std::iter::repeat_n(row.clone(), times as usize));
    }
    standing
}

/// As [`check_on`], on the usual events.
fn check<D: Dataflow + Clone>(dataflow: D, least: usize) {
    check_on(usual, dataflow, least);
}

/// At each cut, the rows that a query has made are those of its SQL on the events below it. There are `least` in the end.
fn check_on<D: Dataflow + Clone>(events: Events, dataflow: D, least: usize) {
    for seed in [0, 1] {
        let epochs = epochs(events, seed);
        let test = Test::of(dataflow.clone());
        let shape = test.shape().outputs.remove(0);
        let outcome = run(test, &epochs, seed);
        let reasons = outcome.reasons();
        let expected = BROKEN.map(|(_, reason)| reason);
        assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
        assert!(expected.iter().all(|why| reasons.iter().any(|reason| reason.contains(why))), "{reasons:?}");
        let (oracle, mut rows) = (Oracle::new(), BTreeMap::new());
        for (number, epoch) in (1..).zip(&epochs) {
            epoch.events.iter().for_each(|event| oracle.add(event, epoch.closed.micros() / 1_000));
            for change in outcome.changes_of("result", number) {
                let (times, row) = change.split_once(' ').expect("a difference and a row");
                *rows.entry(cells(row, &shape)).or_insert(0) += times.parse::<i64>().expect("a difference");
            }
            rows.retain(|_, times| *times != 0);
            let (found, expected) = (standing(&rows), oracle.rows(D::NAME, &shape));
            let wrong = found.iter().zip(&expected).find(|(found, expected)| found != expected);
            assert!(
                found == expected,
                "{} of seed {seed}, epoch {number}: {} rows, {} expected; the first that differ: {wrong:?}",
                D::NAME,
                found.len(),
                expected.len()
            );
        }
        assert!(rows.len() >= least, "{} of seed {seed} has {} rows", D::NAME, rows.len());
    }
}

#[test]
fn q3() {
    check(cutwater_nexmark::q3::Q3 {}, 10);
}

#[test]
fn q4() {
    check(cutwater_nexmark::q4::Q4 {}, 5);
}

#[test]
fn q5() {
    check(cutwater_nexmark::q5::Q5 {}, 15);
}

#[test]
fn q7() {
    check(cutwater_nexmark::q7::Q7 {}, 3);
}

#[test]
fn q8() {
    check(cutwater_nexmark::q8::Q8 {}, 10);
}

#[test]
fn q9() {
    check(cutwater_nexmark::q9::Q9 {}, 50);
}

#[test]
fn q12() {
    check(cutwater_nexmark::q12::Q12 {}, 100);
}

#[test]
fn q18() {
    check(cutwater_nexmark::q18::Q18 {}, 500);
}

#[test]
fn q19() {
    check(cutwater_nexmark::q19::Q19 {}, 500);
}

#[test]
fn q20() {
    check(cutwater_nexmark::q20::Q20 {}, 100);
}

#[test]
fn q4_of_equal_bids() {
    check_on(agreeing, cutwater_nexmark::q4::Q4 {}, 5);
}

#[test]
fn q5_of_equal_bids() {
    check_on(agreeing, cutwater_nexmark::q5::Q5 {}, 15);
}

/// Each of the highest bids of a window, those that are equal as often as they came.
#[test]
fn q7_of_equal_bids() {
    check_on(agreeing, cutwater_nexmark::q7::Q7 {}, 500);
}

/// A person that comes twice is one, and one with two names is two.
#[test]
fn q8_of_persons_that_come_again() {
    check_on(agreeing, cutwater_nexmark::q8::Q8 {}, 15);
}

/// Of the highest bids of an auction, the first one; of those of one time, that of the least bidder, and so on.
#[test]
fn q9_of_equal_bids() {
    check_on(agreeing, cutwater_nexmark::q9::Q9 {}, 50);
}

#[test]
fn q18_of_equal_bids() {
    check_on(agreeing, cutwater_nexmark::q18::Q18 {}, 50);
}

/// Bids that are equal have as many ranks.
#[test]
fn q19_of_equal_bids() {
    check_on(agreeing, cutwater_nexmark::q19::Q19 {}, 500);
}

/// Where nothing is equal, those above show nothing.
#[test]
fn many_of_these_agree() {
    for seed in [0, 1] {
        let oracle = Oracle::new();
        agreeing(seed).for_each(|event| oracle.add(&event, 0));
        let ties = |ranked_by: &str| {
            oracle.number(&format!(
                "SELECT COUNT(*) FROM (
                    SELECT RANK() OVER (PARTITION BY a.id ORDER BY {ranked_by}) AS rank
                    FROM auction a JOIN bid b ON a.id = b.auction
                    WHERE b.date_time BETWEEN a.date_time AND a.expires
                    GROUP BY a.id, b.price, b.date_time, b.bidder, b.extra
                ) WHERE rank = 1"
            )) - oracle.number(
                "SELECT COUNT(DISTINCT a.id) FROM auction a JOIN bid b ON a.id = b.auction
                    WHERE b.date_time BETWEEN a.date_time AND a.expires",
            )
        };
        let found = [
            ties("b.price DESC"),
            ties("b.price DESC, b.date_time"),
            ties("b.price DESC, b.date_time, b.bidder"),
            oracle.number("SELECT COUNT(*) FROM (SELECT 1 FROM person GROUP BY id HAVING COUNT(DISTINCT name) > 1)"),
            oracle.number("SELECT COUNT(*) FROM (SELECT 1 FROM person GROUP BY id, name HAVING COUNT(*) > 1)"),
            oracle.number("SELECT COUNT(*) FROM (SELECT 1 FROM bid GROUP BY auction, bidder, price, date_time, extra HAVING COUNT(*) > 1)"),
        ];
        assert!(found.iter().all(|&number| number >= 5), "seed {seed}: {found:?}");
    }
}

#[test]
fn the_events_are_of_several_windows_and_out_of_order() {
    let times: Vec<u64> = events(0).map(|event| event.timestamp()).collect();
    let span = times.iter().max().unwrap() - times.iter().min().unwrap();
    assert!(span > 25_000 && !times.is_sorted(), "{span} ms");
}

/// No query would forget anything in a restart, and each has a help and SQL that the README shows.
#[test]
fn each_survives_and_is_told_of() {
    let readme = include_str!("../../README.md");
    for entry in cutwater_nexmark::registry() {
        let command = entry.arguments(clap::Command::new("run"));
        let dataflow =
            entry.parse(&command.try_get_matches_from(["run"]).expect("no options")).expect("none");
        let shape = Shape::of(&*dataflow).expect("it can be built");
        assert!(shape.unpersisted_state.is_empty(), "{}: {:?}", entry.name(), shape.unpersisted_state);
        assert!(shape.outputs.iter().all(|output| output.restorable), "{}", entry.name());
        assert!(readme.contains(sql(entry.name())), "{}: the SQL in README.md is another", entry.name());
        assert!(entry.sampled(1).is_some());
    }
}
