//! Sums by key.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};

use crate::collection::{About, Collection};
use crate::flat::{FlatBatch, FlatBuilder};
use crate::group::Group;
use crate::key::{First, KeyOf};
use crate::operators::filter::Filter;
use crate::operators::map::{ENCODED, Emit, Map};
use crate::operators::stateful::{Stateful, stateful_until};
use crate::rows::{Decimal, Place, Row, Schema, Timestamp};
use crate::{Diff, Epoch};

/// Sums by key.
pub trait Sum<'s, K: Row, V: Summand> {
    /// For each key that has rows, the sum of their values. Several sums, and a count, are made in one pass by a tuple of
    /// values, of which a count's is 1.
    ///
    /// The sums survive a restart, under `name`, with the number of rows beside them: their history does not. Values of a
    /// worker are summed before they are exchanged, so that a key of which there are many is no worker's alone. A key costs
    /// the same in each epoch in which it changes, however many rows it has.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// Revenue and number of orders by region.
    /// fn revenue<'s>(orders: Collection<'s, (Text, Decimal<2>)>) -> Collection<'s, (Text, (Decimal<2>, i64))> {
    ///     orders.map::<(Text, (Decimal<2>, i64))>(|&(region, price)| (region, (price, 1))).sum("revenue")
    /// }
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn sum(self, name: &str) -> Collection<'s, (K, V)>;

    /// As [`Sum::sum`], of keys that end: `until` is the event time from which on records do not change a key, the end of its
    /// window; `None` where it has none.
    ///
    /// With a [lateness](crate::Flow::lateness), the sum of a key is dropped once the watermark is so far beyond that time, and
    /// what was published stays. Changes that come to the key after that are left out. A key that waits for its end costs its bytes
    /// and about 80 more; an epoch costs the keys that change or end in it.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// use std::time::Duration;
    /// /// Views by page and minute.
    /// fn views<'s>(views: Collection<'s, (Text, Timestamp)>) -> Collection<'s, ((Text, Option<Timestamp>), i64)> {
    ///     let minute = Window::tumbling(Duration::from_secs(60));
    ///     views
    ///         .flat_map::<((Text, Option<Timestamp>), i64)>(move |(page, at), out| {
    ///             out.push(((page, minute.start(at)), 1));
    ///         })
    ///         .sum_until("views", move |(_page, start)| minute.end(start))
    /// }
    /// ```
    ///
    /// # Panics
    /// If the dataflow persists another collection under that name.
    #[track_caller]
    fn sum_until(
        self,
        name: &str,
        until: impl for<'a> Fn(K::Ref<'a>) -> Option<Timestamp> + 'static,
    ) -> Collection<'s, (K, V)>;
}

/// A value that can be summed, so that the order does not matter and what was added can be taken away: no floating-point
/// number, of which the sum depends on the order. What goes beyond its type wraps around.
pub trait Summand: Row + Default {
    /// Adds another value so many times.
    fn add(&mut self, other: Self::Ref<'_>, times: Diff);
}

impl Summand for i64 {
    #[inline]
    fn add(&mut self, other: i64, times: Diff) {
        *self = self.wrapping_add(other.wrapping_mul(times));
    }
}

impl<const SCALE: u8> Summand for Decimal<SCALE> {
    #[inline]
    fn add(&mut self, other: Self, times: Diff) {
        *self = Decimal::from_units(self.units().wrapping_add(other.units().wrapping_mul(times.into())));
    }
}

macro_rules! tuple {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Summand),*> Summand for ($($name,)*) {
            #[inline]
            fn add(&mut self, other: Self::Ref<'_>, times: Diff) {
                $(self.$index.add(other.$index, times);)*
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

impl<'s, K: Row, V: Summand> Sum<'s, K, V> for Collection<'s, (K, V)> {
    #[track_caller]
    fn sum(self, name: &str) -> Collection<'s, (K, V)> {
        shown(partial(self).stateful::<(i64, V)>(name, add_up::<K, V>))
    }

    #[track_caller]
    fn sum_until(
        self,
        name: &str,
        until: impl for<'a> Fn(K::Ref<'a>) -> Option<Timestamp> + 'static,
    ) -> Collection<'s, (K, V)> {
        shown(stateful_until(partial(self), name, until, add_up::<K, V>))
    }
}

/// The sums of each worker's values, with the numbers of rows.
fn partial<'s, K: Row, V: Summand>(rows: Collection<'s, (K, V)>) -> Collection<'s, (K, (i64, V))> {
    let flow = rows.flow().clone();
    let about = About { net: true, ..About::default() };
    let snapshot = rows.snapshot().clone();
    Collection::new(flow, presum::<K, V>(rows.into_changes()), about, snapshot)
}

/// The sum of a key from now on.
fn add_up<K: Row, V: Summand>(
    _key: K::Ref<'_>,
    state: Group<'_, (i64, V)>,
    updates: Group<'_, (i64, V)>,
    out: &mut Emit<'_, (i64, V)>,
) {
    let mut sum = <(i64, V)>::default();
    for (partial, times) in state.iter().chain(updates) {
        sum.0 += partial.0 * times;
        sum.1.add(partial.1, times);
    }
    // Where more is withdrawn than there was, no row may be left, and a sum all the same.
    if sum != <(i64, V)>::default() {
        out.push(sum.borrow());
    }
}

/// The sums of keys that have rows.
fn shown<'s, K: Row, V: Summand>(sums: Collection<'s, (K, (i64, V))>) -> Collection<'s, (K, V)> {
    let columns = Schema::of::<K>().columns.len();
    sums.filter(|(_key, (rows, _sum))| *rows != 0)
        .map::<(K, V)>(|&(key, (_rows, sum))| (key, sum))
        .unique_by(columns)
}

/// Sums of an epoch by key, each with the number of rows.
type Sums<V> = HashMap<Vec<u8>, (i64, V)>;

/// Sums the values of each key on the worker where they are, and sends the sums, each once, with the number of rows that
/// they are of, when the epoch is complete.
fn presum<'s, K: Row, V: Summand>(changes: Stream<'s, Epoch, FlatBatch>) -> Stream<'s, Epoch, FlatBatch> {
    changes.unary_frontier::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Presum", |_, _| {
        let mut pending: BTreeMap<Epoch, (Capability<Epoch>, Sums<V>)> = BTreeMap::new();
        let mut out = FlatBuilder::default();
        move |(input, frontier), output| {
            input.for_each(|capability, batch| {
                let Some(held) = capability.retain_least(0) else { return };
                let (_, sums) = pending.entry(*held.time()).or_insert_with(|| (held, HashMap::new()));
                for (row, diff) in batch.iter() {
                    let (key, mut value) = row.split_at(First::<K>::key(row).len());
                    let value = V::read(&mut value, Place::Last).expect(ENCODED);
                    let (rows, sum) = sums.entry_ref(key).or_default();
                    *rows += diff;
                    sum.add(value, diff);
                }
            });
            while let Some(first) = pending.first_entry().filter(|first| !frontier.less_equal(first.key())) {
                let (held, sums) = first.remove();
                for (key, sum) in &sums {
                    out.push_with(1, |bytes| {
                        bytes.extend_from_slice(key);
                        <(i64, V)>::write(sum.borrow(), Place::Last, bytes);
                    });
                }
                let mut session = output.session(&held);
                out.finish(|batch| session.give_container(batch));
            }
        }
    })
}
