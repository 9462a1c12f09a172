//! q3, local item suggestion: who in some states sells something of category 10.

use cutwater::prelude::*;

use crate::events::{AUCTION, PERSON, is_event};

/// Local item suggestion: who in Oregon, Idaho or California sells something of category 10
///
/// Input events. Output result has a row for each auction of category 10 whose seller lives in one of these states.
///
/// State: a row an auction of category 10, and a row a person of these states. An auction waits for its seller, whichever
/// comes first.
#[derive(clap::Args, Clone, Debug)]
pub struct Q3 {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    event_type: i64,
    date_time: Timestamp,
    person: Option<Person>,
    auction: Option<Auction>,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Person {
    id: i64,
    name: Text,
    city: Text,
    state: Text,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Auction {
    id: i64,
    seller: i64,
    category: i64,
}

const STATES: [&str; 3] = ["or", "id", "ca"];
const CATEGORY: i64 = 10;

impl Dataflow for Q3 {
    const NAME: &'static str = "q3";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow.input("events").event_time("date_time").checked_rows::<Event>(|event| {
            is_event(
                event.event_type,
                &[(PERSON, event.person.is_some()), (AUCTION, event.auction.is_some())],
            )
        });
        let auctions = events.clone().flat_map::<(i64, i64)>(|event, out| {
            let auction =
                event.auction.filter(|auction| event.event_type == AUCTION && auction.category == CATEGORY);
            out.extend(auction.map(|auction| (auction.seller, auction.id)));
        });
        let persons = events.flat_map::<(i64, (Text, Text, Text))>(|event, out| {
            let person =
                event.person.filter(|person| event.event_type == PERSON && STATES.contains(&person.state));
            out.extend(person.map(|person| (person.id, (person.name, person.city, person.state))));
        });
        let auctions = auctions.persist("auctions").arrange("auctions");
        let persons = persons.persist("persons").arrange("persons");
        let suggested = auctions.join_core::<_, (i64, Text, Text, Text)>(
            persons,
            |_seller, auction, (name, city, state), out| {
                out.push((auction, name, city, state));
            },
        );
        suggested.output("result", &["id"], &["name", "city", "state"]);
    }
}
