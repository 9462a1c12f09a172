//! q4, average price for a category: what the auctions of a category have come to.

use cutwater::prelude::*;

use crate::events::{AUCTION, BID, is_event};

/// Average price for a category: of its auctions, what the highest bid within their time is
///
/// Input events. Output result has a row for each category of which an auction has such a bid.
///
/// State: a row an auction, a row a bid, and the highest bids and their sums. A bid waits for its auction, whichever comes
/// first; those within its time are compared as they come, so that no epoch looks at the others of its auction.
#[derive(clap::Args, Clone, Debug)]
pub struct Q4 {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    event_type: i64,
    date_time: Timestamp,
    auction: Option<Auction>,
    bid: Option<Bid>,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Auction {
    id: i64,
    expires: Timestamp,
    category: i64,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bid {
    auction: i64,
    price: i64,
}

impl Dataflow for Q4 {
    const NAME: &'static str = "q4";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow.input("events").event_time("date_time").checked_rows::<Event>(|event| {
            is_event(event.event_type, &[(AUCTION, event.auction.is_some()), (BID, event.bid.is_some())])
        });
        let auctions = events.clone().flat_map::<(i64, (Timestamp, Timestamp, i64))>(|event, out| {
            let auction = event.auction.filter(|_| event.event_type == AUCTION);
            out.extend(auction.map(|it| (it.id, (event.date_time, it.expires, it.category))));
        });
        let bids = events.flat_map::<(i64, (Timestamp, i64))>(|event, out| {
            let bid = event.bid.filter(|_| event.event_type == BID);
            out.extend(bid.map(|bid| (bid.auction, (event.date_time, bid.price))));
        });
        let (auctions, bids) = (auctions.persist("auctions"), bids.persist("bids"));
        // By auction and category, so that latest is the highest: bids are only ever added.
        let prices = auctions.arrange("auctions").join_core::<_, ((i64, i64), (i64, ()))>(
            bids.arrange("bids"),
            |id, (from, until, category), (at, price), out| {
                if from <= at && at <= until {
                    out.push(((id, category), (price, ())));
                }
            },
        );
        // None is withdrawn: each worker has one at most to tell of an auction.
        let highest = prices.appended().latest("highest bids");
        let sums = highest.map::<(i64, (i64, i64))>(|&((_id, category), (price, ()))| (category, (price, 1)));
        let averages = sums.sum("categories").map::<(i64, Float)>(|&(category, (sum, auctions))| {
            (category, Float::from(sum as f64 / auctions as f64))
        });
        averages.unique_by(1).output("result", &["category"], &["average"]);
    }
}
