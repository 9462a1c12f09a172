//! Durations, as options have them.

use std::time::Duration;

use crate::rows::Timestamp;

/// Reads a duration: `90s`, `1h 30m`, `0`. Times of rows are in microseconds, so it must be a whole number of them.
///
/// # Errors
/// If it is no duration, too fine, or too long for a timestamp.
pub fn parse(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.subsec_nanos() % 1_000 != 0 {
        return Err("it is finer than a microsecond".to_owned());
    }
    match i64::try_from(duration.as_micros()) {
        Ok(_) => Ok(duration),
        Err(_) => Err("it is longer than 292,000 years".to_owned()),
    }
}

/// Where the window begins that an event is in: windows are `[start, start + size)` from the Unix epoch. A size of 0 means
/// one window for all time, which begins nowhere.
pub(crate) fn window(at: Timestamp, size: Duration) -> Option<Timestamp> {
    let size = i64::try_from(size.as_micros()).unwrap_or(i64::MAX);
    if size == 0 {
        return None;
    }
    Some(Timestamp::from_micros(at.micros().saturating_sub(at.micros().rem_euclid(size))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_microseconds() {
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        for wrong in ["", "1", "-1s", "1ns", "300000y", "soon"] {
            assert!(parse(wrong).is_err(), "{wrong}: {:?}", parse(wrong));
        }
    }

    #[test]
    fn a_window_begins_at_or_before_the_event() {
        let start = |micros, size| {
            window(Timestamp::from_micros(micros), Duration::from_micros(size)).map(Timestamp::micros)
        };
        assert_eq!([start(0, 10), start(9, 10), start(10, 10)], [Some(0), Some(0), Some(10)]);
        assert_eq!([start(-1, 10), start(-10, 10)], [Some(-10), Some(-10)]);
        assert_eq!(start(5, 0), None);
        assert_eq!(start(i64::MIN, 7), Some(i64::MIN));
    }
}
