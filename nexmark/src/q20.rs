//! q20, expanded bids: each bid beside its auction.

use cutwater::prelude::*;

use crate::events::{AUCTION, Auction, AuctionRef, BID, Bid, BidRef, is_event};

/// Expanded bids: each bid of an auction of category 10 with all that is known of the auction
///
/// Input events. Output result has a row for each such bid.
///
/// State: a row an auction of category 10, and a row a bid. A bid waits for its auction, whichever comes first.
#[derive(clap::Args, Clone, Debug)]
pub struct Q20 {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    event_type: i64,
    date_time: Timestamp,
    auction: Option<Auction>,
    bid: Option<Bid>,
}

/// A bid beside its auction.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Expanded {
    auction: i64,
    bidder: i64,
    date_time: Timestamp,
    price: i64,
    channel: Text,
    url: Text,
    extra: Text,
    item_name: Text,
    description: Text,
    initial_bid: i64,
    reserve: i64,
    auction_date_time: Timestamp,
    expires: Timestamp,
    seller: i64,
    category: i64,
    auction_extra: Text,
}

const CATEGORY: i64 = 10;

impl Dataflow for Q20 {
    const NAME: &'static str = "q20";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow.input("events").event_time("date_time").checked_rows::<Event>(|event| {
            is_event(event.event_type, &[(AUCTION, event.auction.is_some()), (BID, event.bid.is_some())])
        });
        let auctions = events.clone().flat_map::<(i64, (Timestamp, Auction))>(|event, out| {
            let auction =
                event.auction.filter(|auction| event.event_type == AUCTION && auction.category == CATEGORY);
            out.extend(auction.map(|auction| (auction.id, (event.date_time, auction))));
        });
        let bids = events.flat_map::<(i64, (Timestamp, Bid))>(|event, out| {
            let bid = event.bid.filter(|_| event.event_type == BID);
            out.extend(bid.map(|bid| (bid.auction, (event.date_time, bid))));
        });
        let auctions = auctions.persist("auctions").arrange("auctions");
        let bids = bids.persist("bids").arrange("bids");
        let expanded =
            bids.join_core::<_, Expanded>(auctions, |_id, (date_time, bid), (opened, auction), out| {
                out.push(expanded(date_time, bid, opened, auction));
            });
        let columns = [
            "price",
            "channel",
            "url",
            "extra",
            "item_name",
            "description",
            "initial_bid",
            "reserve",
            "auction_date_time",
            "expires",
            "seller",
            "category",
            "auction_extra",
        ];
        expanded.output("result", &["auction", "bidder", "date_time"], &columns);
    }
}

fn expanded<'a>(
    date_time: Timestamp,
    bid: BidRef<'a>,
    auction_date_time: Timestamp,
    of: AuctionRef<'a>,
) -> ExpandedRef<'a> {
    ExpandedRef {
        auction: bid.auction,
        bidder: bid.bidder,
        date_time,
        price: bid.price,
        channel: bid.channel,
        url: bid.url,
        extra: bid.extra,
        item_name: of.item_name,
        description: of.description,
        initial_bid: of.initial_bid,
        reserve: of.reserve,
        auction_date_time,
        expires: of.expires,
        seller: of.seller,
        category: of.category,
        auction_extra: of.extra,
    }
}
