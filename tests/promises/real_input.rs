//! Input of every kind, from a real broker.

use crate::quick_input::{check_corners, check_dead_letters};
use crate::support::broker::real;
use crate::support::committed::letters;
use crate::support::program::word_count;
use crate::support::rows::{Counts, assert_counts, finals};
use crate::support::text::noise;

#[test]
fn bad_records_become_dead_letters() {
    check_dead_letters(&real().topic(2), "-w 3");
}

#[test]
fn corners_of_unicode_and_of_size() {
    check_corners(&real().topic(4), "-w 2 -n 2");
}

#[test]
fn dead_letters_in_a_topic_are_the_records_that_they_were_and_never_end_the_run() {
    let topic = real().topic(1);
    // As large as the topic takes, and not text.
    let mut large = noise(1_000_000).into_bytes();
    large[10] = 0xff;
    let writer = topic.writer();
    writer.send(0, Some(b"good"));
    writer.send(0, None);
    writer.send_keyed(0, "key", &large);
    writer.flush();
    for (dead, most) in [(real().topic(1), usize::MAX), (real().narrow_topic(5000), 5000)] {
        let to = format!("kafka:{}", dead.name);
        let program = word_count(&topic.address, &topic.name).with("--until-end --emit final");
        let ended = program.args(["--dead-letter", &to]).run().expect(0);
        assert_counts(&finals(&ended.stdout), &Counts::from([("good".to_owned(), 1)]));
        let letters = letters(&dead);
        assert_eq!(letters.len(), 2);
        for (letter, offset) in letters.iter().zip(1..) {
            assert_eq!((&letter.topic, letter.partition, letter.offset), (&topic.name, 0, offset));
        }
        let (null, cut) = (&letters[0], &letters[1]);
        assert_eq!((null.key.as_deref(), null.value.as_deref()), (None, None));
        assert!(null.message.starts_with("the value is null"), "{}", null.message);
        assert_eq!(cut.key.as_deref(), Some(b"key".as_slice()));
        let value = cut.value.as_deref().expect("a value");
        assert_eq!(value, &large[..value.len()]);
        assert!(cut.message.starts_with("the value is not UTF-8"), "{}", cut.message);
        if most > large.len() {
            assert_eq!(value.len(), large.len());
        } else {
            assert!((most / 2..most).contains(&value.len()), "{}", value.len());
            let said = format!("only the first {} of the value's 1000000 bytes", value.len());
            assert!(cut.message.ends_with(&said), "{}", cut.message);
        }
    }
}
