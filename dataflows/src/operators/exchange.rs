//! Distributes rows among the workers.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::ExchangeCore;
use timely::dataflow::operators::Operator;

use crate::collection::{About, Collection, Placed};
use crate::flat::FlatBatch;
use crate::key::{First, KeyOf, Whole};
use crate::operators::combine::combine;
use crate::persist::HashRange;
use crate::rows::Row;

/// Distributes rows among the workers.
pub trait Exchange {
    /// The same rows, each on the worker that its hash says. Equal rows of an epoch are summed on the worker where they are
    /// before they leave it. Rows that are there already stay, at no cost.
    fn exchange(self) -> Self;
}

impl<R: Row> Exchange for Collection<'_, R> {
    fn exchange(self) -> Self {
        exchange_by::<Whole, R>(self)
    }
}

/// The same rows, each on the worker that the hash of its first column or struct says: see [`Exchange::exchange`].
pub fn exchange_by_key<'s, K: Row, V: Row>(rows: Collection<'s, (K, V)>) -> Collection<'s, (K, V)> {
    exchange_by::<First<K>, _>(rows)
}

/// Brings each row to the worker whose range of hashes holds that of its key.
pub(crate) fn exchange_by<'s, H: KeyOf, R: Row>(rows: Collection<'s, R>) -> Collection<'s, R> {
    if rows.about().placed == Placed::by::<H>() {
        return rows;
    }
    let (flow, about, snapshot) = (rows.flow().clone(), rows.about().clone(), rows.snapshot().clone());
    let changes = rows.into_changes();
    let combined = if about.net { changes } else { combine(changes) };
    let workers = combined.scope().peers();
    let pact = ExchangeCore::<CapacityContainerBuilder<FlatBatch>, _>::new(move |row: &(&[u8], i64)| {
        HashRange::worker(H::hash(row.0), workers) as u64
    });
    let exchanged = combined.unary::<CapacityContainerBuilder<_>, _, _, _>(pact, "Exchange", |_, _| {
        |input, output| {
            input.for_each(|capability, batch| output.session(&capability).give_container(batch));
        }
    });
    // Net for each worker that they came from, not for the one that they have come to, unless that is the same.
    let about = About { placed: Placed::by::<H>(), net: workers == 1, ..about };
    Collection::new(flow, exchanged, about, snapshot)
}
