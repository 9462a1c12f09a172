//! An alarm with a memory: it is raised above one level, cleared below another, and clears by itself.

use cutwater::prelude::*;

/// Hosts whose load was above a level, until it is below another one, or nothing is heard of them
#[derive(clap::Args, Clone, Debug)]
pub struct Alarms {
    /// Raise above this load
    #[arg(long, default_value_t = 90)]
    pub raise_above: i64,
    /// Clear below this load
    #[arg(long, default_value_t = 70)]
    pub clear_below: i64,
    /// Clear so many seconds after the last report of the host
    #[arg(long, default_value_t = 300)]
    pub hold: i64,
}

/// What a host says of itself.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Report {
    host: Text,
    at: Timestamp,
    load: i64,
}

impl Dataflow for Alarms {
    const NAME: &'static str = "outside-alarms";

    fn build(&self, flow: &Flow<'_>) {
        let reports = flow.input("reports").event_time("at").rows::<Report>();
        let loads = reports.map::<(Text, (Timestamp, i64))>(|report| (report.host, (report.at, report.load)));
        let alarms = loads.stateful_with("alarms", self.clone());
        let rows = alarms.map::<(Text, Timestamp)>(|&(host, (since, _last))| (host, since));
        rows.output("alarms", &["host"], &["since"]);
    }
}

/// The state of a host whose alarm stands: since when, and when it was last heard of.
impl KeyedState for Alarms {
    type Key = Text;
    type Update = (Timestamp, i64);
    type State = (Timestamp, Timestamp);

    fn update(
        &mut self,
        _host: &str,
        state: Group<'_, Self::State>,
        reports: Group<'_, Self::Update>,
        now: Now,
        out: &mut Emit<'_, Self::State>,
    ) {
        let mut alarm = state.first();
        for ((at, load), _) in reports {
            alarm = match alarm {
                Some(_) if load < self.clear_below => None,
                None if load > self.raise_above => Some((at, at)),
                Some((since, last)) => Some((since, last.max(at))),
                None => None,
            };
        }
        let is_over = |last| now.watermark.is_some_and(|now| now >= self.until(last));
        out.extend(alarm.filter(|&(_, last)| !is_over(last)));
    }

    fn due(&self, _host: &str, state: Group<'_, Self::State>) -> Due {
        state.first().map_or(Due::never(), |(_, last)| Due::at_watermark(self.until(last)))
    }
}

impl Alarms {
    /// How long an alarm stands of which this is the last report.
    fn until(&self, last: Timestamp) -> Timestamp {
        Timestamp::from_micros(last.micros() + self.hold * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::Test;

    use super::*;
    use crate::logfmt::Logfmt;

    #[test]
    fn alarms_have_a_memory_and_clear_by_load_or_by_time() {
        let report = |time: &str, host: &str, load: i64| {
            ("reports", format!("at=2024-05-01T{time}Z host={host} load={load}").into_bytes())
        };
        let outcome = Test::of(Alarms { raise_above: 90, clear_below: 70, hold: 300 })
            .format("reports", Binding::new(Logfmt))
            .epoch([report("10:00:00", "a", 91), report("10:00:00", "b", 95), report("10:00:00", "c", 80)])
            // Between the levels: who has an alarm keeps it, also over a restart, and who has none gets none.
            .restart()
            .epoch([report("10:01:00", "a", 80), report("10:01:00", "c", 80)])
            .epoch([report("10:02:00", "a", 69)])
            .restart()
            .epoch([report("10:04:59", "c", 80)])
            // Nothing was heard of b for five minutes.
            .epoch([report("10:05:00", "c", 80)])
            .check();
        let row = |host: &str| format!(r#"{{"host":"{host}","since":"2024-05-01T10:00:00Z"}}"#);
        assert_eq!(outcome.changes_of("alarms", 1), [format!("+1 {}", row("a")), format!("+1 {}", row("b"))]);
        assert!(outcome.changes_of("alarms", 2).is_empty());
        assert_eq!(outcome.changes_of("alarms", 3), [format!("-1 {}", row("a"))]);
        assert!(outcome.changes_of("alarms", 4).is_empty());
        assert_eq!(outcome.changes_of("alarms", 5), [format!("-1 {}", row("b"))]);
    }
}
