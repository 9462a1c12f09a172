//! The generator's events as records.

use cutwater::dataflows::Samples;
use cutwater::testing::Sample;
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Auction, Bid, Event, Person};
use serde::Serialize;

use crate::events::{AUCTION, BID, PERSON};

/// Events of a seed, a thousand of them in a second of event time.
pub fn samples(seed: u64) -> Samples {
    Box::new(EventGenerator::new(config(seed, 1_000)).map(|event| ("events", sample(&event))))
}

/// How the generator makes events of a seed, so many of them in a second of event time, which begins with 2026. Of 50, one is a
/// person, three are auctions and 46 are bids; they are up to 100 events out of their order in event time.
///
/// The generator makes an event of its number alone, so a seed is a place in its events. It reckons times with
/// 24 bits: after about 16 million events several come at once, some milliseconds apart.
pub fn config(seed: u64, rate: usize) -> NexmarkConfig {
    NexmarkConfig {
        first_event_id: (seed % SEEDS * APART) as usize,
        base_time: START,
        first_rate: rate,
        next_rate: rate,
        out_of_order_group_size: 100,
        ..NexmarkConfig::default()
    }
}

/// The record of an event: its timestamp is the event time.
///
/// # Panics
/// Never: an event is JSON.
pub fn sample(event: &Event) -> Sample {
    let date_time = event.timestamp();
    let (event_type, person, auction, bid) = match event {
        Event::Person(person) => (PERSON, Some(person), None, None),
        Event::Auction(auction) => (AUCTION, None, Some(auction), None),
        Event::Bid(bid) => (BID, None, None, Some(bid)),
    };
    let value = Value { event_type, date_time, person, auction, bid };
    let value = serde_json::to_vec(&value).expect("an event is JSON");
    Sample { key: None, value: Some(value), timestamp: Some(date_time as i64) }
}

/// The value of a record. What it holds of a kind has the event time once more.
#[derive(Serialize)]
struct Value<'a> {
    event_type: i64,
    date_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<&'a Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auction: Option<&'a Auction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bid: Option<&'a Bid>,
}

/// Events between two seeds: as many as 50 go into, since every 50 of them make a round of kinds.
const APART: u64 = 50_000_000;
/// So that the last one's events have numbers.
const SEEDS: u64 = 1_000_000;
/// 2026-01-01, in milliseconds.
const START: u64 = 1_767_225_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_those_of_their_seed() {
        let of =
            |seed| samples(seed).take(2_000).map(|(_, sample)| sample.value.unwrap()).collect::<Vec<_>>();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        // Whatever the seed.
        assert_eq!(of(u64::MAX).len(), 2_000);
    }

    #[test]
    fn a_record_has_its_event_and_the_time_of_it() {
        let events = || EventGenerator::new(config(0, 1_000));
        let values = events().take(5).map(|event| sample(&event));
        let values: Vec<_> = values.map(|sample| (sample.timestamp, sample.value.unwrap())).collect();
        let mut kinds = Vec::new();
        for (timestamp, value) in values {
            let value: serde_json::Value = serde_json::from_slice(&value).unwrap();
            assert_eq!(value["date_time"].as_i64(), timestamp);
            let event_type = value["event_type"].as_i64().unwrap();
            assert!(value[["person", "auction", "bid"][event_type as usize]].is_object(), "{value}");
            kinds.push(event_type);
        }
        // The first ones out of order are of whatever kind; the numbers of the first hundred are all there.
        let first: Vec<_> = events().take(100).map(|event| event.timestamp()).collect();
        assert!(!first.is_sorted() && first.iter().max() == Some(&(START + 99)), "{first:?}");
        assert!(kinds.contains(&BID));
    }
}
