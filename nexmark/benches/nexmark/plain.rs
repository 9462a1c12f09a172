//! Some queries in plain differential dataflow, as one would write them: on owned rows, which serde reads from JSON.

use std::cell::Cell;
use std::rc::Rc;

use cutwater::prelude::{Epoch, differential_dataflow, timely};
use differential_dataflow::VecCollection;
use differential_dataflow::input::InputSession;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use timely::dataflow::operators::probe::Handle;

use crate::{EPOCH, Pass, seconds};

/// Feeds a query all events, epoch by epoch; `None` for one that is not here.
pub(crate) fn pass(query: &str, events: Vec<Vec<u8>>) -> Option<Pass> {
    match query {
        "q3" => Some(feed(events, q3)),
        "q4" => Some(feed(events, q4)),
        "q18" => Some(feed(events, q18)),
        _ => None,
    }
}

/// A collection of events in a dataflow.
type Events<'s, E> = VecCollection<'s, Epoch, E, isize>;
/// Counts changes that come out, and tells when they have.
type Out<'a> = (&'a Handle<Epoch>, Rc<Cell<usize>>);

fn feed<E>(
    events: Vec<Vec<u8>>,
    query: impl for<'s> FnOnce(Events<'s, E>, Out<'_>) + Send + Sync + 'static,
) -> Pass
where
    E: DeserializeOwned + differential_dataflow::Data,
{
    timely::execute_directly(move |worker| {
        let (mut input, probe, changes) = (InputSession::new(), Handle::new(), Rc::new(Cell::new(0)));
        worker.dataflow(|scope| query(input.to_collection(scope), (&probe, Rc::clone(&changes))));
        let seconds = seconds(|| {
            for (epoch, events) in (1..).zip(events.chunks(EPOCH)) {
                for event in events {
                    input.insert(serde_json::from_slice(event).expect("it is an event"));
                }
                input.advance_to(epoch);
                input.flush();
                while probe.less_than(&epoch) {
                    worker.step();
                }
            }
        });
        (seconds, changes.get())
    })
}

fn take<D: Clone + 'static>(rows: VecCollection<'_, Epoch, D, isize>, (probe, changes): Out<'_>) {
    rows.inspect(move |_| changes.set(changes.get() + 1)).probe_with(probe);
}

#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OfQ3 {
    person: Option<Person>,
    auction: Option<Sold>,
}

#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Person {
    id: i64,
    name: String,
    city: String,
    state: String,
}

#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sold {
    id: i64,
    seller: i64,
    category: i64,
}

fn q3(events: Events<'_, OfQ3>, out: Out<'_>) {
    let persons = events.clone().flat_map(|event| event.person);
    let persons = persons.filter(|person| ["or", "id", "ca"].contains(&&*person.state));
    let persons = persons.map(|person| (person.id, (person.name, person.city, person.state)));
    let auctions = events.flat_map(|event| event.auction).filter(|auction| auction.category == 10);
    let auctions = auctions.map(|auction| (auction.seller, auction.id));
    take(auctions.join_map(persons, |_seller, id, person| (*id, person.clone())), out);
}

#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OfQ4 {
    date_time: i64,
    auction: Option<Auction>,
    bid: Option<Bid>,
}

#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Auction {
    id: i64,
    expires: i64,
    category: i64,
}

#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bid {
    auction: i64,
    price: i64,
}

fn q4(events: Events<'_, OfQ4>, out: Out<'_>) {
    let auctions = events.clone().flat_map(|event| event.auction.map(|auction| (event.date_time, auction)));
    let auctions = auctions.map(|(from, it)| (it.id, (from, it.expires, it.category)));
    let bids = events.flat_map(|event| event.bid.map(|bid| (bid.auction, (event.date_time, bid.price))));
    let within = auctions.join_map(bids, |id, &(from, until, category), &(at, price)| {
        ((*id, category), (from <= at && at <= until).then_some(price))
    });
    let within = within.flat_map(|(key, price)| price.map(|price| (key, price)));
    let highest = within.reduce(|_key, prices, out| out.extend(prices.last().map(|(price, _)| (**price, 1))));
    let sums = highest.explode(|((_id, category), price)| [(category, (price as isize, 1))]);
    let averages = sums.count().map(|(category, (sum, auctions))| (category, sum as f64 / auctions as f64));
    // As bits, which have an order.
    take(averages.map(|(category, average)| (category, average.to_bits())), out);
}

#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OfQ18 {
    date_time: i64,
    bid: Option<Whole>,
}

#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Whole {
    auction: i64,
    bidder: i64,
    price: i64,
    channel: String,
    url: String,
    extra: String,
}

fn q18(events: Events<'_, OfQ18>, out: Out<'_>) {
    let bids = events.flat_map(|event| event.bid.map(|bid| (event.date_time, bid)));
    let bids = bids.map(|(at, it)| ((it.auction, it.bidder), (at, it.price, it.channel, it.url, it.extra)));
    take(bids.reduce(|_key, bids, out| out.extend(bids.last().map(|(bid, _)| ((*bid).clone(), 1)))), out);
}
