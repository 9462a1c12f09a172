//! Distributes rows among the workers.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::ExchangeCore;
use timely::dataflow::operators::Operator;

use crate::Epoch;
use crate::combine::row_hash;
use crate::flat::FlatBatch;
use crate::flow::Collection;
use crate::persist::HashRange;
use crate::rows::Row;

/// Brings each row to the worker whose range of hashes holds its hash. Rows that are there already stay.
pub(crate) fn exchange<'s, R: Row>(rows: Collection<'s, R>) -> Stream<'s, Epoch, FlatBatch> {
    let placed = rows.is_placed();
    let stream = rows.into_flat();
    if placed {
        return stream;
    }
    let workers = stream.scope().peers();
    let pact = ExchangeCore::<CapacityContainerBuilder<FlatBatch>, _>::new(move |row: &(&[u8], i64)| {
        HashRange::worker(row_hash(row.0), workers) as u64
    });
    stream.unary::<CapacityContainerBuilder<_>, _, _, _>(pact, "Exchange", |_, _| {
        |input, output| {
            input.for_each(|capability, batch| output.session(&capability).give_container(batch));
        }
    })
}
