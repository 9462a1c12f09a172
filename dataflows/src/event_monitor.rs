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
/// However late an event comes, it is taken as if it had come in time: alarms do not depend on how
/// events come in epochs. For that, all events of a source and rule are held, for ever, and gone
/// through whenever one comes. With --lateness only those are held that can still change something:
/// the events of the last window and lateness. Give it where events go on and on.
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
        rows.unique_by(2).with_offsets().output("alarms", &["rule", "source"], &["raised", "since", "count"]);
    }
}

/// Rule and source, whether it is raised, since when, and how many events there are.
type Alarm = (Text, Text, bool, Timestamp, i64);

/// The levels of the rule of that name.
fn levels(rules: &Rules, name: &str, lateness: Option<Duration>) -> Levels {
    let rule = rules.iter().find(|rule| rule.name == name).expect("events are given names of rules");
    Levels {
        window: rule.window,
        raise_above: rule.raise_above,
        clear_below: rule.clear_below,
        hold: rule.hold,
        // Without a lateness all late events correct, so nothing is ever settled.
        lateness: lateness.unwrap_or(Duration::MAX),
    }
}

#[cfg(test)]
mod tests;
