//! Which rates are offered.

use std::str::FromStr;

/// What the user asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Rates {
    /// Doubled up to the highest that is sustained, then half of that.
    Auto,
    /// None.
    None,
    /// These, in records a second.
    These(Vec<f64>),
}

impl FromStr for Rates {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let rate = |text: &str| match text.trim().replace('_', "").parse::<f64>() {
            // As many as are offered in the shortest time, and fewer than anything could offer.
            Ok(rate) if (1.0..=1e8).contains(&rate) => Ok(rate),
            _ => Err(format!(
                "{text:?} is not a rate: expected auto, none, or records a second from 1 to 100000000"
            )),
        };
        match text {
            "auto" => Ok(Rates::Auto),
            "none" => Ok(Rates::None),
            list => list.split(',').map(rate).collect::<Result<_, _>>().map(Rates::These),
        }
    }
}

/// Finds the highest rate that is sustained: doubles until one is not, and tries once more between the two.
pub(super) struct Search {
    next: f64,
    /// The highest that was sustained.
    sustained: Option<f64>,
    /// The lowest that was not.
    failed: Option<f64>,
    tried: usize,
}

/// Rates after which a search ends in any case.
const MOST: usize = 16;

impl Search {
    /// A search that begins with this rate.
    pub(super) fn from(rate: f64) -> Self {
        Search { next: rate, sustained: None, failed: None, tried: 0 }
    }

    /// The rate to offer next.
    pub(super) fn next(&self) -> Option<f64> {
        if self.tried == MOST {
            return None;
        }
        match (self.sustained, self.failed) {
            // What lies between them is less than what lies between two runs.
            (Some(low), Some(high)) if high / low <= 1.5 => None,
            _ => Some(self.next),
        }
    }

    /// How the rate that was offered last went.
    pub(super) fn went(&mut self, sustained: bool) {
        self.tried += 1;
        if sustained {
            self.sustained = Some(self.next);
        } else {
            self.failed = Some(self.next);
        }
        self.next = match (self.sustained, self.failed) {
            (Some(low), None) => low * 2.0,
            (None, Some(high)) => high / 2.0,
            (Some(low), Some(high)) => (low + high) / 2.0,
            (None, None) => self.next,
        };
    }

    /// The highest rate that was sustained.
    pub(super) fn highest(&self) -> Option<f64> {
        self.sustained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that are offered where `capacity` can be sustained, and the highest found.
    fn search(start: f64, capacity: f64) -> (Vec<f64>, Option<f64>) {
        let mut search = Search::from(start);
        let mut offered = Vec::new();
        while let Some(rate) = search.next() {
            offered.push(rate);
            search.went(rate <= capacity);
        }
        (offered, search.highest())
    }

    #[test]
    fn rates_double_until_one_is_too_much() {
        assert_eq!(search(100.0, 350.0), (vec![100.0, 200.0, 400.0, 300.0], Some(300.0)));
        assert_eq!(search(100.0, 250.0), (vec![100.0, 200.0, 400.0, 300.0], Some(200.0)));
    }

    #[test]
    fn a_start_that_is_too_much_is_halved() {
        assert_eq!(search(100.0, 60.0), (vec![100.0, 50.0, 75.0], Some(50.0)));
    }

    #[test]
    fn a_search_ends() {
        assert_eq!(search(100.0, f64::MAX).0.len(), MOST);
        assert_eq!(search(100.0, 0.0), (search(100.0, 0.0).0, None));
    }

    #[test]
    fn rates_are_read() {
        assert_eq!("auto".parse(), Ok(Rates::Auto));
        assert_eq!("none".parse(), Ok(Rates::None));
        assert_eq!("1000,2_000".parse(), Ok(Rates::These(vec![1000.0, 2000.0])));
        for wrong in ["", "fast", "0", "1000,", "-1", "inf", "NaN"] {
            assert!(wrong.parse::<Rates>().is_err(), "{wrong}");
        }
    }
}
