//! q18, last bid: of each bidder and auction.

use cutwater::prelude::*;

use crate::events::{BID, Bid, is_event};

/// Last bid: the one of the latest event time, of each bidder and auction
///
/// Input events. Output result has a row for each bidder and auction.
///
/// State: the rows of the output.
#[derive(clap::Args, Clone, Debug)]
pub struct Q18 {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    event_type: i64,
    date_time: Timestamp,
    bid: Option<Bid>,
}

/// Auction and bidder, and the bid by its time.
type Timed = ((i64, i64), (Timestamp, (i64, Text, Text, Text)));

impl Dataflow for Q18 {
    const NAME: &'static str = "q18";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow
            .input("events")
            .event_time("date_time")
            .checked_rows::<Event>(|event| is_event(event.event_type, &[(BID, event.bid.is_some())]));
        let bids = events.flat_map::<Timed>(|event, out| {
            let bid = event.bid.filter(|_| event.event_type == BID);
            out.extend(bid.map(|bid| {
                ((bid.auction, bid.bidder), (event.date_time, (bid.price, bid.channel, bid.url, bid.extra)))
            }));
        });
        let columns = ["date_time", "price", "channel", "url", "extra"];
        bids.latest("last bids").output("result", &["auction", "bidder"], &columns);
    }
}
