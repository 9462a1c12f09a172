//! A session that ends by itself: when the watermark has passed its gap.

use cutwater::prelude::*;

/// Views of a user of which each comes soon after the one before
#[derive(clap::Args, Clone, Debug)]
pub struct Sessions {
    /// A session ends when so many seconds have no view
    #[arg(long, default_value_t = 1800)]
    pub gap: i64,
}

/// A session: its first and its last view, how many there are, and whether it has ended.
type Session = (Timestamp, Timestamp, i64, bool);

/// A view.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct View {
    user: Text,
    at: Timestamp,
}

impl Dataflow for Sessions {
    const NAME: &'static str = "outside-sessions";

    fn build(&self, flow: &Flow<'_>) {
        let views = flow.input("views").event_time("at").rows::<View>();
        let views = views.map::<(Text, Timestamp)>(|view| (view.user, view.at));
        let sessions = views.stateful_with("sessions", self.clone());
        sessions.output("sessions", &["user", "start"], &["end", "views", "ended"]);
    }
}

/// The state of a user: all sessions. A late view may join two of them.
impl KeyedState for Sessions {
    type Key = Text;
    type Update = Timestamp;
    type State = Session;

    fn update(
        &mut self,
        _user: &str,
        state: Group<'_, Session>,
        views: Group<'_, Timestamp>,
        now: Now,
        out: &mut Emit<'_, Session>,
    ) {
        let new = views.iter().map(|(at, times)| (at, at, times, false));
        let mut pieces: Vec<Session> = state.iter().map(|(session, _)| session).chain(new).collect();
        pieces.sort();
        let mut sessions: Vec<Session> = Vec::new();
        for (start, end, views, _) in pieces {
            match sessions.last_mut().filter(|last| start < self.over(last.1)) {
                Some(last) => *last = (last.0, last.1.max(end), last.2 + views, false),
                None => sessions.push((start, end, views, false)),
            }
        }
        for (start, end, views, _) in sessions {
            out.push((start, end, views, now.watermark.is_some_and(|now| now >= self.over(end))));
        }
    }

    fn due(&self, _user: &str, state: Group<'_, Session>) -> Due {
        let open = state.iter().find(|&((_, _, _, ended), _)| !ended);
        open.map_or(Due::never(), |((_, end, _, _), _)| Due::at_watermark(self.over(end)))
    }
}

impl Sessions {
    /// From when on a view no longer belongs to a session of which this is the last one.
    fn over(&self, end: Timestamp) -> Timestamp {
        Timestamp::from_micros(end.micros() + self.gap * 1_000_000 + 1)
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::Test;

    use super::*;
    use crate::logfmt::Logfmt;

    #[test]
    fn sessions_end_by_the_watermark_and_late_views_join_them() {
        let view =
            |time: &str, user: &str| ("views", format!("at=2024-05-01T10:{time}Z user={user}").into_bytes());
        let outcome = Test::of(Sessions { gap: 600 })
            .format("views", Binding::new(Logfmt))
            .epoch([view("00:00", "ann"), view("05:00", "ann"), view("05:00", "bob")])
            .restart()
            // Ten minutes after her last view, another one would still belong to it.
            .epoch([view("15:00", "bob")])
            .epoch([view("15:01", "bob")])
            .epoch([view("30:00", "ann")])
            .restart()
            .epoch([view("14:00", "ann"), view("22:00", "ann")])
            .check();
        let row = |user: &str, times: [&str; 2], views: i64, ended: bool| {
            let [start, end] = times.map(|time| format!("2024-05-01T10:{time}Z"));
            format!(r#"{{"user":"{user}","start":"{start}","end":"{end}","views":{views},"ended":{ended}}}"#)
        };
        assert_eq!(outcome.changes_of("sessions", 1).len(), 2);
        assert_eq!(outcome.changes_of("sessions", 2).len(), 2, "only bob's");
        let ended = outcome.changes_of("sessions", 3);
        assert!(ended.contains(&format!("+1 {}", row("ann", ["00:00", "05:00"], 2, true))), "{ended:?}");
        assert_eq!(
            outcome.rows("sessions"),
            [row("ann", ["00:00", "30:00"], 5, false), row("bob", ["05:00", "15:01"], 3, true)]
        );
    }
}
