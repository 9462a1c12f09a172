//! Points in time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::order::{self, Damaged, Place};
use crate::row::Row;
use crate::scalar::scalar;
use crate::schema::Kind;

/// The first and the last time that RFC 3339 can show: 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z.
const FIRST: i64 = -62_167_219_200_000_000;
const LAST: i64 = 253_402_300_799_999_999;

/// A point in time: microseconds since the Unix epoch, UTC, without leap seconds. Shown and read as RFC 3339.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// So many microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    /// So many milliseconds after the Unix epoch; `None` where RFC 3339 can't show that.
    pub const fn from_millis(millis: i64) -> Option<Self> {
        match millis.checked_mul(1000) {
            Some(micros) => Timestamp(micros).shown(),
            None => None,
        }
    }

    /// The same, if RFC 3339 can show it: from the year 0 to 9999. What is read is to be written, so formats take no other.
    pub const fn shown(self) -> Option<Self> {
        if FIRST <= self.0 && self.0 <= LAST { Some(self) } else { None }
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with as many digits of a second as it takes (0, 3 or 6). Years that RFC 3339 can't show, those
    /// before 0 and after 9999, have a sign, as ISO 8601 has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{} µs", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = String;
    /// Reads RFC 3339; of finer digits than microseconds, the rest is cut off.
    fn from_str(text: &str) -> Result<Self, String> {
        match DateTime::parse_from_rfc3339(text) {
            // In UTC, it may be in another year.
            Ok(time) => Timestamp(time.timestamp_micros())
                .shown()
                .ok_or_else(|| format!("{text:?} is not in the years from 0 to 9999 of UTC")),
            Err(error) => Err(format!("{text:?} is not an RFC 3339 time: {error}")),
        }
    }
}

scalar!(
    Timestamp,
    Kind::Timestamp,
    |row: Timestamp, out| order::write_i64(row.0, out),
    |bytes: &mut &[u8]| order::read_i64(bytes).map(Timestamp)
);
crate::serialize_as_encoding!([] Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        for (micros, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000_123_000, "2023-11-14T22:13:20.123Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_string(), shown);
            assert_eq!(shown.parse(), Ok(Timestamp::from_micros(micros)));
        }
        assert_eq!("2023-11-14T23:13:20+01:00".parse(), Ok(Timestamp::from_micros(1_700_000_000_000_000)));
        for wrong in ["", "2023-11-14", "2023-11-14T22:13:20", "yesterday", "2023-13-14T22:13:20Z"] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
        }
        // Any number of microseconds is shown without a panic.
        for micros in [i64::MIN, i64::MAX] {
            assert!(!Timestamp::from_micros(micros).to_string().is_empty());
        }
        assert_eq!(Timestamp::from_millis(i64::MAX), None);
    }

    #[test]
    fn what_rfc_3339_can_not_show_is_not_read() {
        for (micros, shown) in [(FIRST, "0000-01-01T00:00:00Z"), (LAST, "9999-12-31T23:59:59.999999Z")] {
            assert_eq!(Timestamp(micros).shown().unwrap().to_string(), shown);
        }
        for (millis, is_read) in
            [(FIRST / 1000, true), (FIRST / 1000 - 1, false), (LAST / 1000, true), (LAST / 1000 + 1, false)]
        {
            assert_eq!(Timestamp::from_millis(millis).is_some(), is_read, "{millis}");
        }
        assert!("0000-01-01T00:00:00+01:00".parse::<Timestamp>().is_err());
        assert!("9999-12-31T23:59:59-01:00".parse::<Timestamp>().is_err());
    }
}
