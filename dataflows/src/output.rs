//! Outputs: named results of a dataflow.

use timely::dataflow::Stream;

use crate::Epoch;
use crate::collection::Collection;
use crate::dataflow::OutputShape;
use crate::flat::FlatBatch;
use crate::rows::{Row, Schema};

/// A named output: its changes.
pub struct Output<'s> {
    /// Its name and columns.
    pub shape: OutputShape,
    /// Its changes, on the worker that made them: with what precedes the first epoch, at time 0, if told so.
    pub changes: Box<dyn FnOnce(bool) -> Stream<'s, Epoch, FlatBatch> + 's>,
}

impl<'s, R: Row> Collection<'s, R> {
    /// Hands the collection out under `name`. `key` names the columns that tell one row from another, which
    /// come first, and `value` the others.
    ///
    /// # Panics
    /// If the dataflow has an output of that name, or the columns are not as many as the row's, or no key
    /// column is named.
    #[track_caller]
    pub fn output(self, name: &str, key: &[&str], value: &[&str]) {
        let schema = match Schema::of::<R>().named(key, value) {
            Ok(schema) if schema.key > 0 => schema,
            Ok(_) => panic!("output {name:?} names no key column"),
            Err(why) => panic!("output {name:?}: {why}"),
        };
        let shape = OutputShape {
            name: name.to_owned(),
            restorable: self.about().restorable,
            unique: self.about().unique.is_some_and(|columns| columns <= schema.key),
            schema,
        };
        let flow = self.flow().clone();
        let changes = Box::new(
            move |snapshot: bool| {
                if snapshot { self.changes() } else { self.changes_after_snapshot() }
            },
        );
        flow.take_output(Output { shape, changes });
    }
}
