//! What a disk has damaged, on a real broker: it hands out what its disk holds, and does not look at it.

use crate::support::broker::{damage, real};
use crate::support::program::word_count;

#[test]
fn a_flipped_bit_is_an_error_that_names_its_place_and_is_never_counted() {
    for shape in ["-w 1", "-w 2 -n 2"] {
        let topic = real().topic(2);
        // A batch each, in partition 0.
        for line in ["first", "second", "third"] {
            topic.send_to(0, Some(line.as_bytes()));
        }
        topic.send_to(1, Some(b"other"));
        damage(&topic, 0, b"second");
        let program = || word_count(&topic.address, &topic.name).with("--until-end").with(shape);
        let place = format!("{} partition 0 offset 1", topic.name);
        let ended = program().run().expect(1);
        ended.says(&["error: ", &place, "damaged"]);
        // Nothing of it or beyond it was counted.
        for word in ["secone", "second", "third"] {
            assert!(!ended.stdout.iter().any(|row| row.contains(word)), "{:?}", ended.stdout);
        }
        // Where nobody looks, it is.
        let rows = program().with("-X check.crcs=false").rows();
        assert!(rows.iter().any(|row| row.contains("secone")), "{rows:?}");
    }
}
