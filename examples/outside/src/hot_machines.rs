//! The dataflow `hot-machines`: machines that were too hot several times in a row.

use cutwater::prelude::*;

use crate::streak::Streak;

/// Machines that were too hot several times in a row
///
/// Input readings: {machine, at, celsius}. Output hot has a row for each machine whose last readings were all above the limit.
#[derive(clap::Args, Clone, Debug)]
pub struct HotMachines {
    /// What is too hot is above this
    #[arg(long, value_name = "CELSIUS", default_value_t = 80)]
    pub limit: i64,
    /// How many readings in a row make a row
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub in_a_row: i64,
}

/// What a machine says.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Reading {
    machine: Text,
    at: Timestamp,
    celsius: i64,
}

impl Dataflow for HotMachines {
    const NAME: &'static str = "hot-machines";

    fn build(&self, flow: &Flow<'_>) {
        let in_a_row = self.in_a_row;
        flow.input("readings")
            .event_time("at")
            .rows::<Reading>()
            .map::<(Text, (Timestamp, i64))>(|reading| (reading.machine, (reading.at, reading.celsius)))
            .streak("streaks", self.limit)
            .filter(move |&(_machine, streak)| streak >= in_a_row)
            .output("hot", &["machine"], &["readings"]);
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::{Test, lines, records};

    use super::*;

    const READINGS: &str = include_str!("../fixtures/hot-machines/readings.jsonl");
    const HOT: &str = include_str!("../fixtures/hot-machines/hot.jsonl");

    #[test]
    fn machines_are_hot_after_some_readings_in_a_row() {
        let readings = records(READINGS).into_iter().map(|reading| ("readings", reading));
        let hotter = r#"{"machine":"press","at":"2026-05-01T10:04:00Z","celsius":99}"#;
        let cold = r#"{"machine":"press","at":"2026-05-01T10:05:00Z","celsius":20}"#;
        let outcome = Test::of(HotMachines { limit: 80, in_a_row: 3 })
            .epoch(readings)
            .restart()
            .epoch([("readings", hotter)])
            .epoch([("readings", cold)])
            .check();
        let hot: Vec<String> = lines(HOT).iter().map(|row| format!("+1 {row}")).collect();
        assert_eq!(outcome.changes_of("hot", 1), hot);
        let (four, five) = (r#"{"machine":"press","readings":4}"#, r#"{"machine":"press","readings":5}"#);
        assert_eq!(outcome.changes_of("hot", 2), [format!("-1 {four}"), format!("+1 {five}")]);
        assert_eq!(outcome.changes_of("hot", 3), [format!("-1 {five}")]);
    }
}
