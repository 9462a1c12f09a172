//! q5, hot items: the auctions with the most bids in each sliding window.

use std::time::Duration;

use cutwater::prelude::*;

use crate::WINDOW;
use crate::events::{BID, is_event};

/// Hot items: the auctions with the most bids in each window of ten seconds, every two seconds
///
/// Input events. Output result has a row for each window and auction that no other has more bids in. A window is its start.
///
/// State: a row for each window and auction with bids in it. With --lateness, those of windows that nothing can change any
/// more are dropped.
#[derive(clap::Args, Clone, Debug)]
pub struct Q5 {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    event_type: i64,
    date_time: Timestamp,
    bid: Option<Bid>,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bid {
    auction: i64,
}

const HOP: Duration = Duration::from_secs(2);

impl Dataflow for Q5 {
    const NAME: &'static str = "q5";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow
            .input("events")
            .event_time("date_time")
            .checked_rows::<Event>(|event| is_event(event.event_type, &[(BID, event.bid.is_some())]));
        let window = Window::hopping(WINDOW, HOP);
        let bids = events.flat_map::<((Timestamp, i64), i64)>(move |event, out| {
            let Some(bid) = event.bid.filter(|_| event.event_type == BID) else { return };
            window.starts(event.date_time).flatten().for_each(|start| out.push(((start, bid.auction), 1)));
        });
        let counts = bids
            .sum("bids")
            .map::<(Timestamp, (i64, i64))>(|&((start, auction), bids)| (start, (bids, auction)));
        let hottest = counts.arrange("bids of windows").reduce_ordered::<(i64, i64)>(
            "hottest",
            |_start, counts, out| {
                let mut counts = counts.rev().filter(|(_, times)| *times > 0).map(|(count, _)| count);
                let Some((most, auction)) = counts.next() else { return };
                out.push((auction, most));
                out.extend(
                    counts.take_while(|(bids, _)| *bids == most).map(|(bids, auction)| (auction, bids)),
                );
            },
        );
        hottest.unique_by(2).output("result", &["window", "auction"], &["num"]);
    }
}
