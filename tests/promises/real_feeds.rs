//! The Kafka feed, read by hand: cuts of a ledger are met to the offset, whatever the topic has become meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cutwater::feed::kafka::OnDataLoss;
use cutwater::state::cut::Topics;
use rdkafka::producer::Producer;

use crate::support::DEADLINE;
use crate::support::broker::real;
use crate::support::committed::settle;
use crate::support::feeds::{Offsets, Reader, check_ledger, cut, random_ledger, starts};
use crate::support::kafka::Topic;

/// Many records in the first partition, few in the second, and transactions in the third: some of them aborted, the
/// last one too, so that its end is a gap.
fn uneven() -> Topic {
    let topic = real().topic(4);
    let writer = topic.writer();
    for (partition, records) in [(0, 20_000), (1, 300)] {
        (0..records).for_each(|number| writer.send(partition, Some(format!("line {number}").as_bytes())));
    }
    writer.flush();
    let writer = topic.transactions();
    for number in 0..31 {
        writer.producer.begin_transaction().expect("a transaction begins");
        (0..number % 7).for_each(|_| writer.send(2, Some(b"in a transaction")));
        if number % 3 == 1 {
            writer.producer.commit_transaction(DEADLINE).expect("it is committed");
        } else {
            writer.send(2, Some(b"never"));
            writer.flush();
            writer.producer.abort_transaction(DEADLINE).expect("it is aborted");
        }
    }
    settle(&topic);
    topic
}

#[test]
fn cuts_are_met_across_gaps() {
    let (first, second) = (uneven(), real().topic(2));
    second.send((0..500).map(|number| number.to_string()));
    let topics = [&first, &second];
    let mut live = Reader::of(&topics, 1).open(None).expect("the topics are there");
    let all = live.read().expect("they can be read");
    let moved = live.moved();
    let (begin, end) = (starts(&moved), cut(&moved));
    let last = all[&(first.name.clone(), 2)].last().expect("some are committed");
    assert!(end[&first.name][&2] > last + 2, "the partition ends with a gap");
    for workers in 1..=3 {
        for epochs in [1, 4, 60] {
            let ledger = random_ledger(epochs as u64, &begin, &end, epochs);
            let mut opened = Reader::of(&topics, workers).open(Some(&begin)).expect("all is there");
            check_ledger(&mut opened, &begin, &ledger, &all);
            // From the middle: what is before is not read.
            let mut middle = begin.clone();
            let (before, after) = ledger.split_at(epochs / 2);
            for (topic, partitions) in before.iter().flatten() {
                middle.get_mut(topic).expect("it is known").extend(partitions);
            }
            let mut opened = Reader::of(&topics, workers).open(Some(&middle)).expect("all is there");
            check_ledger(&mut opened, &middle, after, &all);
        }
    }
}

#[test]
fn cuts_are_met_after_compaction() {
    let topic = real().compacted_topic(1);
    for _ in 0..20 {
        let writer = topic.writer();
        (0..10).for_each(|key| writer.send_keyed(0, &key.to_string(), b"a line"));
        writer.flush();
    }
    let mut live = Reader::of(&[&topic], 1).open(None).expect("the topic is there");
    live.read().expect("it can be read");
    let moved = live.moved();
    let (begin, end) = (starts(&moved), cut(&moved));
    let ledger = random_ledger(1, &begin, &end, 15);
    let deadline = Instant::now() + DEADLINE;
    // The newest records of a partition are never compacted: another has to come after them.
    let writer = topic.writer();
    writer.send_keyed(0, "last", b"a line");
    writer.flush();
    let all = loop {
        let offsets: Vec<i64> = topic.records().iter().map(|record| record.offset).collect();
        if offsets.len() == 11 {
            break Offsets::from([((topic.name.clone(), 0), offsets)]);
        }
        assert!(Instant::now() < deadline, "{} is not compacted", topic.name);
        std::thread::sleep(Duration::from_millis(200));
    };
    let mut opened = Reader::of(&[&topic], 1).open(Some(&begin)).expect("the topic is there");
    check_ledger(&mut opened, &begin, &ledger, &all);
}

#[test]
fn partitions_that_the_ledger_does_not_know_join_after_it() {
    let mut topic = real().topic(1);
    topic.send(["a", "b", "c"]);
    topic.grow(3);
    topic.send(["d", "e", "f"]);
    let name = topic.name.clone();
    let at = |offset| Topics::from([(name.clone(), BTreeMap::from([(0, offset)]))]);
    for (workers, until_end) in [(1, true), (2, true), (1, false)] {
        let mut reader = Reader::of(&[&topic], workers);
        reader.reading.until_end = until_end;
        let mut opened = reader.open(Some(&at(1))).expect("the topic is there");
        let read = opened.read_to(&at(2)).expect("it can be read");
        assert_eq!(read, Offsets::from([((name.clone(), 0), vec![1])]));
        assert_eq!(cut(&opened.moved()), at(2));
        opened.unbound().expect("the others are there");
        // No worker waits for the answer of a broker: they join at a later boundary.
        assert_eq!(starts(&opened.moved()), Topics::new());
        let joined = Topics::from([(name.clone(), BTreeMap::from([(1, 0), (2, 0)]))]);
        assert_eq!(opened.joined(2).expect("they are there"), joined, "where reading of the new ones began");
        if until_end {
            let read = opened.read().expect("it can be read");
            assert_eq!(read.keys().map(|(_, partition)| *partition).collect::<Vec<_>>(), [0, 1, 2]);
        }
    }
}

#[test]
fn what_a_ledger_needs_and_is_gone_is_an_error() {
    let topic = real().topic(2);
    topic.send((0..20).map(|number| number.to_string()));
    let at = |partition, offset| Topics::from([(topic.name.clone(), BTreeMap::from([(partition, offset)]))]);
    let fails = |begin: &Topics, words: &[&str]| {
        let reader = Reader::of(&[&topic], 2);
        let error = format!("{:#}", reader.open(Some(begin)).err().expect("it can't be read"));
        words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
    };
    fails(&at(2, 5), &["partition 2", "offset 5", "the topic has 2 partitions"]);
    fails(&at(1, 11), &["partition 1", "offset 11 was wanted", "ends at 10", "recreated"]);
    let other = Topics::from([("another".to_owned(), BTreeMap::from([(0, 1), (1, 1)]))]);
    fails(&other, &["another partition", "no longer bound"]);
    topic.expire(1, 4);
    fails(&at(1, 3), &["partition 1", "offset 3 was wanted", "first available is 4", "--on-data-loss"]);

    let mut opened = Reader::of(&[&topic], 2).open(Some(&at(1, 4))).expect("the topic is there");
    let error = opened.read_to(&at(1, 11)).expect_err("it ends before").to_string();
    assert!(error.contains("partition 1") && error.contains("offset 11") && error.contains("ends at 10"));
    let error = opened.read_to(&at(0, 1)).expect_err("nobody knows where to begin").to_string();
    assert!(error.contains("partition 0"), "{error}");
}

#[test]
fn expired_records_are_a_gap_in_the_ledger_where_that_is_allowed() {
    let topic = real().topic(1);
    topic.send((0..20).map(|number| number.to_string()));
    topic.expire(0, 10);
    let at = |offset| Topics::from([(topic.name.clone(), BTreeMap::from([(0, offset)]))]);
    let mut reader = Reader::of(&[&topic], 1);
    reader.reading.on_data_loss = OnDataLoss::Continue;
    let mut opened = reader.open(Some(&at(2))).expect("what is gone may be");
    let all = Offsets::from([((topic.name.clone(), 0), (10..20).collect())]);
    check_ledger(&mut opened, &at(2), &[at(5), at(10), at(12), at(12)], &all);
}

#[test]
fn offsets_are_committed_by_the_feed_or_not() {
    let topic = real().topic(1);
    topic.send(["a", "b"]);
    for commit in [true, false] {
        let mut reader = Reader::of(&[&topic], 1);
        reader.reading.commits = commit;
        let mut opened = reader.open(None).expect("the topic is there");
        opened.read().expect("it can be read");
        let moved = opened.moved();
        opened.finish(&moved);
        let expected = if commit { BTreeMap::from([(0, 2)]) } else { BTreeMap::new() };
        assert_eq!(topic.committed(&reader.reading.group), expected);
    }
}
