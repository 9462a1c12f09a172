//! Sorts the rows of complete epochs into a batch.

use std::cmp::Ordering;
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
    let mut places = Vec::with_capacity(rows);
    for (number, (_, batch)) in (0..).zip(&batches) {
        places.extend((0..).zip(batch.iter()).map(|(index, (row, _))| Place {
            hash: row_hash(row),
            batch: number,
            index,
        }));
    }
    let row = |place: &Place| {
        let (epoch, batch) = batches[place.batch as usize];
        (batch.row(place.index as usize), epoch)
    };
    let places = in_order(places, |a, b| a.hash.cmp(&b.hash).then_with(|| row(a).cmp(&row(b))));
    let ends = (places.first()?.hash, places.last()?.hash);
    let bytes = batches.iter().map(|(_, batch)| batch.bytes()).sum();
    let mut building = Building::new(rows, bytes, ends);
    for place in &places {
        let (row, time) = row(place);
        let diff = batches[place.batch as usize].1.count(place.index as usize);
        building.push(Update { hash: place.hash, row, time, diff });
    }
    building.done()
}

/// Where a row is that is to be sorted.
#[derive(Clone, Copy, Default)]
struct Place {
    hash: u64,
    batch: u32,
    index: u32,
}

/// Places in a part, on average.
const PART: usize = 32;
/// Parts at most: each is written to at its own end, and so many ends stay in the cache.
const PARTS: usize = 1 << 12;
/// Runs that are merged.
const RUNS: usize = 16;

/// Sorts places by hash, and as `order` says where hashes are equal.
///
/// A few runs that are in order, as a checkpoint gives them back, are merged (by the standard library's stable sort).
/// Others are dealt out into equal parts of the range of their hashes: hashes are uniform, so the parts are small, and
/// sorting each is most of the work that sorting all would be, but in the cache.
fn in_order(mut places: Vec<Place>, order: impl Fn(&Place, &Place) -> Ordering) -> Vec<Place> {
    let parts = (places.len() / PART).min(PARTS);
    if parts < 2 {
        places.sort_unstable_by(order);
        return places;
    }
    if places.windows(2).filter(|pair| pair[0].hash > pair[1].hash).take(RUNS).count() < RUNS {
        places.sort_by(order);
        return places;
    }
    let parts = parts.ilog2();
    let (first, last) = places
        .iter()
        .fold((u64::MAX, 0), |(first, last), place| (first.min(place.hash), last.max(place.hash)));
    let shift = (u64::BITS - (last - first).leading_zeros()).saturating_sub(parts);
    let part = |place: &Place| ((place.hash - first) >> shift) as usize;
    let mut starts = vec![0; (1 << parts) + 1];
    places.iter().for_each(|place| starts[part(place) + 1] += 1);
    for part in 1..starts.len() {
        starts[part] += starts[part - 1];
    }
    let mut dealt = vec![Place::default(); places.len()];
    let mut ends = starts.clone();
    for place in places.iter() {
        let end = &mut ends[part(place)];
        dealt[*end] = *place;
        *end += 1;
    }
    starts.windows(2).for_each(|part| dealt[part[0]..part[1]].sort_unstable_by(&order));
    dealt
}
