//! q12, processing-time windows: how often somebody has bid in each window of processing time.

use cutwater::prelude::*;

use crate::WINDOW;
use crate::events::{BID, is_event};
use crate::stamped::Stamped;

/// Processing-time windows: how often each bidder has bid in each ten seconds of processing time
///
/// Input events. Output result has a row for each bidder and window with bids. A window is its start. The processing time of an
/// event is the one at which its epoch closed, which is in the ledger: a replay comes to the same windows.
///
/// State: a row for each bidder and window.
#[derive(clap::Args, Clone, Debug)]
pub struct Q12 {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    event_type: i64,
    bid: Option<Bid>,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bid {
    bidder: i64,
}

impl Dataflow for Q12 {
    const NAME: &'static str = "q12";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow
            .input("events")
            .checked_rows::<Event>(|event| is_event(event.event_type, &[(BID, event.bid.is_some())]));
        let bids = events.flat_map::<i64>(|event, out| {
            out.extend(event.bid.filter(|_| event.event_type == BID).map(|bid| bid.bidder));
        });
        let window = Window::tumbling(WINDOW);
        let stamped = bids.stamped().flat_map::<((i64, Timestamp), i64)>(move |(at, bidder), out| {
            out.extend(window.start(at).map(|start| ((bidder, start), 1)));
        });
        stamped.sum("bids").output("result", &["bidder", "window"], &["bid_count"]);
    }
}
