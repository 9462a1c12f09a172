//! Queries of NEXMark as dataflows, written against Cutwater as a stranger would.
//!
//! - [`events`]: what is in the topic, and how a query picks its kind; [`samples`]: the generator's events as records
//! - [`stamped`]: an operator of this crate's own, for processing time
//! - [`q3`] to [`q20`]: a query a file. Its SQL is in `queries`, and what was settled in `README.md`.
//!
//! `main.rs` is the program: `cargo run --release -p cutwater-nexmark -- list`.

pub mod events;
pub mod q12;
pub mod q18;
pub mod q19;
pub mod q20;
pub mod q3;
pub mod q4;
pub mod q5;
pub mod q7;
pub mod q8;
pub mod q9;
pub mod samples;
pub mod stamped;

use std::time::Duration;

use cutwater::dataflows::Entry;
use cutwater::prelude::*;

/// The queries.
pub fn registry() -> Vec<Entry> {
    vec![
        entry::<q3::Q3>().samples(samples::samples),
        entry::<q4::Q4>().samples(samples::samples),
        entry::<q5::Q5>().samples(samples::samples),
        entry::<q7::Q7>().samples(samples::samples),
        entry::<q8::Q8>().samples(samples::samples),
        entry::<q9::Q9>().samples(samples::samples),
        entry::<q12::Q12>().samples(samples::samples).of_processing_time(),
        entry::<q18::Q18>().samples(samples::samples),
        entry::<q19::Q19>().samples(samples::samples),
        entry::<q20::Q20>().samples(samples::samples),
    ]
}

/// The windows of q7, q8 and q12, and how long those of q5 are.
const WINDOW: Duration = Duration::from_secs(10);
