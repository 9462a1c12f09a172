//! Gives each row as often as a function of its count says.

use std::rc::Rc;

use timely::dataflow::Stream;

use crate::arrange::{Batch, Probe, arrange};
use crate::collection::{Collection, Snapshot};
use crate::flat::FlatBatch;
use crate::key::{KeyOf, Whole};
use crate::operators::batches::{Came, each_batch};
use crate::operators::exchange::Exchange;
use crate::operators::map::ENCODED;
use crate::operators::timed::Timed;
use crate::rows::{Row, decode};
use crate::{Diff, Epoch};

/// Gives each row as often as a function of its count says.
pub trait Threshold<'s, R: Row> {
    /// Each row as often as `often` says, given the row and how often it is there, which is never zero: a row that is not
    /// there, is not in the result. Costs what [`Count::count`](crate::operators::Count::count) does.
    fn threshold(self, often: impl for<'a> FnMut(R::Ref<'a>, Diff) -> Diff + 'static) -> Self;

    /// Each row that is there at least once, once.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// fn users<'s>(views: Collection<'s, (Text, Text)>) -> Collection<'s, Text> {
    ///     views.map::<Text>(|&(user, _page)| user).persist("users").distinct()
    /// }
    /// ```
    fn distinct(self) -> Self;
}

impl<'s, R: Row> Threshold<'s, R> for Collection<'s, R> {
    fn threshold(self, mut often: impl for<'a> FnMut(R::Ref<'a>, Diff) -> Diff + 'static) -> Self {
        let mut often = move |row: &[u8], count| match count {
            0 => 0,
            count => often(decode::<R>(row).expect(ENCODED), count),
        };
        of_counts(self, "Threshold", move |row, old, new| often(row, new) - often(row, old))
    }

    fn distinct(self) -> Self {
        let columns = crate::rows::Schema::of::<R>().columns.len();
        let once = |count| Diff::from(count > 0);
        of_counts(self, "Distinct", move |_, old, new| once(new) - once(old)).unique_by(columns)
    }
}

/// The rows, each by so much as `change` says of its old and new count.
fn of_counts<'s, R: Row>(
    rows: Collection<'s, R>,
    name: &'static str,
    mut change: impl FnMut(&[u8], Diff, Diff) -> Diff + 'static,
) -> Collection<'s, R> {
    let flow = rows.flow().clone();
    rows.remembered_by(name);
    let snapshot = Snapshot::made();
    let rows = rows.exchange();
    let placed = rows.about().placed;
    let changes =
        accumulated::<Whole>(rows.changes(), name, snapshot.clone(), move |row, old, new, epoch, out| {
            let diff = change(row, old, new);
            out.push_with(epoch, diff, |bytes| bytes.extend_from_slice(row));
        });
    let made = flow.made(changes, snapshot);
    let about = crate::collection::About { placed, ..made.about().clone() };
    made.with(about)
}

/// Rows that are looked for at a time.
const PROBES: usize = 1 << 10;

/// Arranges rows where they are, and tells `changed` of each row whose count changes: the row, its old and new count, and
/// the epoch. The method is that of differential's `count_total`: epochs are in order, so the new count is the old one and
/// what has come, and there is no need to look at another time.
///
/// The changes at time 0 are told only if the snapshot is wanted.
pub(crate) fn accumulated<'s, H: KeyOf>(
    rows: Stream<'s, Epoch, FlatBatch>,
    name: &'static str,
    snapshot: Snapshot,
    mut changed: impl FnMut(&[u8], Diff, Diff, Epoch, &mut Timed) + 'static,
) -> Stream<'s, Epoch, FlatBatch> {
    let arranged = arrange::<H>(rows, &format!("Arrange: {name}"));
    each_batch(arranged, name, snapshot, move |came, changes, give| {
        if !came.is_wanted() {
            return;
        }
        let Came { batch, before, first } = came;
        each_change(batch, &before, |row, old, new, epoch| {
            if epoch >= first {
                changed(row, old, new, epoch, changes);
                changes.give_full(&mut *give);
            }
        });
    })
}

/// Tells each change that a batch makes to the counts of those before it: the row, the old and the new count, the epoch.
fn each_change(batch: &Batch, before: &[Rc<Batch>], mut change: impl FnMut(&[u8], Diff, Diff, Epoch)) {
    let (mut probes, mut starts) = (Vec::with_capacity(PROBES), Vec::with_capacity(PROBES + 1));
    let mut sums = Vec::with_capacity(PROBES);
    let mut index = 0;
    while index < batch.len() {
        probes.clear();
        starts.clear();
        while index < batch.len() && probes.len() < PROBES {
            let update = batch.update(index);
            starts.push(index);
            probes.push(Probe { hash: update.hash, row: update.row });
            index += 1;
            while index < batch.len() && {
                let next = batch.update(index);
                next.hash == update.hash && next.row == update.row
            } {
                index += 1;
            }
        }
        starts.push(index);
        sums.clear();
        sums.resize(probes.len(), 0);
        before.iter().for_each(|before| before.sum(&probes, &mut sums));
        for (updates, count) in starts.windows(2).zip(&mut sums) {
            for index in updates[0]..updates[1] {
                let update = batch.update(index);
                change(update.row, *count, *count + update.diff, update.time);
                *count += update.diff;
            }
        }
    }
}
