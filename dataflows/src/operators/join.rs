//! Joins: pairs of rows with the same key.
//!
//! The driver is differential's `join_with_tactic`, which knows of frontiers, capabilities and the compaction of traces. The
//! tactic is our own, and not the one of `int_proxy`: outside of loops an epoch is a number, so the time at which a pair
//! appears is the later one of its two rows' times, and there is no history to be replayed. It probes the directories of the
//! batches, a few keys at a time so that their cache misses overlap, and reads rows in place.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use differential_dataflow::operators::join::{Fresh, JoinTactic, join_with_tactic};
use timely::Accountable;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::Epoch;
use crate::arrange::{Batch, TOGETHER, Update};
use crate::arrangement::Arrangement;
use crate::collection::{Collection, Snapshot};
use crate::flat::{FlatBatch, FlatBuilder};
use crate::key::{First, KeyOf};
use crate::operators::concat::Concat;
use crate::operators::map::{ENCODED, Emit, Map};
use crate::operators::negate::Negate;
use crate::operators::threshold::Threshold;
use crate::operators::timed::Timed;
use crate::rows::{Place, Row};

/// Joins by key.
pub trait Join<'s, K: Row, V: Row> {
    /// The pairs of rows with the same key, as often as the two are there, multiplied. Arranges both.
    ///
    /// An epoch costs a probe for each row that changes in it, and the pairs that change.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// fn priced<'s>(
    ///     sold: Collection<'s, (Text, i64)>,
    ///     prices: Collection<'s, (Text, Decimal<2>)>,
    /// ) -> Collection<'s, (Text, (i64, Decimal<2>))> {
    ///     sold.persist("sold").join(prices.persist("prices"))
    /// }
    /// ```
    fn join<W: Row>(self, other: Collection<'s, (K, W)>) -> Collection<'s, (K, (V, W))>;

    /// The rows whose key is one of `keys`, however often it is there.
    fn semijoin(self, keys: Collection<'s, K>) -> Collection<'s, (K, V)>;

    /// The rows whose key is none of `keys`.
    fn antijoin(self, keys: Collection<'s, K>) -> Collection<'s, (K, V)>;
}

impl<'s, K: Row, V: Row> Join<'s, K, V> for Collection<'s, (K, V)> {
    fn join<W: Row>(self, other: Collection<'s, (K, W)>) -> Collection<'s, (K, (V, W))> {
        self.arrange("join")
            .join_core(other.arrange("join with"), |key, one, other, out| out.push((key, (one, other))))
    }

    fn semijoin(self, keys: Collection<'s, K>) -> Collection<'s, (K, V)> {
        let keys = keys.distinct().map::<(K, ())>(|key| (*key, ()));
        self.arrange("semijoin")
            .join_core(keys.arrange("semijoin keys"), |key, value, (), out| out.push((key, value)))
    }

    fn antijoin(self, keys: Collection<'s, K>) -> Collection<'s, (K, V)> {
        self.clone().concat(self.semijoin(keys).negate())
    }
}

impl<'s, K: Row, V: Row> Arrangement<'s, K, V> {
    /// The rows that `logic` emits for each pair of rows with the same key: each as often as the two are there, multiplied.
    /// It must depend on the key and the two alone.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// fn revenue<'s>(
    ///     sold: Arrangement<'s, Text, i64>,
    ///     prices: Arrangement<'s, Text, i64>,
    /// ) -> Collection<'s, (Text, i64)> {
    ///     sold.join_core(prices, |product, quantity, price, out| out.push((product, quantity * price)))
    /// }
    /// ```
    pub fn join_core<W: Row, R: Row>(
        self,
        other: Arrangement<'s, K, W>,
        mut logic: impl for<'a> FnMut(K::Ref<'a>, V::Ref<'a>, W::Ref<'a>, &mut Emit<'_, R>) + 'static,
    ) -> Collection<'s, R> {
        let snapshot = Snapshot::made();
        let flow = self.flow().clone();
        let pair = move |key: &[u8], one: &[u8], other: &[u8], diff, out: &mut FlatBuilder| {
            let (mut key, mut one, mut other) = (key, one, other);
            let key = K::read(&mut key, Place::Inner).expect(ENCODED);
            let value = V::read(&mut one, Place::Last).expect(ENCODED);
            let with = W::read(&mut other, Place::Last).expect(ENCODED);
            logic(key, value, with, &mut Emit::new(out, diff));
        };
        let tactic = Tactic::<First<K>, _> {
            pair: Rc::new(RefCell::new(pair)),
            snapshot: snapshot.clone(),
            key: std::marker::PhantomData,
        };
        let name = format!("Join: {} with {}", self.name, other.name);
        let pairs = join_with_tactic(self.arranged, other.arranged, &name, tactic);
        flow.made(at_their_epochs(pairs), snapshot)
    }
}

/// Rows of several epochs, each batch with its own.
#[derive(Clone, Default)]
struct Rows(Vec<(Epoch, FlatBatch)>);

/// Logs count the rows.
impl Accountable for Rows {
    fn record_count(&self) -> i64 {
        self.0.iter().map(|(_, batch)| batch.record_count()).sum()
    }
}

/// Sends batches at their epochs.
fn at_their_epochs<'s>(rows: Stream<'s, Epoch, Rows>) -> Stream<'s, Epoch, FlatBatch> {
    rows.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "AtEpoch", |_, _| {
        |input, output| {
            input.for_each(|capability, rows| {
                for (epoch, mut batch) in rows.0.drain(..) {
                    output.session(&capability.delayed(&epoch, 0)).give_container(&mut batch);
                }
            });
        }
    })
}

/// Makes the pairs of batches.
struct Tactic<H, L> {
    /// Makes rows of a key and a value of each side, and what their differences come to.
    pair: Rc<RefCell<L>>,
    snapshot: Snapshot,
    key: std::marker::PhantomData<H>,
}

impl<H, L> JoinTactic<Epoch, Rc<Batch>, Rc<Batch>, Rows> for Tactic<H, L>
where
    H: KeyOf,
    L: FnMut(&[u8], &[u8], &[u8], i64, &mut FlatBuilder) + 'static,
{
    fn prep(
        &mut self,
        ones: Vec<Rc<Batch>>,
        others: Vec<Rc<Batch>>,
        _fresh: Fresh,
        _meet: Epoch,
    ) -> Box<dyn Iterator<Item = Rows>> {
        let size = |batches: &[Rc<Batch>]| batches.iter().map(|batch| batch.len()).sum::<usize>();
        // A key of the smaller side is looked for in the larger one.
        let turned = size(&others) < size(&ones);
        let (driving, probed) = if turned { (others, ones) } else { (ones, others) };
        Box::new(Pairs::<H, L> {
            pair: Rc::clone(&self.pair),
            first: Epoch::from(!self.snapshot.is_wanted()),
            driving,
            probed,
            turned,
            batch: 0,
            index: 0,
            found: VecDeque::new(),
            made: Timed::default(),
            ready: VecDeque::new(),
            key: std::marker::PhantomData,
        })
    }
}

/// The pairs of two lists of batches, as they are asked for.
struct Pairs<H, L> {
    pair: Rc<RefCell<L>>,
    /// Pairs of epochs before it are not wanted.
    first: Epoch,
    driving: Vec<Rc<Batch>>,
    probed: Vec<Rc<Batch>>,
    /// True iff the second side drives.
    turned: bool,
    /// Where to look next among what drives.
    batch: usize,
    index: usize,
    /// What has been found for the updates before: see [`Found`].
    found: VecDeque<Found>,
    made: Timed,
    ready: VecDeque<Rows>,
    key: std::marker::PhantomData<H>,
}

/// An update, and rows with a key of the same hash.
struct Found {
    batch: usize,
    index: usize,
    probed: usize,
    range: (usize, usize),
}

impl<H, L> Iterator for Pairs<H, L>
where
    H: KeyOf,
    L: FnMut(&[u8], &[u8], &[u8], i64, &mut FlatBuilder),
{
    type Item = Rows;

    fn next(&mut self) -> Option<Rows> {
        while self.ready.is_empty() {
            let Some(found) = self.found.pop_front() else {
                if self.look() {
                    continue;
                }
                self.finish();
                break;
            };
            self.make(&found);
        }
        self.ready.pop_front()
    }
}

impl<H, L> Pairs<H, L>
where
    H: KeyOf,
    L: FnMut(&[u8], &[u8], &[u8], i64, &mut FlatBuilder),
{
    /// Looks for the keys of some more updates. False if there are none.
    fn look(&mut self) -> bool {
        let Some(batch) = self.driving.get(self.batch) else { return false };
        let count = TOGETHER.min(batch.len() - self.index);
        let mut hashes = [0; TOGETHER];
        for (hash, index) in hashes.iter_mut().zip(self.index..self.index + count) {
            *hash = batch.update(index).hash;
        }
        for (probed, other) in self.probed.iter().enumerate() {
            let mut ranges = [(0, 0); TOGETHER];
            other.ranges(&hashes[..count], &mut ranges[..count]);
            for (offset, &range) in ranges[..count].iter().enumerate().filter(|(_, range)| range.0 < range.1)
            {
                self.found.push_back(Found { batch: self.batch, index: self.index + offset, probed, range });
            }
        }
        self.index += count;
        if self.index == batch.len() {
            (self.batch, self.index) = (self.batch + 1, 0);
        }
        true
    }

    /// Makes the pairs of an update.
    fn make(&mut self, found: &Found) {
        let update = self.driving[found.batch].update(found.index);
        let key = H::key(update.row);
        let mut pair = self.pair.borrow_mut();
        let probed = &self.probed[found.probed];
        for Update { row, time, diff, .. } in probed.of_key(found.range, key) {
            let epoch = update.time.max(time);
            if epoch < self.first {
                continue;
            }
            let (driving, probed) = (&update.row[key.len()..], &row[key.len()..]);
            let (one, other) = if self.turned { (probed, driving) } else { (driving, probed) };
            pair(key, one, other, update.diff * diff, self.made.of(epoch));
            let ready = &mut self.ready;
            self.made.give_full(|epoch, batch| ready.push_back(Rows(vec![(epoch, std::mem::take(batch))])));
        }
    }

    fn finish(&mut self) {
        let mut rest = Vec::new();
        self.made.finish(|epoch, batch| rest.push((epoch, std::mem::take(batch))));
        if !rest.is_empty() {
            self.ready.push_back(Rows(rest));
        }
    }
}
