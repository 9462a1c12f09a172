//! q7, highest bid: the highest bids of each window.

use cutwater::prelude::*;

use crate::WINDOW;
use crate::events::{BID, is_event};

/// Highest bid: the bids with the highest price in each window of ten seconds
///
/// Input events. Output result has a row for each window and bid that no other has a higher price in. A window is its start.
///
/// State: the rows of the output. Bids are only ever added, so a lower one is forgotten as it comes.
#[derive(clap::Args, Clone, Debug)]
pub struct Q7 {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    event_type: i64,
    date_time: Timestamp,
    bid: Option<Bid>,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bid {
    auction: i64,
    bidder: i64,
    price: i64,
    extra: Text,
}

/// Price, auction, bidder, time, and the rest.
type Priced = (i64, i64, i64, Timestamp, Text);

impl Dataflow for Q7 {
    const NAME: &'static str = "q7";

    fn build(&self, flow: &Flow<'_>) {
        let events = flow
            .input("events")
            .event_time("date_time")
            .checked_rows::<Event>(|event| is_event(event.event_type, &[(BID, event.bid.is_some())]));
        let window = Window::tumbling(WINDOW);
        let bids = events.flat_map::<(Timestamp, Priced)>(move |event, out| {
            let bid = event.bid.filter(|_| event.event_type == BID);
            out.extend(bid.zip(window.start(event.date_time)).map(|(bid, start)| {
                (start, (bid.price, bid.auction, bid.bidder, event.date_time, bid.extra))
            }));
        });
        // Each worker tells of its highest bids alone.
        let bids = bids.combine_by_key(|_start, bids, out| highest(&[bids], out));
        let highest = bids.stateful::<Priced>("highest bids", |_start, state, bids, out| {
            highest(&[state, bids], out);
        });
        // Equal bids are as many rows: no key tells them apart.
        let rows = highest.map::<Highest>(|&(window, (price, auction, bidder, date_time, extra))| {
            HighestRef { window, auction, bidder, date_time, price, extra }
        });
        rows.output("result", &["window", "auction", "bidder", "date_time"], &["price", "extra"]);
    }
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Highest {
    window: Timestamp,
    auction: i64,
    bidder: i64,
    date_time: Timestamp,
    price: i64,
    extra: Text,
}

/// Of all these bids, the highest. Each group is in order: its end is looked at.
fn highest(groups: &[Group<'_, Priced>], out: &mut Emit<'_, Priced>) {
    let Some(price) = groups.iter().filter_map(|bids| there(*bids).next()).map(|(bid, _)| bid.0).max() else {
        return;
    };
    for bids in groups {
        for (bid, times) in there(*bids).take_while(|(bid, _)| bid.0 == price) {
            out.push_diff(bid, times);
        }
    }
}

/// Those that are added, the highest first.
fn there(rows: Group<'_, Priced>) -> impl Iterator<Item = (<Priced as Row>::Ref<'_>, Diff)> {
    rows.iter().rev().filter(|(_, times)| *times > 0)
}
