//! Makes rows of all rows of a key.
//!
//! What `logic` makes of a key's rows is not remembered: it is made once more of the rows as they were, which are at hand,
//! and withdrawn. That takes a second call for each key that changes, and spares the arrangement of the result that
//! differential's `reduce` holds, half of the memory where there is a row for a row. `logic` must be a function of its input
//! for that, as it must be for a replay.

use std::rc::Rc;

use crate::arrange::{Batch, TOGETHER, Update};
use crate::arrangement::Arrangement;
use crate::collection::{Collection, Snapshot};
use crate::flat::{FlatBatch, FlatBuilder};
use crate::group::{Encoded, Group, add, net};
use crate::key::{First, KeyOf};
use crate::operators::batches::{Came, each_batch};
use crate::operators::map::{ENCODED, Emit};
use crate::operators::timed::Timed;
use crate::ordered::Part;
use crate::rows::{Place, Row};
use crate::{Diff, Epoch};

/// Makes rows of all rows of a key.
pub trait Reduce<'s, K: Row, V: Row> {
    /// The rows that `logic` emits for each key that has rows, given these in order, each with how often it is there: all
    /// epochs up to one, summed. It must depend on these alone.
    ///
    /// A key costs its rows in each epoch in which one of them changes: for sums and counts over many, see
    /// [`Sum::sum`](crate::operators::Sum::sum).
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// The cheapest offer of each product.
    /// fn cheapest<'s>(offers: Arrangement<'s, Text, (i64, Text)>) -> Collection<'s, (Text, (i64, Text))> {
    ///     offers.reduce("cheapest", |_product, offers, out| out.extend(offers.first()))
    /// }
    /// ```
    fn reduce<W: Row>(
        self,
        name: &str,
        logic: impl for<'a> FnMut(K::Ref<'a>, Group<'a, V>, &mut Emit<'_, W>) + 'static,
    ) -> Collection<'s, (K, W)>;
}

impl<'s, K: Row, V: Row> Reduce<'s, K, V> for Arrangement<'s, K, V> {
    fn reduce<W: Row>(
        self,
        name: &str,
        mut logic: impl for<'a> FnMut(K::Ref<'a>, Group<'a, V>, &mut Emit<'_, W>) + 'static,
    ) -> Collection<'s, (K, W)> {
        let flow = self.flow().clone();
        let snapshot = Snapshot::made();
        let changes = each_batch(
            self.arranged,
            &format!("Reduce: {name}"),
            snapshot.clone(),
            move |came, changes, give| {
                if !came.is_wanted() {
                    return;
                }
                let Came { batch, before, first } = came;
                Groups::<First<K>>::new(batch, before).for_each(|group| {
                    group.changes::<K, V, W>(first, &mut logic, changes);
                    changes.give_full(&mut *give);
                });
            },
        );
        flow.made(changes, snapshot)
    }
}

/// The keys that a batch changes, one after the other, each with its rows in the batches before.
pub(crate) struct Groups<'a, H> {
    batch: &'a Batch,
    before: Vec<Rc<Batch>>,
    /// Where the next key begins in the batch.
    next: usize,
    /// For some keys from there on, and each batch before: where their rows are.
    looked: Looked,
    /// What a row's key is.
    key: std::marker::PhantomData<H>,
}

/// Ranges that have been looked for: of hash `i` in batch `b` at `b * TOGETHER + i`.
#[derive(Default)]
struct Looked {
    hashes: Vec<u64>,
    ranges: Vec<(usize, usize)>,
    at: usize,
}

/// A key that changes.
pub(crate) struct Changed<'g> {
    /// The key, encoded.
    pub(crate) key: &'g [u8],
    /// What the key's rows were: sorted, net.
    pub(crate) before: Vec<(&'g [u8], Diff)>,
    /// What changes: sorted by epoch and row.
    pub(crate) updates: Vec<(Epoch, &'g [u8], Diff)>,
}

/// A key that changes, of which no row was read.
pub(crate) struct Spread<'g> {
    /// The key, encoded.
    pub(crate) key: &'g [u8],
    /// What changes.
    changes: Part<'g>,
    /// Where the key's rows are in the batches before, the last of them first.
    before: &'g [Part<'g>],
}

impl<'a, H: KeyOf> Groups<'a, H> {
    pub(crate) fn new(batch: &'a Batch, before: Vec<Rc<Batch>>) -> Self {
        Groups { batch, before, next: 0, looked: Looked::default(), key: std::marker::PhantomData }
    }

    /// Shows each key to `each`, in the order of their hashes.
    pub(crate) fn for_each(mut self, mut each: impl FnMut(&mut Changed<'_>)) {
        while let Some(mut group) = self.next() {
            each(&mut group);
        }
    }

    /// As [`Groups::for_each`], without a look at the rows.
    pub(crate) fn for_each_spread(mut self, mut each: impl FnMut(&Spread<'_>)) {
        let before = self.before.clone();
        let mut parts = Vec::new();
        while let Some((key, (start, end))) = self.next_key() {
            let place = self.place(self.batch.update(start).hash);
            parts.clear();
            for (number, batch) in before.iter().enumerate() {
                let range = batch.range_of_key(self.looked.ranges[number * TOGETHER + place], key);
                if range.0 < range.1 {
                    parts.push(Part { batch, range, before: Epoch::MAX });
                }
            }
            let changes = Part { batch: self.batch, range: (start, end), before: Epoch::MAX };
            each(&Spread { key, changes, before: &parts });
        }
    }

    /// The next key that the batch changes, and where it does.
    fn next_key(&mut self) -> Option<(&'a [u8], (usize, usize))> {
        let (batch, start) = (self.batch, self.next);
        if start == batch.len() {
            return None;
        }
        let key = H::key(batch.update(start).row);
        while self.next < batch.len() && batch.update(self.next).row.starts_with(key) {
            self.next += 1;
        }
        Some((key, (start, self.next)))
    }

    fn next(&mut self) -> Option<Changed<'_>> {
        let (key, (start, end)) = self.next_key()?;
        let update = |update: Update<'a>| (update.time, &update.row[key.len()..], update.diff);
        let mut updates: Vec<_> = (start..end).map(|index| update(self.batch.update(index))).collect();
        updates.sort_unstable_by_key(|&(time, row, _)| (time, row));
        let place = self.place(self.batch.update(start).hash);
        let mut rows = Vec::new();
        for (number, batch) in self.before.iter().enumerate() {
            let range = self.looked.ranges[number * TOGETHER + place];
            rows.extend(batch.of_key(range, key).map(|update| (&update.row[key.len()..], update.diff)));
        }
        net(&mut rows);
        Some(Changed { key, before: rows, updates })
    }

    /// The place of a hash among those that have been looked for.
    fn place(&mut self, hash: u64) -> usize {
        loop {
            let looked = &mut self.looked;
            while looked.at < looked.hashes.len() {
                if looked.hashes[looked.at] == hash {
                    return looked.at;
                }
                looked.at += 1;
            }
            self.look(hash);
        }
    }

    /// Looks for this hash and some that follow it: their cache misses overlap.
    fn look(&mut self, hash: u64) {
        let Looked { hashes, ranges, at } = &mut self.looked;
        hashes.clear();
        hashes.push(hash);
        let mut index = self.next;
        while hashes.len() < TOGETHER && index < self.batch.len() {
            let next = self.batch.update(index).hash;
            if hashes.last() != Some(&next) {
                hashes.push(next);
            }
            index += 1;
        }
        ranges.clear();
        ranges.resize(self.before.len() * TOGETHER, (0, 0));
        for (batch, ranges) in self.before.iter().zip(ranges.chunks_mut(TOGETHER)) {
            batch.ranges(hashes, &mut ranges[..hashes.len()]);
        }
        *at = 0;
    }
}

impl<'g> Spread<'g> {
    /// The epochs in which the key changes, in order.
    pub(crate) fn epochs(&self) -> Vec<Epoch> {
        let Part { batch, range, .. } = self.changes;
        let mut epochs: Vec<_> = (range.0..range.1).map(|index| batch.update(index).time).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// The key's rows as they are after all epochs before one, in parts.
    pub(crate) fn parts(&self, before: Epoch) -> Vec<Part<'g>> {
        let mut parts = Vec::with_capacity(self.before.len() + 1);
        parts.extend_from_slice(self.before);
        parts.push(Part { before, ..self.changes });
        parts
    }

    /// The least and the greatest row that changes.
    pub(crate) fn ends(&self) -> (&'g [u8], &'g [u8]) {
        let Part { batch, range: (start, end), .. } = self.changes;
        let row = |index| &batch.update(index).row[self.key.len()..];
        (row(start), row(end - 1))
    }

    /// The changes: a row, its epoch and its difference, in the order of the rows.
    pub(crate) fn updates(&self) -> impl Iterator<Item = (Epoch, &'g [u8], Diff)> + use<'g> {
        let (Part { batch, range, .. }, key) = (self.changes, self.key.len());
        let update = |update: Update<'g>| (update.time, update.row, update.diff);
        let updates = (range.0..range.1).map(move |index| update(batch.update(index)));
        updates.map(move |(time, row, diff)| (time, &row[key..], diff))
    }
}

impl Changed<'_> {
    /// The changes that `logic` makes of it, in each epoch from `first` on.
    fn changes<K: Row, V: Row, W: Row>(
        &mut self,
        first: Epoch,
        logic: &mut impl for<'a> FnMut(K::Ref<'a>, Group<'a, V>, &mut Emit<'_, W>),
        changes: &mut Timed,
    ) {
        let encoded = self.key;
        let mut make = |rows: &[Encoded<'_>], diff, out: &mut FlatBuilder| {
            if !rows.is_empty() {
                let mut key = encoded;
                let key = K::read(&mut key, Place::Inner).expect(ENCODED);
                logic(key, Group::new(rows), &mut Emit::after(out, encoded, diff));
            }
        };
        let mut made = FlatBuilder::default();
        for updates in self.updates.chunk_by(|a, b| a.0 == b.0) {
            let epoch = updates[0].0;
            let wanted = epoch >= first;
            if wanted {
                make(&self.before, -1, &mut made);
            }
            add(&mut self.before, updates.iter().map(|&(_, row, diff)| (row, diff)));
            if wanted {
                make(&self.before, 1, &mut made);
                give_net(&mut made, changes.of(epoch));
            }
        }
    }
}

/// Gives what is left of `made` when equal rows are summed.
pub(crate) fn give_net(made: &mut FlatBuilder, changes: &mut FlatBuilder) {
    let mut batches = Vec::new();
    made.finish(|batch| batches.push(std::mem::take(batch)));
    let mut rows: Vec<_> = batches.iter().flat_map(FlatBatch::iter).collect();
    net(&mut rows);
    rows.into_iter().for_each(|(row, diff)| changes.push_encoded(row, diff));
}
