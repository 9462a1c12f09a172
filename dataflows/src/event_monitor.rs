//! Alarms over events: raised when a source has too many of a kind, cleared when it has few.

mod rules;
mod samples;

use std::time::Duration;

use crate::prelude::*;

pub use rules::{AlarmRule, Rules};
pub use samples::samples;

/// Watches events, and raises an alarm where a source has too many of a kind
///
/// Input events: {source, kind, at}; other fields are ignored. The rules are a file in TOML:
///
///   [[rule]]
///   name = "logins"
///   kind = "login-failed|login-denied" # a regular expression that matches the whole kind
///   window = "5m"                      # for how long an event of a source counts
///   raise-above = 10                   # raised when there are more than that,
///   hold = "30s"                       # and have been for so long (0s if nothing is said)
///   clear-below = 3                    # cleared when there are fewer; raise-above + 1 without it
///
/// Output alarms has a row for each rule and source whose alarm stands: raised is true, since is
/// the time from which on there were too many events, and count is how many are in the window
/// that ends at the watermark. With --emit changes, a raise is a row with diff 1, a clear is one
/// with diff -1, and where the count has moved there are both in one epoch.
///
/// An event may be late by as much as the rule's window, or as --lateness says: it is taken as if
/// it had come in time. One that comes later raises and clears nothing in hindsight.
///
/// Example: cutwater run event-monitor --rules rules.toml -t events -o webhook:https://host/alarms
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
// The rules stand as they are typed: the help shows the same text.
#[allow(rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links)]
pub struct EventMonitor {
    /// The file of rules
    #[arg(long, value_name = "FILE", value_parser = Rules::read)]
    pub rules: Rules,
}

/// What happened.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event {
    source: Text,
    kind: Text,
    at: Timestamp,
}

impl Dataflow for EventMonitor {
    const NAME: &'static str = "event-monitor";

    fn build(&self, flow: &Flow<'_>) {
        let lateness = flow.lateness();
        let events = flow.input("events").event_time("at").rows::<Event>();
        let rules = self.rules.clone();
        let watched = events.flat_map::<((Text, Text), Timestamp)>(move |event, out| {
            let matching = rules.iter().filter(|rule| rule.kind.is_match(event.kind));
            matching.for_each(|rule| out.push(((&rule.name, event.source), event.at)));
        });
        let rules = self.rules.clone();
        let alarms = watched.hysteresis("alarms", move |(name, _source)| levels(&rules, name, lateness));
        let rows =
            alarms.map::<Alarm>(|&((rule, source), (since, count))| (rule, source, true, since, count));
        rows.unique_by(2).output("alarms", &["rule", "source"], &["raised", "since", "count"]);
    }
}

/// Rule and source, whether it is raised, since when, and how many events there are.
type Alarm = (Text, Text, bool, Timestamp, i64);

/// The levels of the rule of that name. An event may come as late as any may, or is in the window.
fn levels(rules: &Rules, name: &str, lateness: Option<Duration>) -> Levels {
    let rule = rules.iter().find(|rule| rule.name == name).expect("events are given names of rules");
    Levels {
        window: rule.window,
        raise_above: rule.raise_above,
        clear_below: rule.clear_below,
        hold: rule.hold,
        lateness: lateness.unwrap_or(rule.window),
    }
}

#[cfg(test)]
mod tests;
