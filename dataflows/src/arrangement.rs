//! Arrangements: rows that are held by key, for several operators.

use std::marker::PhantomData;
use std::rc::Rc;

use differential_dataflow::operators::arrange::Arranged;

use crate::arrange::{RowTrace, arrange};
use crate::collection::Collection;
use crate::flow::Flow;
use crate::key::First;
use crate::operators::exchange::exchange_by_key;
use crate::rows::Row;

/// The rows of a collection `(K, V)`, held by `K` on the worker that its hash says, so that those of a key are found at
/// once. Cloning one costs nothing: several operators may read it.
///
/// Costs about 30 bytes a row beside its encoding, and for each change a logarithm of the number of rows, spread over time.
/// Its trace is compacted to what its readers have taken in.
pub struct Arrangement<'s, K: Row, V: Row> {
    flow: Flow<'s>,
    pub(crate) arranged: Arranged<'s, RowTrace>,
    pub(crate) name: Rc<str>,
    row: PhantomData<fn() -> (K, V)>,
}

impl<K: Row, V: Row> Clone for Arrangement<'_, K, V> {
    fn clone(&self) -> Self {
        Arrangement {
            flow: self.flow.clone(),
            arranged: self.arranged.clone(),
            name: Rc::clone(&self.name),
            row: PhantomData,
        }
    }
}

impl<'s, K: Row, V: Row> Arrangement<'s, K, V> {
    /// Arranges rows by their first part.
    pub(crate) fn of(rows: Collection<'s, (K, V)>, name: &str) -> Self {
        rows.remembered_by(name);
        let flow = rows.flow().clone();
        let changes = exchange_by_key(rows).changes();
        let arranged = arrange::<First<K>>(changes, &format!("Arrange: {name}"));
        Arrangement { flow, arranged, name: name.into(), row: PhantomData }
    }

    /// The flow it is part of.
    pub fn flow(&self) -> &Flow<'s> {
        &self.flow
    }

    /// The stream of its batches and its trace, for an operator of one's own: see [`Batch`](crate::arrange::Batch) and
    /// differential's `operators::arrange`.
    pub fn into_arranged(self) -> Arranged<'s, RowTrace> {
        self.arranged
    }
}
