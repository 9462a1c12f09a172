//! Counts how often each row occurs.

use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::trace::TraceReader;
use timely::container::{CapacityContainerBuilder, SizableContainer};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;
use timely::progress::Antichain;

use crate::arrange::{Batch, Probe, arrange};
use crate::flat::FlatBatch;
use crate::flow::{Before, Collection};
use crate::operators::exchange::exchange;
use crate::rows::{Damaged, Row, Schema, order};
use crate::{Diff, Epoch};

/// Rows that are looked for at a time.
const PROBES: usize = 1 << 10;

impl<'s, R: Row> Collection<'s, R> {
    /// The distinct rows, each with the number of its occurrences.
    ///
    /// Equal rows are summed on each worker before they are exchanged, and the sums are kept in an
    /// arrangement: an epoch costs what changed in it. The trace is compacted to the last complete epoch.
    pub fn count(self) -> Collection<'s, (R, i64)> {
        let flow = self.flow().clone();
        self.remembered_by("count");
        let before = Before::default();
        let counts = count(exchange(self), R::inner, Before::clone(&before));
        flow.encoded(counts, before).determined_by(Some(Schema::of::<R>().columns.len()))
    }
}

/// Arranges encoded rows and counts them: for each row that changed, its old count goes and its new one comes. The
/// method is that of differential's `count_total`.
///
/// The counts at time 0 are made only if `before` says that somebody takes them.
fn count<'s>(
    rows: Stream<'s, Epoch, FlatBatch>,
    inner: Inner,
    before: Before,
) -> Stream<'s, Epoch, FlatBatch> {
    let arranged = arrange(rows, "Arrange: count");
    let mut trace = arranged.trace.clone();
    arranged.stream.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Count", move |_, _| {
        // All batches below it have been counted.
        let mut counted = Antichain::from_elem(Epoch::MIN);
        let mut changes =
            Changes { of_epoch: BTreeMap::new(), first: Epoch::MIN, encoded: Vec::new(), inner };
        move |input, output| {
            input.for_each(|capability, spans| {
                for span in spans.drain(..) {
                    let taken = |batch: &&Rc<Batch>| before.get() || batch.last() > Epoch::MIN;
                    changes.first = Epoch::from(!before.get());
                    if let Some(batch) = span.inner.as_ref().filter(taken) {
                        let before = trace.batches_through(counted.borrow());
                        let before = before.expect("the trace is compacted to what was counted");
                        changes.of(batch, &before, &mut |epoch, batch| {
                            output.session(&capability.delayed(&epoch, 0)).give_container(batch);
                        });
                    }
                    counted.clone_from(span.upper());
                }
            });
            trace.advance_upper(&mut counted);
            trace.set_logical_compaction(counted.borrow());
            trace.set_physical_compaction(counted.borrow());
        }
    })
}

/// See [`Row::inner`].
type Inner = fn(&[u8], &mut Vec<u8>) -> Result<(), Damaged>;

/// Changes of counts, by epoch.
struct Changes {
    of_epoch: BTreeMap<Epoch, FlatBatch>,
    /// Those of epochs before it are not wanted.
    first: Epoch,
    encoded: Vec<u8>,
    inner: Inner,
}

impl Changes {
    /// Gives the changes that a batch makes to the counts of those before it.
    fn of(&mut self, batch: &Batch, before: &[Rc<Batch>], give: &mut dyn FnMut(Epoch, &mut FlatBatch)) {
        let (mut probes, mut starts) = (Vec::with_capacity(PROBES), Vec::with_capacity(PROBES + 1));
        let mut index = 0;
        while index < batch.len() {
            probes.clear();
            starts.clear();
            while index < batch.len() && probes.len() < PROBES {
                let update = batch.update(index);
                starts.push(index);
                probes.push(Probe { hash: update.hash, row: update.row });
                index += 1;
                while index < batch.len()
                    && batch.update(index).hash == update.hash
                    && batch.update(index).row == update.row
                {
                    index += 1;
                }
            }
            starts.push(index);
            let mut sums = vec![0; probes.len()];
            before.iter().for_each(|before| before.sum(&probes, &mut sums));
            for (updates, mut count) in starts.windows(2).zip(sums) {
                for index in updates[0]..updates[1] {
                    let update = batch.update(index);
                    self.push(update.time, update.row, count, -1, give);
                    count += update.diff;
                    self.push(update.time, update.row, count, 1, give);
                }
            }
        }
        for (epoch, mut changes) in std::mem::take(&mut self.of_epoch) {
            if !changes.is_empty() {
                give(epoch, &mut changes);
            }
        }
    }

    fn push(
        &mut self,
        epoch: Epoch,
        row: &[u8],
        count: i64,
        diff: Diff,
        give: &mut dyn FnMut(Epoch, &mut FlatBatch),
    ) {
        if count == 0 || epoch < self.first {
            return;
        }
        self.encoded.clear();
        (self.inner)(row, &mut self.encoded).expect("rows of a collection are encoded rows");
        order::write_i64(count, &mut self.encoded);
        let changes = self.of_epoch.entry(epoch).or_default();
        changes.push(&self.encoded, diff);
        if changes.at_capacity() {
            give(epoch, changes);
            changes.clear();
        }
    }
}
