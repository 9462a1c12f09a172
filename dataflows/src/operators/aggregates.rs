//! Count, sum, least, greatest and average value of each key, in one pass.
//!
//! Count and sum are added up as rows come. The least and the greatest value are the ends of an ordered arrangement, so the one
//! after a withdrawn one is found without a look at the others. In two stages, as [`top_k`](mod@super::top_k): each worker
//! aggregates what it has of a key, and the key's worker puts at most one row of each worker together.

use hashbrown::HashMap;

use crate::arrange::arrange;
use crate::collection::{Collection, Snapshot};
use crate::flat::FlatBuilder;
use crate::key::First;
use crate::operators::batches::each_batch;
use crate::operators::exchange::Exchange;
use crate::operators::hints::{Hint, Hints};
use crate::operators::map::{ENCODED, Map};
use crate::operators::reduce::{Groups, Reduce, Spread};
use crate::operators::reduce_ordered::give_difference;
use crate::operators::sum::Summand;
use crate::rows::{Decimal, Float, Place, Row, Schema};
use crate::{Diff, Epoch};

/// Count, sum, least, greatest and average value.
pub type Aggregate<V> = (i64, V, V, V, Float);

/// Count, sum, least, greatest and average value of each key.
pub trait Aggregates<'s, K: Row, V: Number> {
    /// For each key that has values: how many, their sum, the least, the greatest, and their average.
    ///
    /// A key costs a logarithm of the number of its values in each epoch in which one changes, be it that the least is withdrawn.
    /// No key is one worker's alone. An arrangement holds all values, on the workers where they are, and beside it a sum a key.
    ///
    /// ```
    /// # use cutwater_dataflows::operators::aggregates::Aggregate;
    /// # use cutwater_dataflows::prelude::*;
    /// type Price = Decimal<2>;
    ///
    /// /// How many offers a product has, and what they come to.
    /// fn offers<'s>(offers: Collection<'s, (Text, Price)>) -> Collection<'s, (Text, Aggregate<Price>)> {
    ///     offers.persist("offers").aggregates("offers")
    /// }
    /// # use cutwater_dataflows::testing::{Given, Test, given};
    /// # let test = Test::building("offers", |flow| {
    /// #     let columns = ["count", "sum", "min", "max", "avg"];
    /// #     offers(flow.input("offers").decode(Given::new())).output("offers", &["product"], &columns);
    /// # });
    /// # let offer = |cents, diff| ("offers", given(&(Text::from("nut"), Price::from_units(cents)), diff));
    /// let test = test.epoch([offer(50, 1), offer(25, 2)]).epoch([offer(25, -1)]);
    /// let row = r#"{"product":"nut","count":2,"sum":"0.75","min":"0.25","max":"0.50","avg":0.375}"#;
    /// assert_eq!(test.check().rows("offers"), [row]);
    /// ```
    fn aggregates(self, name: &str) -> Collection<'s, (K, Aggregate<V>)>;
}

/// A value that has an average.
pub trait Number: Summand {
    /// The sum of so many values, divided by their number.
    fn average(sum: Self::Ref<'_>, count: i64) -> Float;
}

impl Number for i64 {
    fn average(sum: i64, count: i64) -> Float {
        (sum as f64 / count as f64).into()
    }
}

impl<const SCALE: u8> Number for Decimal<SCALE> {
    fn average(sum: Self, count: i64) -> Float {
        // One division alone rounds.
        let one = 10f64.powi(SCALE.into());
        (sum.units() as f64 / (count as f64 * one)).into()
    }
}

/// What is known of some values of a key: how many, their sum, the least and the greatest, if one is there. Values that were
/// withdrawn more often than they came may be alone on a worker.
type Partial<V> = (i64, V, Option<(V, V)>);

impl<'s, K: Row, V: Number> Aggregates<'s, K, V> for Collection<'s, (K, V)> {
    fn aggregates(self, name: &str) -> Collection<'s, (K, Aggregate<V>)> {
        let columns = Schema::of::<K>().columns.len();
        let several = self.flow().workers() > 1;
        let partial = partial::<K, V>(self, name);
        let whole = if several { together(partial, name) } else { partial };
        let rows = whole.flat_map::<(K, Aggregate<V>)>(|(key, (count, sum, ends)), out| {
            let average = V::average(sum, count);
            out.extend(ends.map(|(least, greatest)| (key, (count, sum, least, greatest, average))));
        });
        rows.unique_by(columns)
    }
}

/// The aggregates of the values that each worker has.
fn partial<'s, K: Row, V: Number>(
    rows: Collection<'s, (K, V)>,
    name: &str,
) -> Collection<'s, (K, Partial<V>)> {
    rows.remembered_by(name);
    let flow = rows.flow().clone();
    let arranged = arrange::<First<K>>(rows.exchange().changes(), &format!("Arrange: {name}"));
    let snapshot = Snapshot::made();
    let (mut old, mut new) = (FlatBuilder::default(), FlatBuilder::default());
    let (mut sums, mut hints) = (Sums::<V>::default(), Hints::default());
    let changes =
        each_batch(arranged, &format!("Aggregates: {name}"), snapshot.clone(), move |came, changes, give| {
            let first = came.first;
            Groups::<First<K>>::new(came.batch, came.before).for_each_spread(|spread| {
                let mut hint = hints.take(spread);
                let mut last = Hint::default();
                for epoch in spread.epochs() {
                    let (before, after) = sums.add(spread, epoch);
                    if epoch >= first {
                        push(spread, epoch, &hint, before, &mut old);
                        last = push(spread, epoch + 1, &hint, after, &mut new);
                        give_difference(&old, &new, changes.of(epoch));
                        old.clear();
                        new.clear();
                        changes.give_full(&mut *give);
                    }
                }
                hint.learn(last);
                hints.put(spread, hint);
            });
        });
    flow.made(changes, snapshot)
}

/// Of each key, how many values there are, and their sum. It is made of the arrangement's rows, and not restored.
struct Sums<V>(HashMap<Vec<u8>, (i64, V)>);

impl<V> Default for Sums<V> {
    fn default() -> Self {
        Sums(HashMap::new())
    }
}

impl<V: Number> Sums<V> {
    /// Adds what changes in an epoch. Gives what it was, and what it is from now on.
    fn add(&mut self, spread: &Spread<'_>, epoch: Epoch) -> ((i64, V), (i64, V)) {
        let sum = self.0.entry_ref(spread.key).or_default();
        let before = sum.clone();
        for (_, row, diff) in spread.updates().filter(|(time, ..)| *time == epoch) {
            sum.0 += diff;
            sum.1.add(value::<V>(row), diff);
        }
        let after = sum.clone();
        if after == (0, V::default()) {
            self.0.remove(spread.key);
        }
        (before, after)
    }
}

fn value<V: Row>(mut row: &[u8]) -> V::Ref<'_> {
    V::read(&mut row, Place::Last).expect(ENCODED)
}

/// Adds the aggregate of a key's values of epochs before one, if there are some. Gives what was learned of them.
fn push<V: Number>(
    spread: &Spread<'_>,
    before: Epoch,
    hint: &Hint,
    (count, sum): (i64, V),
    out: &mut FlatBuilder,
) -> Hint {
    let ((), found) = hint.view(spread, before, |key, rows, _| {
        let there = |(_, diff): &(&[u8], Diff)| *diff > 0;
        let ends = rows.up().find(there).zip(rows.down().find(there));
        if ends.is_none() && count == 0 {
            return;
        }
        let ends = ends.map(|((least, _), (greatest, _))| (value::<V>(least), value::<V>(greatest)));
        out.push_with(1, |bytes| {
            bytes.extend_from_slice(key);
            <Partial<V>>::write((count, sum.borrow(), ends), Place::Last, bytes);
        });
    });
    found
}

/// The aggregates of several workers, put together.
fn together<'s, K: Row, V: Number>(
    partial: Collection<'s, (K, Partial<V>)>,
    name: &str,
) -> Collection<'s, (K, Partial<V>)> {
    partial.arrange(name).reduce::<Partial<V>>(name, |_key, parts, out| {
        let mut whole: Partial<V> = (0, V::default(), None);
        for ((count, sum, ends), times) in parts {
            whole.0 += count * times;
            whole.1.add(sum, times);
            let ends = ends.map(|(least, greatest)| (V::to_owned(least), V::to_owned(greatest)));
            whole.2 = match (whole.2.take(), ends) {
                (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
                (one, other) => one.or(other),
            };
        }
        out.push(whole.borrow());
    })
}
