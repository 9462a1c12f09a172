//! A run's metrics, read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::DEADLINE;
use super::http::Http;

/// The values of `GET /metrics`, by name with labels.
#[derive(Clone, Debug)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Those of a run, now.
    pub fn of(http: &Http) -> Metrics {
        let answer = http.get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?}")))
        };
        Metrics(lines.map(value).collect())
    }

    /// One of them, if it is there.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// One of them.
    #[track_caller]
    pub fn value(&self, name: &str) -> f64 {
        self.get(name).unwrap_or_else(|| panic!("there is no {name} in {:?}", self.0))
    }

    /// The sum of a family.
    pub fn sum(&self, family: &str) -> f64 {
        self.family(family).map(|(_, value)| value).sum()
    }

    /// The sum of those of a family with this label.
    pub fn sum_of(&self, family: &str, label: &str) -> f64 {
        self.family(family).filter(|(name, _)| name.contains(label)).map(|(_, value)| value).sum()
    }

    /// How many there are of a family.
    pub fn count(&self, family: &str) -> usize {
        self.family(family).count()
    }

    fn family(&self, family: &str) -> impl Iterator<Item = (&str, f64)> {
        let begins = format!("{family}{{");
        let all = self.0.iter().filter(move |(name, _)| name.starts_with(&begins));
        all.map(|(name, &value)| (name.as_str(), value))
    }
}

/// Asks until the metrics are as wanted.
#[track_caller]
pub fn until(http: &Http, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let metrics = Metrics::of(http);
        if wanted(&metrics) {
            return metrics;
        }
        assert!(Instant::now() < deadline, "the last metrics are {:?}", metrics.0);
        std::thread::sleep(Duration::from_millis(20));
    }
}
