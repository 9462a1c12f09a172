//! Sorts the rows of complete epochs into a batch.

use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::batcher::{Batcher, Extract};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::batch::{Batch, Building, Update};
use crate::Epoch;
use crate::combine::row_hash;
use crate::flat::FlatBatch;

/// Holds the rows of epochs that are not complete.
pub(super) struct Sorter {
    pending: BTreeMap<Epoch, Vec<FlatBatch>>,
    lower: Antichain<Epoch>,
}

impl Default for Sorter {
    fn default() -> Self {
        Sorter { pending: BTreeMap::new(), lower: Antichain::new() }
    }
}

impl Batcher<Vec<(Epoch, FlatBatch)>> for Sorter {
    fn insert(&mut self, container: &mut Vec<(Epoch, FlatBatch)>) {
        for (epoch, batch) in container.drain(..) {
            self.pending.entry(epoch).or_default().push(batch);
        }
    }
}

impl Extract for Sorter {
    type Time = Epoch;
    type Output = Rc<Batch>;

    fn extract<'a>(
        &'a mut self,
        upper: AntichainRef<'_, Epoch>,
    ) -> (Option<Rc<Batch>>, AntichainRef<'a, Epoch>) {
        let kept = match upper.first() {
            Some(upper) => self.pending.split_off(upper),
            None => BTreeMap::new(),
        };
        let complete = std::mem::replace(&mut self.pending, kept);
        self.lower.clear();
        self.lower.extend(self.pending.keys().next().copied());
        (sort(&complete).map(Rc::new), self.lower.borrow())
    }
}

/// The rows of some epochs, as a batch.
fn sort(epochs: &BTreeMap<Epoch, Vec<FlatBatch>>) -> Option<Batch> {
    let batches: Vec<(Epoch, &FlatBatch)> =
        epochs.iter().flat_map(|(&epoch, batches)| batches.iter().map(move |batch| (epoch, batch))).collect();
    let rows = batches.iter().map(|(_, batch)| batch.len()).sum();
    let mut order: Vec<(u64, u32, u32)> = Vec::with_capacity(rows);
    for (number, (_, batch)) in batches.iter().enumerate() {
        order.extend(
            batch.iter().enumerate().map(|(index, (row, _))| (row_hash(row), number as u32, index as u32)),
        );
    }
    let row = |&(_, number, index): &(u64, u32, u32)| {
        let (epoch, batch) = batches[number as usize];
        (batch.row(index as usize), epoch)
    };
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| row(a).cmp(&row(b))));
    let (first, last) = (order.first()?.0, order.last()?.0);
    let bytes = batches.iter().map(|(_, batch)| batch.bytes()).sum();
    let mut building = Building::new(rows, bytes, (first, last));
    for place in &order {
        let (row, time) = row(place);
        let diff = batches[place.1 as usize].1.count(place.2 as usize);
        building.push(Update { hash: place.0, row, time, diff });
    }
    building.done()
}
