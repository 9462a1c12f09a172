//! Spans of event time.

use std::time::Duration;

use crate::rows::Timestamp;

/// A span in microseconds; one that is longer than 290,000 years is that long.
pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// So many microseconds after a time, or the last time there is.
pub(crate) fn after(time: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(time.micros().saturating_add(micros))
}
