//! Durations, as options have them.

use std::time::Duration;

/// Reads a duration: `90s`, `1h 30m`, `0`. Times of rows are in microseconds, so it must be a whole number of them.
///
/// # Errors
/// If it is no duration, too fine, or too long for a timestamp.
pub fn parse(text: &str) -> Result<Duration, String> {
    let duration = read(text)?;
    if duration.subsec_nanos() % 1_000 != 0 {
        return Err("it is finer than a microsecond".to_owned());
    }
    match i64::try_from(duration.as_micros()) {
        Ok(_) => Ok(duration),
        Err(_) => Err("it is longer than 292,000 years".to_owned()),
    }
}

/// Reads a duration of any length: a number with a unit, or several.
///
/// # Errors
/// If it is no duration: that says what one looks like.
pub fn read(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a duration is a number with a unit, such as 90s or 1h 30m"))
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
}
