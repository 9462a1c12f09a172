//! What a stateful operator holds: its rows, by key, for itself alone.

use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::logging::Logger;
use differential_dataflow::trace::implementations::spine_fueled::Spine;
use differential_dataflow::trace::{Description, Span, Trace, TraceReader};
use timely::dataflow::operators::generic::OperatorInfo;
use timely::progress::Antichain;

use crate::arrange::{Batch, Holder, sort};
use crate::flat::FlatBatch;
use crate::group::net;
use crate::key::{KeyOf, hash};
use crate::{Diff, Epoch};

/// Rows by key, as of the last epoch. It is differential's spine: batches that are merged as others come.
pub(super) struct StateStore<H> {
    spine: Spine<Rc<Batch>>,
    /// All epochs below it are in.
    upper: Antichain<Epoch>,
    holder: Option<Holder>,
    key: std::marker::PhantomData<H>,
}

impl<H: KeyOf> StateStore<H> {
    /// `logger`: who wants to know what the operator holds.
    pub(super) fn new(operator: OperatorInfo, logger: Option<Logger>) -> Self {
        let holder = Holder::new(logger.clone(), operator.global_id);
        let spine = Spine::new(operator, logger, None);
        StateStore { spine, upper: Antichain::from_elem(Epoch::MIN), holder, key: std::marker::PhantomData }
    }

    /// The batches whose rows, taken together, are what it holds.
    pub(super) fn batches(&mut self) -> Vec<Rc<Batch>> {
        self.spine.batches_through(self.upper.borrow()).expect("it is compacted to what is in")
    }

    /// The rows of a key in these batches, without the key: in order, net.
    pub(super) fn rows_of<'a>(batches: &'a [Rc<Batch>], key: &[u8]) -> Vec<(&'a [u8], Diff)> {
        let mut rows = Vec::new();
        for batch in batches {
            let mut range = [(0, 0)];
            batch.ranges(&[hash(key)], &mut range);
            rows.extend(batch.of_key(range[0], key).map(|update| (&update.row[key.len()..], update.diff)));
        }
        net(&mut rows);
        rows
    }

    /// Takes in the changes of an epoch, after those of all before.
    pub(super) fn insert(&mut self, epoch: Epoch, changes: Vec<FlatBatch>) {
        let Some(batch) = sort::<H>(BTreeMap::from([(epoch, changes)])) else { return };
        let batch = batch.held_by(self.holder.as_ref());
        let upper = Antichain::from_elem(epoch + 1);
        let lower = std::mem::replace(&mut self.upper, upper.clone());
        let description = Description::new(lower, upper, Antichain::from_elem(Epoch::MIN));
        self.spine.insert(Span::new(description, Some(Rc::new(batch))));
        self.spine.set_logical_compaction(self.upper.borrow());
        self.spine.set_physical_compaction(self.upper.borrow());
    }
}
