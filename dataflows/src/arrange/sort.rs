//! Sorts the rows of complete epochs into a batch.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use differential_dataflow::batcher::{Batcher, Extract};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::batch::{Batch, Building, Update};
use super::{Holder, Timed};
use crate::Epoch;
use crate::flat::FlatBatch;
use crate::key::KeyOf;

/// Holds the rows of epochs that are not complete.
pub(super) struct Sorter<H> {
    pending: BTreeMap<Epoch, Vec<FlatBatch>>,
    lower: Antichain<Epoch>,
    holder: Option<Holder>,
    key: PhantomData<H>,
}

impl<H> Sorter<H> {
    pub(super) fn new(holder: Option<Holder>) -> Self {
        Sorter { pending: BTreeMap::new(), lower: Antichain::new(), holder, key: PhantomData }
    }
}

impl<H: KeyOf> Batcher<Timed> for Sorter<H> {
    fn insert(&mut self, timed: &mut Timed) {
        let Timed { epoch, rows } = std::mem::take(timed);
        self.pending.entry(epoch).or_default().push(rows);
    }
}

impl<H: KeyOf> Extract for Sorter<H> {
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
        let batch = sort::<H>(complete).map(|batch| Rc::new(batch.held_by(self.holder.as_ref())));
        (batch, self.lower.borrow())
    }
}

/// The rows of some epochs, as a batch.
pub(crate) fn sort<H: KeyOf>(mut epochs: BTreeMap<Epoch, Vec<FlatBatch>>) -> Option<Batch> {
    let first = epochs.first_entry()?;
    if let Some(ends) = ends_in_order::<H>(first.get()) {
        let (epoch, batches) = first.remove_entry();
        return join::<H>(epoch, batches, ends, deal::<H>(&epochs));
    }
    deal::<H>(&epochs)
}

/// The hashes of the first and the last row, if there are rows and they are in order: as a checkpoint gives them back.
fn ends_in_order<H: KeyOf>(batches: &[FlatBatch]) -> Option<(u64, u64)> {
    let mut rows = batches.iter().flat_map(FlatBatch::iter).map(|(row, _)| (H::hash(row), row));
    let (first, row) = rows.next()?;
    let mut last = (first, row);
    for next in rows {
        if next < last {
            return None;
        }
        last = next;
    }
    Some((first, last.0))
}

/// The rows of one epoch, which are in order, with those of others. Each batch is dropped when it has been taken in, so
/// that this needs hardly more memory than the rows do.
fn join<H: KeyOf>(
    epoch: Epoch,
    batches: Vec<FlatBatch>,
    ends: (u64, u64),
    others: Option<Batch>,
) -> Option<Batch> {
    let (mut rows, mut bytes, (mut first, mut last)) = (0, 0, ends);
    batches.iter().for_each(|batch| (rows, bytes) = (rows + batch.len(), bytes + batch.bytes()));
    if let Some(others) = &others {
        (rows, bytes) = (rows + others.len(), bytes + others.size());
        (first, last) = (first.min(others.ends().0), last.max(others.ends().1));
    }
    let mut building = Building::new(rows, bytes, (first, last));
    let mut others =
        others.iter().flat_map(|batch| (0..batch.len()).map(|index| batch.update(index))).peekable();
    let order = |update: &Update<'_>| (update.hash, update.row.to_vec(), update.time);
    for batch in batches {
        for (row, diff) in batch.iter() {
            let update = Update { hash: H::hash(row), row, time: epoch, diff };
            let before = |other: &Update<'_>| {
                other.hash < update.hash || other.hash == update.hash && order(other) < order(&update)
            };
            while let Some(other) = others.next_if(before) {
                building.push(other);
            }
            building.push(update);
        }
    }
    others.for_each(|other| building.push(other));
    building.done()
}

/// The rows of some epochs, in whatever order they are, as a batch.
fn deal<H: KeyOf>(epochs: &BTreeMap<Epoch, Vec<FlatBatch>>) -> Option<Batch> {
    let batches: Vec<(Epoch, &FlatBatch)> =
        epochs.iter().flat_map(|(&epoch, batches)| batches.iter().map(move |batch| (epoch, batch))).collect();
    let rows = batches.iter().map(|(_, batch)| batch.len()).sum();
    let mut places = Vec::with_capacity(rows);
    for (number, (_, batch)) in (0..).zip(&batches) {
        places.extend((0..).zip(batch.iter()).map(|(index, (row, _))| Place {
            hash: H::hash(row),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Whole, hash as row_hash};

    type Rows = Vec<(u64, Vec<u8>, Epoch, i64)>;

    fn rows(batch: Option<Batch>) -> Rows {
        let batch = batch.expect("there are rows");
        let update = |index| {
            let Update { hash, row, time, diff } = batch.update(index);
            (hash, row.to_vec(), time, diff)
        };
        (0..batch.len()).map(update).collect()
    }

    #[test]
    fn rows_in_order_are_joined_as_they_would_be_sorted() {
        for others in [0, 1, 300] {
            let mut restored: Vec<Vec<u8>> = (0..1000u32).map(|row| row.to_string().into_bytes()).collect();
            restored.sort_by_key(|row| (row_hash(row), row.clone()));
            let mut batches = vec![FlatBatch::default()];
            for (index, row) in restored.iter().enumerate() {
                if index % 70 == 0 {
                    batches.push(FlatBatch::default());
                }
                batches.last_mut().unwrap().push(row, 1 + index as i64 % 3);
            }
            let mut epochs = BTreeMap::from([(0, batches)]);
            for row in 0..others {
                let batches = epochs.entry(1 + row % 3).or_default();
                batches.push(FlatBatch::default());
                batches.last_mut().unwrap().push((row * 7).to_string().as_bytes(), 1);
            }
            assert!(ends_in_order::<Whole>(&epochs[&0]).is_some());
            let expected = rows(deal::<Whole>(&epochs));
            assert_eq!(rows(sort::<Whole>(epochs.clone())), expected);
            // Out of order, and in order with a row twice.
            epochs.get_mut(&0).unwrap().reverse();
            assert!(ends_in_order::<Whole>(&epochs[&0]).is_none());
            assert_eq!(rows(sort::<Whole>(epochs)), expected);
        }
        let mut twice = FlatBatch::default();
        (0..2).for_each(|_| twice.push(b"a", 1));
        let sorted = rows(sort::<Whole>(BTreeMap::from([(3, vec![twice])])));
        assert_eq!(sorted, [(row_hash(b"a"), b"a".to_vec(), 3, 2)]);
    }
}
