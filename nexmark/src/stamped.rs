//! The operator `stamped`: rows beside the processing time at which they came.

use std::collections::BTreeMap;
use std::mem::take;

use cutwater::dataflows::flat::{FlatBatch, FlatBuilder};
use cutwater::prelude::*;
use cutwater::rows::Place;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};

/// Rows beside the processing time at which they came.
pub trait Stamped<'s, R: Row> {
    /// Each row with the time at which its epoch closed before it. That time is in the ledger, so a replay gives each row the
    /// time that it had.
    ///
    /// It is for rows that are only ever added: what is withdrawn later is so at a later time, and takes nothing away. The
    /// rows of an epoch are held until it is closed; nothing else is remembered. Costs a copy a row.
    fn stamped(self) -> Collection<'s, (Timestamp, R)>;
}

impl<'s, R: Row> Stamped<'s, R> for Collection<'s, R> {
    fn stamped(self) -> Collection<'s, (Timestamp, R)> {
        let now = self.flow().now();
        self.through(|changes| {
            changes.binary_frontier::<_, CapacityContainerBuilder<FlatBatch>, _, _, _, _>(
                now,
                Pipeline,
                Pipeline,
                "Stamped",
                |_, _| {
                    let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<FlatBatch>)> = BTreeMap::new();
                    let mut closed: BTreeMap<Epoch, Timestamp> = BTreeMap::new();
                    let mut out = FlatBuilder::default();
                    move |(rows, to_come), (times, _), output| {
                        rows.for_each(|capability, batch| {
                            let Some(held) = capability.retain_least(0) else { return };
                            let of_epoch = waiting.entry(*held.time()).or_insert_with(|| (held, Vec::new()));
                            of_epoch.1.push(take(batch));
                        });
                        times.for_each(|capability, told| {
                            let epoch = capability.least().copied();
                            closed.extend(epoch.zip(told.drain(..).next_back().map(|now| now.closed)));
                        });
                        for (epoch, at) in &closed {
                            let Some((held, batches)) = waiting.remove(epoch) else { continue };
                            for (row, times) in batches.iter().flat_map(FlatBatch::iter) {
                                out.push_with(times, |bytes| {
                                    Timestamp::write(*at, Place::Inner, bytes);
                                    bytes.extend_from_slice(row);
                                });
                            }
                            let mut session = output.session(&held);
                            out.finish(|batch| session.give_container(batch));
                        }
                        closed.retain(|epoch, _| to_come.less_equal(epoch));
                    }
                },
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::{Given, Test, given};

    use super::*;

    #[test]
    fn rows_have_the_time_at_which_their_epoch_closed() {
        let test = Test::building("stamped", |flow| {
            let words = flow.input("words").decode(Given::<Text>::new()).stamped();
            words.persist("words").output("words", &["at", "word"], &[]);
        });
        let word = |word: &str| ("words", given(&Text::from(word), 1));
        let second = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let outcome = test
            .epoch([word("a"), word("b"), word("a")])
            .at(second(7))
            .restart()
            .epoch([word("b")])
            .at(second(9))
            .check();
        let row = |second, word| format!(r#"{{"at":"1970-01-01T00:00:0{second}Z","word":"{word}"}}"#);
        assert_eq!(
            outcome.changes_of("words", 1),
            [format!("+2 {}", row(7, "a")), format!("+1 {}", row(7, "b"))]
        );
        assert_eq!(outcome.changes_of("words", 2), [format!("+1 {}", row(9, "b"))]);
    }
}
