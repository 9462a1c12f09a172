//! How many events of each key are in a sliding window.

use std::marker::PhantomData;
use std::time::Duration;

use crate::clock::Now;
use crate::collection::Collection;
use crate::group::Group;
use crate::operators::count::Count;
use crate::operators::filter::Filter;
use crate::operators::map::{Emit, Map};
use crate::operators::micros::{after, micros};
use crate::operators::stateful::{Due, KeyedState, Stateful};
use crate::rows::{Row, Timestamp};

/// How many events of each key are in a sliding window.
pub trait Rate<'s, K: Row> {
    /// For each key that has some, the number of its events in the window that ends at the watermark: those later than
    /// `window` before it, up to the watermark itself. An event beyond the watermark counts when that has come there.
    ///
    /// The answer follows from the events that are there and the watermark: one that comes late counts as long as it is in
    /// the window, and one that is withdrawn does not count. An event that has left the window is forgotten.
    ///
    /// An epoch costs the events that come, enter or leave, wherever they are: those of a key are spread over the workers. An
    /// event that is in the window, or beyond the watermark, is held with its key and the time for which it waits, about 150
    /// bytes beside the key. It survives under `name`.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// # use cutwater_dataflows::testing::{Given, Sample, Test, given};
    /// use std::time::Duration;
    ///
    /// /// Requests of each host in the last minute.
    /// fn rates<'s>(requests: Collection<'s, (Text, Timestamp)>) -> Collection<'s, (Text, i64)> {
    ///     requests.rate("rates", Duration::from_secs(60))
    /// }
    /// # let test = Test::building("rates", |flow| {
    /// #     rates(flow.input("requests").decode(Given::new())).output("rates", &["host"], &["requests"]);
    /// # });
    /// # let request = |host: &str, second: i64| {
    /// #     let row = (Text::from(host), Timestamp::from_micros(second * 1_000_000));
    /// #     ("requests", Sample { timestamp: Some(second * 1000), ..given(&row, 1) })
    /// # };
    /// # let outcome = test.epoch([request("a", 10), request("a", 20)]).epoch([request("b", 70)]).check();
    /// # assert_eq!(outcome.rows("rates"), [r#"{"host":"a","requests":1}"#, r#"{"host":"b","requests":1}"#]);
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn rate(self, name: &str, window: Duration) -> Collection<'s, (K, i64)>;
}

impl<'s, K: Row> Rate<'s, K> for Collection<'s, (K, Timestamp)> {
    #[track_caller]
    fn rate(self, name: &str, window: Duration) -> Collection<'s, (K, i64)> {
        let events = self.map::<((K, Timestamp), ())>(|&event| (event, ()));
        events
            .stateful_with(name, Sliding { window: micros(window), key: PhantomData })
            .filter(|&(_event, within)| within)
            .map::<K>(|&((key, _at), _within)| key)
            .count()
    }
}

/// The state of the events of a key at one time: as many rows as there are events, each saying whether the watermark has come
/// there.
struct Sliding<K> {
    window: i64,
    key: PhantomData<fn() -> K>,
}

impl<K: Row> KeyedState for Sliding<K> {
    type Key = (K, Timestamp);
    type Update = ();
    type State = bool;

    fn update(
        &mut self,
        (_key, at): (K::Ref<'_>, Timestamp),
        state: Group<'_, bool>,
        updates: Group<'_, ()>,
        now: Now,
        out: &mut Emit<'_, bool>,
    ) {
        let is_reached = |time: Timestamp| now.watermark.is_some_and(|now| now >= time);
        if !is_reached(after(at, self.window)) {
            let held: i64 = state.iter().map(|(_, times)| times).sum();
            let came: i64 = updates.iter().map(|(_, times)| times).sum();
            out.push_diff(is_reached(at), held + came);
        }
    }

    fn due(&self, (_key, at): (K::Ref<'_>, Timestamp), state: Group<'_, bool>) -> Due {
        match state.first() {
            None => Due::never(),
            Some(false) => Due::at_watermark(at),
            Some(true) => Due::at_watermark(after(at, self.window)),
        }
    }
}
