//! A stateful operator: a state for each key, which survives a restart, and waits for a time.

use std::marker::PhantomData;

use cutwater::prelude::*;

/// Values that are there for a time, unless they are renewed.
pub trait Lease<'s, K: Row, V: Row> {
    /// The newest value of each key with the time up to which it is there: so many microseconds, by the wall clock, after the
    /// last epoch in which the key had one. Of several values of an epoch, the greatest. Withdrawals are left out.
    ///
    /// A key costs its state, which survives under `name`, and a decoding of it in each epoch in which the key has values, or
    /// its time has come.
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn lease(self, name: &str, micros: i64) -> Collection<'s, (K, (V, Timestamp))>;
}

impl<'s, K: Row, V: Row> Lease<'s, K, V> for Collection<'s, (K, V)> {
    #[track_caller]
    fn lease(self, name: &str, micros: i64) -> Collection<'s, (K, (V, Timestamp))> {
        self.stateful_with(name, Leases::<K, V> { micros, types: PhantomData })
    }
}

/// How the state follows from what comes. It has no fields that change: the state is all that survives.
struct Leases<K, V> {
    micros: i64,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Row, V: Row> KeyedState for Leases<K, V> {
    type Key = K;
    type Update = V;
    type State = (V, Timestamp);

    fn update(
        &mut self,
        _key: K::Ref<'_>,
        state: Group<'_, (V, Timestamp)>,
        updates: Group<'_, V>,
        now: Now,
        out: &mut Emit<'_, (V, Timestamp)>,
    ) {
        // Rows are in order, so the last is the greatest.
        match updates.iter().rev().find(|&(_, diff)| diff > 0) {
            Some((value, _)) => out.push((value, Timestamp::from_micros(now.closed.micros() + self.micros))),
            None => out.extend(state.first().filter(|&(_, until)| until > now.closed)),
        }
    }

    fn due(&self, _key: K::Ref<'_>, state: Group<'_, (V, Timestamp)>) -> Due {
        state.first().map_or(Due::never(), |(_, until)| Due::at(until))
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::{Given, Sample, Test, given};

    use super::*;

    #[test]
    fn a_value_is_gone_when_its_time_has_come_although_nothing_is_read() {
        let test = Test::building("lease", |flow| {
            let hosts = flow.input("hosts").decode(Given::<(Text, i64)>::new());
            let up = hosts.lease("hosts", 60_000_000).map::<(Text, i64)>(|&(host, (load, _))| (host, load));
            up.output("up", &["host"], &["load"]);
        });
        let load = |load: i64| ("hosts", given(&(Text::from("web"), load), 1));
        let second = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let outcome = test
            .epoch([load(1), load(2)])
            .at(second(10))
            .epoch([load(1)])
            .at(second(69))
            .restart()
            .epoch::<Sample>([])
            .at(second(128))
            .epoch::<Sample>([])
            .at(second(129))
            .check();
        let row = |load| format!(r#"{{"host":"web","load":{load}}}"#);
        assert_eq!(outcome.changes_of("up", 1), [format!("+1 {}", row(2))]);
        assert_eq!(outcome.changes_of("up", 2), [format!("+1 {}", row(1)), format!("-1 {}", row(2))]);
        assert!(outcome.changes_of("up", 3).is_empty());
        assert_eq!(outcome.changes_of("up", 4), [format!("-1 {}", row(1))]);
    }
}
