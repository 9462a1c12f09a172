//! Input of every kind, from a real broker.

use crate::quick_input::{check_corners, check_dead_letters};
use crate::support::broker::real;

#[test]
fn bad_records_become_dead_letters() {
    check_dead_letters(&real().topic(2), "-w 3");
}

#[test]
fn corners_of_unicode_and_of_size() {
    check_corners(&real().topic(4), "-w 2 -n 2");
}
