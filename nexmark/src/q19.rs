//! q19, the top ten of an auction: its highest bids, ranked.

use cutwater::prelude::*;

use crate::events::{BID, Bid, is_event};

/// Auction top ten: the highest bids of each auction, ranked, the first ones of the same price before others
///
/// Input events. Output result has up to ten rows an auction.
///
/// State: the rows of the output. Bids are only ever added, so one that is not among the first ten is forgotten as it comes.
#[derive(clap::Args, Clone, Debug)]
pub struct Q19 {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    event_type: i64,
    date_time: Timestamp,
    bid: Option<Bid>,
}

/// A bid as it is ranked, the greatest first: its price, and, the other way about, time (in microseconds) and bidder; then the
/// rest.
type Ranked = (i64, i64, i64, Text, Text, Text);

/// A bid with its rank.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    auction: i64,
    rank_number: i64,
    bidder: i64,
    price: i64,
    channel: Text,
    url: Text,
    date_time: Timestamp,
    extra: Text,
}

const TOP: i64 = 10;

impl Dataflow for Q19 {
    const NAME: &'static str = "q19";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow
            .input("events")
            .event_time("date_time")
            .checked_rows::<Event>(|event| is_event(event.event_type, &[(BID, event.bid.is_some())]));
        let bids = events.flat_map::<(i64, Ranked)>(|event, out| {
            let bid = event.bid.filter(|_| event.event_type == BID);
            out.extend(bid.map(|bid| {
                let at = !event.date_time.micros();
                (bid.auction, (bid.price, at, !bid.bidder, bid.channel, bid.url, bid.extra))
            }));
        });
        // Each worker tells of its first ten alone.
        let bids = bids.combine_by_key(|_auction, bids, out| first(bids, out));
        let top =
            bids.stateful::<(i64, Ranked)>("top ten", |_auction, state, bids, out| top(state, bids, out));
        let places = top.map::<Place>(|&(auction, (rank_number, bid))| {
            let (price, at, bidder, channel, url, extra) = bid;
            let (date_time, bidder) = (Timestamp::from_micros(!at), !bidder);
            PlaceRef { auction, rank_number, bidder, price, channel, url, date_time, extra }
        });
        let columns = ["bidder", "price", "channel", "url", "date_time", "extra"];
        places.unique_by(2).output("result", &["auction", "rank_number"], &columns);
    }
}

/// The first ten of those that have come.
fn first(bids: Group<'_, Ranked>, out: &mut Emit<'_, Ranked>) {
    let mut left = TOP;
    for (bid, times) in bids.iter().rev().filter(|(_, times)| *times > 0) {
        let times = times.min(left);
        out.push_diff(bid, times);
        left -= times;
        if left == 0 {
            return;
        }
    }
}

/// Ranks the first ten of those that were and of those that have come, of which both are in order.
fn top(state: Group<'_, (i64, Ranked)>, bids: Group<'_, Ranked>, out: &mut Emit<'_, (i64, Ranked)>) {
    let mut known = state.iter().map(|((_rank, bid), _)| bid).peekable();
    let new = bids.iter().rev().filter(|(_, times)| *times > 0);
    let mut new = new.flat_map(|(bid, times)| std::iter::repeat_n(bid, times as usize)).peekable();
    for rank in 1..=TOP {
        let next = match (known.peek(), new.peek()) {
            (Some(one), Some(other)) if one < other => new.next(),
            (Some(_), _) => known.next(),
            _ => new.next(),
        };
        out.extend(next.map(|bid| (rank, bid)));
    }
}
