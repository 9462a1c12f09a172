//! A timely operator of one's own, on flat batches: for what none of the other kinds can do.
//!
//! It gets encoded rows, each batch at its epoch, and hands on encoded rows at the epochs from which it made them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cutwater::dataflows::flat::FlatBatch;
use cutwater::prelude::*;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

/// What has gone through [`Metered::metered`], on all workers of the process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    changes: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Meter {
    /// Changes of rows: equal ones that were summed are one.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Bytes of these rows, encoded.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// Measures what goes through.
pub trait Metered {
    /// The same rows; `meter` tells how many have come. Figures are for people: no answer may depend on them, as a restart
    /// forgets them. Batches are handed on as they are: nothing is copied or decoded.
    #[must_use]
    fn metered(self, meter: &Meter) -> Self;
}

impl<R: Row> Metered for Collection<'_, R> {
    fn metered(self, meter: &Meter) -> Self {
        let meter = meter.clone();
        self.through(|changes| {
            changes.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Meter", move |_, _| {
                move |input, output| {
                    input.for_each(|capability, batch| {
                        meter.changes.fetch_add(batch.len() as u64, Relaxed);
                        meter.bytes.fetch_add(batch.bytes() as u64, Relaxed);
                        output.session(&capability).give_container(batch);
                    });
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::{Given, Test, given};

    use super::*;

    #[test]
    fn rows_go_through_and_are_counted() {
        let meter = Meter::default();
        let inside = meter.clone();
        let test = Test::building("meter", move |flow| {
            let words = flow.input("words").decode(Given::<Text>::new()).persist("words");
            words.metered(&inside).count().output("counts", &["word"], &["count"]);
        });
        let word = |word: &str, diff| ("words", given(&Text::from(word), diff));
        let outcome = test.epoch([word("a", 2), word("a", 1), word("bcd", 1)]).epoch([word("a", -3)]).run();
        assert_eq!(outcome.rows("counts"), [r#"{"word":"bcd","count":1}"#]);
        // The three of "a" in the first epoch are one change, by what the input has summed.
        assert_eq!((meter.changes(), meter.bytes()), (3, 5));
    }
}
