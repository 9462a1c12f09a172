//! Collections: rows that change with the epochs.

use std::any::TypeId;
use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::Epoch;
use crate::flat::{FlatBatch, FlatBuilder};
use crate::flow::Flow;
use crate::rows::Row;

/// Rows that change with the epochs: at each epoch, some appear and some are withdrawn.
///
/// A collection is a stream of [`FlatBatch`]es on each worker, each of one epoch, which say what changes. Rows stay
/// encoded, and operators read them in place. Cloning one costs nothing: several operators may read it.
pub struct Collection<'s, R: Row> {
    flow: Flow<'s>,
    changes: Stream<'s, Epoch, FlatBatch>,
    about: About,
    snapshot: Snapshot,
    row: PhantomData<fn() -> R>,
}

impl<R: Row> Clone for Collection<'_, R> {
    fn clone(&self) -> Self {
        Collection {
            flow: self.flow.clone(),
            changes: self.changes.clone(),
            about: self.about.clone(),
            snapshot: self.snapshot.clone(),
            row: PhantomData,
        }
    }
}

/// What is known of a collection when it is built.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// On which worker a row is.
    pub(crate) placed: Placed,
    /// True iff equal rows of a worker and epoch are one change.
    pub(crate) net: bool,
    /// True iff a restart has all its rows: it is made of persisted collections alone.
    pub(crate) restorable: bool,
    /// So many columns, the first ones, tell one row from another: no two rows agree in them, and none is there twice.
    pub(crate) unique: Option<usize>,
    /// Its author says that no row is ever withdrawn.
    pub(crate) appended: bool,
    /// Its author says that rows leave with the offsets that they were read from.
    pub(crate) with_offsets: bool,
}

/// On which worker a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Placed {
    /// On any.
    #[default]
    Anywhere,
    /// On the one that the hash of a key says.
    By(TypeId),
}

impl Placed {
    /// On the worker that the key's hash says.
    pub(crate) fn by<K: crate::key::KeyOf>() -> Self {
        Placed::By(TypeId::of::<K>())
    }
}

/// Whether somebody takes a collection's snapshot, the rows that precede the first epoch, at time 0. They have been
/// published, and an output leaves them out, so an operator that makes them of restored rows can spare itself the work.
/// Known when the dataflow is built.
#[derive(Clone, Default)]
pub struct Snapshot(Rc<[Rc<Cell<bool>>]>);

impl Snapshot {
    /// That of an operator which makes a snapshot if it is wanted.
    pub fn made() -> Self {
        Snapshot(Rc::new([Rc::default()]))
    }

    /// That of an operator which hands on what it is given of several inputs.
    pub fn of<'a>(inputs: impl IntoIterator<Item = &'a Snapshot>) -> Self {
        Snapshot(inputs.into_iter().flat_map(|input| input.0.iter().cloned()).collect())
    }

    /// Somebody takes it.
    pub fn want(&self) {
        self.0.iter().for_each(|wanted| wanted.set(true));
    }

    /// True iff somebody takes it. Ask when the operator runs: when it is built, those who may are not.
    pub fn is_wanted(&self) -> bool {
        self.0.iter().any(|wanted| wanted.get())
    }
}

impl<'s, R: Row> Collection<'s, R> {
    pub(crate) fn new(
        flow: Flow<'s>,
        changes: Stream<'s, Epoch, FlatBatch>,
        about: About,
        snapshot: Snapshot,
    ) -> Self {
        Collection { flow, changes, about, snapshot, row: PhantomData }
    }

    /// The flow it is part of.
    pub fn flow(&self) -> &Flow<'s> {
        &self.flow
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The same rows, of which this is known.
    pub(crate) fn with(self, about: About) -> Self {
        Collection { about, ..self }
    }

    /// Says that the first `columns` columns, those of tuples and structs within counted one by one, tell one row from another: no
    /// two rows agree in them, and none is there twice. An output of these rows whose key has all of them is not checked for
    /// that with `upserts`, which takes 24 to 48 bytes of memory a key. Operators that know it of their rows say so themselves; what
    /// `map` makes of them is not known.
    ///
    /// It costs nothing. Where it is not true, a sink with `upserts` may be left with another row of a key than the last one:
    /// [`Test`](crate::testing::Test) looks.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// When and on what page each user was last seen: a row a user.
    /// fn seen<'s>(views: Collection<'s, (Text, (Timestamp, Text))>) {
    ///     let seen = views.latest("seen").map::<(Text, Text)>(|&(user, (_at, page))| (user, page));
    ///     seen.unique_by(1).output("seen", &["user"], &["page"]);
    /// }
    /// # use cutwater_dataflows::testing::Test;
    /// # let shape = Test::building("seen", |flow| {
    /// #     seen(flow.input("views").rows::<(Text, Timestamp, Text)>().map(|&(user, at, page)| (user, (at, page))));
    /// # }).shape();
    /// # assert_eq!(shape.outputs[0].unique, cutwater_dataflows::Unique::ByKey);
    /// ```
    pub fn unique_by(mut self, columns: usize) -> Self {
        self.about.unique = Some(columns);
        self
    }

    /// The rows that a timely operator of one's own makes of these: on encoded rows, each batch at its epoch, the snapshot at
    /// time 0. What it hands on must be rows of `R2`'s encoding, at the epoch of those that they are made of. If it
    /// remembers rows, say so first with [`Collection::remembered_by`]: without that, the snapshot may be missing.
    ///
    /// ```
    /// # use cutwater_dataflows::{flat::FlatBatch, prelude::*};
    /// use timely::container::CapacityContainerBuilder;
    /// use timely::dataflow::{channels::pact::Pipeline, operators::Operator as _};
    ///
    /// /// The same rows: batches are handed on as they are.
    /// fn same<'s>(words: Collection<'s, Text>) -> Collection<'s, Text> {
    ///     words.through(|changes| {
    ///         changes.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "Same", |_, _| {
    ///             |input, output| {
    ///                 input.for_each(|capability, batch| output.session(&capability).give_container(batch));
    ///             }
    ///         })
    ///     })
    /// }
    /// ```
    pub fn through<R2: Row>(
        self,
        operator: impl FnOnce(Stream<'s, Epoch, FlatBatch>) -> Stream<'s, Epoch, FlatBatch>,
    ) -> Collection<'s, R2> {
        let about = About { restorable: self.about.restorable, ..About::default() };
        Collection::new(self.flow, operator(self.changes), about, self.snapshot)
    }

    /// The changes, for what is no operator on one collection: as [`Collection::through`] has them.
    /// [`Flow::collection_of`] is the way back.
    pub fn changes(self) -> Stream<'s, Epoch, FlatBatch> {
        self.snapshot.want();
        self.changes
    }

    /// The changes, where it is not known yet whether the snapshot is wanted.
    pub(crate) fn into_changes(self) -> Stream<'s, Epoch, FlatBatch> {
        self.changes
    }

    /// As [`Collection::changes`], without the snapshot.
    pub fn changes_after_snapshot(self) -> Stream<'s, Epoch, FlatBatch> {
        skip_snapshot(self.changes)
    }

    /// Notes that an operator remembers rows of this collection, so that it is given the snapshot. A run that keeps state
    /// refuses to start where the rows are not made of persisted ones alone: they would be lost in a restart.
    pub fn remembered_by(&self, operator: &str) {
        self.snapshot.want();
        if !self.about.restorable {
            self.flow.note_unpersisted(operator);
        }
    }

    /// Applies an operator that looks at one batch at a time, remembers none, and makes the rows of an epoch of those of
    /// the same epoch alone. It must be linear: what it makes of two batches is what it makes of each.
    ///
    /// This is what [`Map`](crate::operators::Map), [`Filter`](crate::operators::Filter) and their like are made of.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// # use cutwater_dataflows::rows::decode;
    /// /// Each word as often as it has letters.
    /// fn by_length<'s>(words: Collection<'s, Text>) -> Collection<'s, Text> {
    ///     words.linear("ByLength", |batch, out| {
    ///         for (row, diff) in batch.iter() {
    ///             out.push_encoded(row, diff * row.len() as i64);
    ///         }
    ///     })
    /// }
    /// ```
    pub fn linear<R2: Row>(
        self,
        name: &str,
        mut logic: impl FnMut(&FlatBatch, &mut FlatBuilder) + 'static,
    ) -> Collection<'s, R2> {
        self.through(|changes| {
            changes.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, name, move |_, _| {
                let mut out = FlatBuilder::default();
                move |input, output| {
                    input.for_each(|capability, batch| {
                        logic(batch, &mut out);
                        let mut session = output.session(&capability);
                        out.finish(|made| session.give_container(made));
                    });
                }
            })
        })
    }
}

impl<'s> Flow<'s> {
    /// A collection that an operator of one's own hands on, encoded, of several collections or none: for one, there is
    /// [`Collection::through`]. What it made of
    /// [`Collection::changes`] must be at the epoch of those, and rows of `R`'s encoding.
    ///
    /// A restart is taken to have all its rows. So call [`Collection::remembered_by`] on what it is made of, also where the
    /// operator remembers none: those after it may.
    pub fn collection_of<R: Row>(&self, changes: Stream<'s, Epoch, FlatBatch>) -> Collection<'s, R> {
        self.made(changes, Snapshot::default())
    }

    /// A collection that an operator hands on, which makes its snapshot if that is wanted. The operator that remembered rows which are
    /// not persisted has been noted.
    pub(crate) fn made<R: Row>(
        &self,
        changes: Stream<'s, Epoch, FlatBatch>,
        snapshot: Snapshot,
    ) -> Collection<'s, R> {
        let about = About { restorable: true, ..About::default() };
        Collection::new(self.clone(), changes, about, snapshot)
    }
}

/// The changes of epochs, without the snapshot at time 0.
fn skip_snapshot<'s>(changes: Stream<'s, Epoch, FlatBatch>) -> Stream<'s, Epoch, FlatBatch> {
    changes.unary::<CapacityContainerBuilder<FlatBatch>, _, _, _>(Pipeline, "SkipSnapshot", |_, _| {
        |input, output| {
            input.for_each(|capability, batch| {
                if capability.least().is_some_and(|&epoch| epoch > 0) {
                    output.session(&capability).give_container(batch);
                }
            });
        }
    })
}
