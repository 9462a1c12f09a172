//! The Kafka feed, read by hand: cuts of a ledger are met to the offset.

use crate::support::broker::mock;
use crate::support::feeds::{Reader, check_ledger, cut, random_ledger, starts};

#[test]
fn records_beyond_a_bound_are_kept_for_later() {
    let topic = mock().topic(4);
    let writer = topic.writer();
    // More in one partition than is stashed before it is paused, and nothing in another.
    for (partition, records) in [(0, 20_000), (1, 700), (2, 3)] {
        (0..records).for_each(|number| writer.send(partition, Some(format!("line {number}").as_bytes())));
    }
    writer.flush();
    let mut live = Reader::of(&[&topic], 1).open(None).expect("the topic is there");
    let all = live.read().expect("it can be read");
    assert_eq!(all.values().map(Vec::len).sum::<usize>(), 20_703);
    let moved = live.moved();
    for workers in 1..=3 {
        for epochs in [1, 3, 50] {
            let ledger = random_ledger(epochs as u64, &starts(&moved), &cut(&moved), epochs);
            let mut opened =
                Reader::of(&[&topic], workers).open(Some(&starts(&moved))).expect("all is there");
            check_ledger(&mut opened, &starts(&moved), &ledger, &all);
        }
    }
}
