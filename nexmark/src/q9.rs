//! q9, winning bids: each auction with its highest bid.

use cutwater::prelude::*;

use crate::events::{AUCTION, Auction, AuctionRef, BID, is_event};

/// Winning bids: each auction with the highest bid within its time, the first one of several
///
/// Input events. Output result has a row for each auction with such a bid.
///
/// State: a row an auction, a row a bid, and a row for each winning bid.
#[derive(clap::Args, Clone, Debug)]
pub struct Q9 {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    event_type: i64,
    date_time: Timestamp,
    auction: Option<Auction>,
    bid: Option<Bid>,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bid {
    auction: i64,
    bidder: i64,
    price: i64,
    extra: Text,
}

/// An auction with its winning bid.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Won {
    id: i64,
    item_name: Text,
    description: Text,
    initial_bid: i64,
    reserve: i64,
    date_time: Timestamp,
    expires: Timestamp,
    seller: i64,
    category: i64,
    extra: Text,
    bidder: i64,
    price: i64,
    bid_date_time: Timestamp,
    bid_extra: Text,
}

/// What bids are ranked by, the greatest first: their price, and, the other way about, time (in microseconds) and bidder.
type Rank = (i64, i64, i64);

impl Dataflow for Q9 {
    const NAME: &'static str = "q9";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow.input("events").event_time("date_time").checked_rows::<Event>(|event| {
            is_event(event.event_type, &[(AUCTION, event.auction.is_some()), (BID, event.bid.is_some())])
        });
        let auctions = events.clone().flat_map::<(i64, (Timestamp, Auction))>(|event, out| {
            let auction = event.auction.filter(|_| event.event_type == AUCTION);
            out.extend(auction.map(|auction| (auction.id, (event.date_time, auction))));
        });
        let bids =
            events.flat_map::<(i64, (Rank, Text))>(|event, out| {
                let bid = event.bid.filter(|_| event.event_type == BID);
                out.extend(bid.map(|bid| {
                    (bid.auction, ((bid.price, !event.date_time.micros(), !bid.bidder), bid.extra))
                }));
            });
        let auctions = auctions.persist("auctions").arrange("auctions");
        let bids = bids.persist("bids").arrange("bids");
        // What an auction is beside its time does not travel with each bid.
        let within = auctions.clone().join_core::<_, (i64, (Rank, Text))>(
            bids,
            |id, (from, auction), (rank, extra), out| {
                let at = Timestamp::from_micros(!rank.1);
                if from <= at && at <= auction.expires {
                    out.push((id, (rank, extra)));
                }
            },
        );
        // No bid is withdrawn: each worker has one at most to tell of an auction.
        let winning = within.appended().latest("winning bids").arrange("winning bids");
        auctions.join_core(winning, won).output("result", &["id"], &COLUMNS);
    }
}

const COLUMNS: [&str; 13] = [
    "item_name",
    "description",
    "initial_bid",
    "reserve",
    "date_time",
    "expires",
    "seller",
    "category",
    "extra",
    "bidder",
    "price",
    "bid_date_time",
    "bid_extra",
];

/// An auction beside its winning bid.
fn won<'a>(
    id: i64,
    (date_time, auction): (Timestamp, AuctionRef<'a>),
    (rank, bid_extra): (Rank, &'a str),
    out: &mut Emit<'_, Won>,
) {
    let AuctionRef { item_name, description, initial_bid, reserve, expires, seller, category, extra, .. } =
        auction;
    let (price, bid_date_time, bidder) = (rank.0, Timestamp::from_micros(!rank.1), !rank.2);
    out.push(WonRef {
        id,
        item_name,
        description,
        initial_bid,
        reserve,
        date_time,
        expires,
        seller,
        category,
        extra,
        bidder,
        price,
        bid_date_time,
        bid_extra,
    });
}
