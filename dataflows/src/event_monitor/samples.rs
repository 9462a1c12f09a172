//! Events to try the alarms with.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::dataflow::Samples;
use crate::testing::Sample;

/// Events of 200 sources, about 50 a second, up to two seconds out of order. Now and then a source has a burst of failed
/// logins, or of full disks. One in 1,000 is an hour late, and one can't be read.
pub fn samples(seed: u64) -> Samples {
    let mut random = StdRng::seed_from_u64(seed);
    let mut millis = START;
    let mut burst = (0, 0, "");
    let event = move || {
        millis += random.random_range(0..40);
        if random.random_range(0..400) == 0 {
            let kind = ["login-failed", "disk-full"][random.random_range(0..2)];
            burst = (random.random_range(10..60), random.random_range(0..SOURCES), kind);
        }
        let (source, kind) = if burst.0 > 0 && random.random_range(0..3) == 0 {
            burst.0 -= 1;
            (burst.1, burst.2)
        } else {
            (random.random_range(0..SOURCES), KINDS[random.random_range(0..KINDS.len())])
        };
        let at = match random.random_range(0..1_000) {
            0 => "soon".to_owned(),
            1 => (millis - HOUR).to_string(),
            _ => (millis - random.random_range(0..2_000)).to_string(),
        };
        let at = if at == "soon" { format!("{at:?}") } else { at };
        let value = format!(r#"{{"source":"s{source:03}","kind":"{kind}","at":{at}}}"#);
        Some(("events", Sample { timestamp: Some(millis), ..Sample::from(value.into_bytes()) }))
    };
    Box::new(std::iter::from_fn(event))
}

const SOURCES: u32 = 200;
const KINDS: [&str; 5] = ["login-ok", "login-failed", "disk-full", "timeout", "tick"];
/// In milliseconds.
const HOUR: i64 = 3_600_000;
/// The day on which the samples begin: 2026-01-01, in milliseconds.
const START: i64 = 1_767_225_600_000;
