//! What is in the topic: an event a record, in JSON.
//!
//! ```json
//! {"event_type":2,"date_time":1767225600004,"bid":{"auction":1000,"bidder":1001,"price":2317,"channel":"Apple","url":"…","extra":"…"}}
//! ```
//!
//! A query names the columns that it reads of a kind, in structs of its own, and the others are skipped where they
//! are read; [`Auction`] and [`Bid`] are for those that read all of them.

use cutwater::prelude::*;

/// The `event_type` of somebody who is new: its columns are in `person`.
pub const PERSON: i64 = 0;
/// That of an auction that is opened, in `auction`.
pub const AUCTION: i64 = 1;
/// That of a bid, in `bid`.
pub const BID: i64 = 2;

/// All that is known of an auction, but for the time of its event.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Auction {
    /// Its number.
    pub id: i64,
    /// What is sold.
    pub item_name: Text,
    /// More of it.
    pub description: Text,
    /// The first price.
    pub initial_bid: i64,
    /// The least price at which it is sold.
    pub reserve: i64,
    /// When it ends.
    pub expires: Timestamp,
    /// The number of the person who sells.
    pub seller: i64,
    /// The number of its category.
    pub category: i64,
    /// Nothing of use: it fills the record.
    pub extra: Text,
}

/// All that is known of a bid, but for the time of its event.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bid {
    /// The number of the auction.
    pub auction: i64,
    /// The number of the person who bids.
    pub bidder: i64,
    /// What is offered.
    pub price: i64,
    /// By which way it came.
    pub channel: Text,
    /// The page that it came from.
    pub url: Text,
    /// Nothing of use: it fills the record.
    pub extra: Text,
}

/// Whether an event is one. Of the kinds that a query reads, `read` says whether their columns are there: an event of such a
/// kind has to have them.
///
/// # Errors
/// Why it is a dead letter.
pub fn is_event(event_type: i64, read: &[(i64, bool)]) -> Result<(), Malformed> {
    if !(PERSON..=BID).contains(&event_type) {
        return Err(Malformed::because("event_type: it is none of 0 (person), 1 (auction) and 2 (bid)"));
    }
    match read.iter().find(|&&(kind, there)| kind == event_type && !there) {
        None => Ok(()),
        Some(&(PERSON, _)) => Err(Malformed::because("person: it is missing from an event of type 0")),
        Some(&(AUCTION, _)) => Err(Malformed::because("auction: it is missing from an event of type 1")),
        Some(_) => Err(Malformed::because("bid: it is missing from an event of type 2")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_what_its_type_says_as_far_as_it_is_read() {
        let reason = |event_type, read: &[_]| is_event(event_type, read).map_err(|why| why.0.into_owned());
        assert_eq!(reason(BID, &[(BID, true), (PERSON, false)]), Ok(()));
        assert_eq!(reason(PERSON, &[(BID, false)]), Ok(()));
        for (kind, name) in
            [(PERSON, "person: "), (AUCTION, "auction: "), (BID, "bid: "), (3, "event_type: ")]
        {
            assert!(reason(kind, &[(kind, false)]).unwrap_err().starts_with(name));
        }
    }
}
