//! Sessions: runs of a key's events with no long gap between them.

use std::borrow::Cow;
use std::time::Duration;

use crate::collection::Collection;
use crate::flat::FlatBuilder;
use crate::group::Encoded;
use crate::operators::keyed_state::Step;
use crate::operators::map::{ENCODED, Emit};
use crate::operators::micros::micros;
use crate::operators::state_operator::Asks;
use crate::operators::stateful::stateful;
use crate::rows::{Place, Row, Schema, Timestamp};

/// Sessions: runs of a key's events with no long gap between them.
pub trait Sessions<'s, K: Row> {
    /// For each key its sessions: events of which each comes at most `gap` after the one before, as the times of the first and
    /// the last one and how many there are. An event that comes late may join two sessions, one that is withdrawn may part
    /// one: the answer is that of the events that are there. One that is there less than once counts for nothing.
    ///
    /// The times of a key's events survive a restart, under `name`, each once with its number. With a
    /// [lateness](crate::Flow::lateness), those of a session are dropped once no event can reach it any more, when its end is
    /// further than the gap before the watermark less the lateness; the session stays published. An event that is withdrawn
    /// from before the watermark less the lateness stays as well: it is too late for that.
    ///
    /// An epoch costs, for each key with events in it, a walk through the sessions that these touch, and a glance at each other
    /// time that is held of the key. A time costs its bytes, the key's and 24 more.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// use std::time::Duration;
    /// /// Visits of each user: first view, last view, views.
    /// fn visits<'s>(views: Collection<'s, (Text, Timestamp)>) -> Collection<'s, (Text, (Timestamp, Timestamp, i64))> {
    ///     views.sessions("visits", Duration::from_secs(30 * 60))
    /// }
    /// # use cutwater_dataflows::testing::{Given, Test, given};
    /// # let test = Test::building("visits", |flow| {
    /// #     visits(flow.input("views").decode(Given::new())).output("visits", &["user", "start"], &["end", "views"]);
    /// # });
    /// # let view = |minute: i64| ("views", given(&(Text::from("ann"), Timestamp::from_micros(minute * 60_000_000)), 1));
    /// # let outcome = test.epoch([view(0), view(50)]).epoch([view(25)]).check();
    /// # assert_eq!(outcome.rows("visits"), [
    /// #     r#"{"user":"ann","start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:50:00Z","views":3}"#
    /// # ]);
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn sessions(self, name: &str, gap: Duration) -> Collection<'s, (K, (Timestamp, Timestamp, i64))>;
}

/// A session: its first and its last time, and how many events it has.
type Session = (Timestamp, Timestamp, i64);

impl<'s, K: Row> Sessions<'s, K> for Collection<'s, (K, Timestamp)> {
    #[track_caller]
    fn sessions(self, name: &str, gap: Duration) -> Collection<'s, (K, Session)> {
        let asks = Asks { timed: false, retires: true };
        let sessions =
            stateful::<K, Timestamp, Timestamp, Session>(self, name, OfTimes { gap: micros(gap) }, asks);
        // A key has one session that begins at a time.
        sessions.unique_by(Schema::of::<K>().columns.len() + 1)
    }
}

/// Sessions of the times of a key.
struct OfTimes {
    gap: i64,
}

impl Step for OfTimes {
    const IS_ROWS: bool = true;

    fn derive(
        &mut self,
        key: &[u8],
        before: &[Encoded<'_>],
        after: &[Encoded<'_>],
        updates: &[Encoded<'_>],
        out: &mut FlatBuilder,
    ) {
        let changed: Vec<i64> = updates.iter().map(time).collect();
        let mut old = touched(before, &changed, self.gap).into_iter().peekable();
        let mut new = touched(after, &changed, self.gap).into_iter().peekable();
        let mut give = |session: Session, diff| Emit::<Session>::after(out, key, diff).push(session);
        // Both are in order: those that are the same are left out.
        while old.peek().is_some() || new.peek().is_some() {
            let first = old.peek().into_iter().chain(new.peek()).min().copied();
            match (old.next_if(|old| Some(*old) == first), new.next_if(|new| Some(*new) == first)) {
                (Some(session), None) => give(session, -1),
                (None, Some(session)) => give(session, 1),
                _ => {}
            }
        }
    }

    /// The first session ends, and the gap after it.
    fn until(&self, _: &[u8], state: &[Encoded<'_>]) -> Option<Timestamp> {
        let last = time(state.get(self.end(state).checked_sub(1)?)?);
        Some(Timestamp::from_micros(last.saturating_add(self.gap).saturating_add(1)))
    }

    fn left<'a>(&self, key: &[u8], mut state: &[Encoded<'a>], horizon: Timestamp) -> Vec<Encoded<'a>> {
        while self.until(key, state).is_some_and(|until| until <= horizon) {
            state = &state[self.end(state)..];
        }
        state.to_vec()
    }

    fn is_closed(&self, _: &[u8], row: &[u8], horizon: Timestamp) -> bool {
        time(&(row, 0)) < horizon.micros()
    }
}

impl OfTimes {
    /// Where the first session of a state ends.
    fn end(&self, state: &[Encoded<'_>]) -> usize {
        let gaps = state.windows(2).map(|pair| time(&pair[1]).saturating_sub(time(&pair[0])));
        state.len().min(1 + gaps.take_while(|gap| *gap <= self.gap).count())
    }
}

/// The time of an event, in microseconds.
#[inline]
fn time(&(mut row, _): &Encoded<'_>) -> i64 {
    Timestamp::read(&mut row, Place::Last).expect(ENCODED).micros()
}

/// The sessions that have an event at most a gap from one of these times, which are in order.
fn touched(rows: &[Encoded<'_>], times: &[i64], gap: i64) -> Vec<Session> {
    let there: Cow<'_, [Encoded<'_>]> = match rows.iter().all(|(_, events)| *events > 0) {
        true => rows.into(),
        false => rows.iter().copied().filter(|(_, events)| *events > 0).collect(),
    };
    // True iff this event belongs to the session of the one before it.
    let follows = |place: usize| time(&there[place]).saturating_sub(time(&there[place - 1])) <= gap;
    let (mut sessions, mut next) = (Vec::new(), 0);
    for &at in times {
        let first = there.partition_point(|event| time(event) < at.saturating_sub(gap));
        let mut place = first.max(next);
        while place < there.len() && time(&there[place]) <= at.saturating_add(gap) {
            let (mut start, mut end) = (place, place + 1);
            while start > 0 && follows(start) {
                start -= 1;
            }
            while end < there.len() && follows(end) {
                end += 1;
            }
            let [first, last] = [start, end - 1].map(|place| Timestamp::from_micros(time(&there[place])));
            let events = there[start..end].iter().map(|(_, events)| events).sum();
            sessions.push((first, last, events));
            (place, next) = (end, end);
        }
    }
    sessions
}
