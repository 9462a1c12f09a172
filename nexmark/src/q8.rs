//! q8, monitor new users: who has opened an auction in the window in which they came.

use cutwater::prelude::*;

use crate::WINDOW;
use crate::events::{AUCTION, PERSON, is_event};

/// Monitor new users: who has opened an auction in the same window of ten seconds in which they came
///
/// Input events. Output result has a row for each person and window in which both are. A window is its start.
///
/// State: a row a person, and a row for each seller and window with auctions.
#[derive(clap::Args, Clone, Debug)]
pub struct Q8 {}

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
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Auction {
    seller: i64,
}

/// Who, and in which window.
type Who = (i64, Timestamp);

impl Dataflow for Q8 {
    const NAME: &'static str = "q8";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow.input("events").event_time("date_time").checked_rows::<Event>(|event| {
            is_event(
                event.event_type,
                &[(PERSON, event.person.is_some()), (AUCTION, event.auction.is_some())],
            )
        });
        let window = Window::tumbling(WINDOW);
        let persons = events.clone().flat_map::<(Who, Text)>(move |event, out| {
            let person = event.person.filter(|_| event.event_type == PERSON);
            let person = person.zip(window.start(event.date_time));
            out.extend(person.map(|(person, start)| ((person.id, start), person.name)));
        });
        let sellers = events.flat_map::<Who>(move |event, out| {
            let auction = event.auction.filter(|_| event.event_type == AUCTION);
            out.extend(
                auction.zip(window.start(event.date_time)).map(|(auction, start)| (auction.seller, start)),
            );
        });
        // Both sides of the SQL are grouped: a row is there or is not.
        let persons = persons.persist("persons").distinct();
        let new = persons.semijoin(sellers.persist("sellers"));
        new.output("result", &["id", "window"], &["name"]);
    }
}
