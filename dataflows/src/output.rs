//! Outputs: named results of a dataflow.

use crate::collection::{About, Collection};
use crate::rows::{DynRow, Kind, Row, Schema};
pub use crate::shape::Output;
use crate::shape::{OutputShape, Unique};

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
        self.hand_out(name, schema);
    }

    /// Says that rows are only ever added: what sinks get of the output then is `append`, where nothing else is said. A
    /// withdrawal ends the run.
    pub fn appended(self) -> Self {
        let about = About { appended: true, ..self.about().clone() };
        self.with(about)
    }

    /// Says that it matters to readers which records a row comes of: each record of a Kafka topic then has the header
    /// `offsets`, which says from where to where the row's epoch was read, as `Cutwater-Offsets` of a webhook's POSTs does. It
    /// costs up to 2,000 bytes a record, so it is for outputs with few rows: alarms, not counts.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// fn alarms<'s>(found: Collection<'s, (Text, i64)>) {
    ///     found.with_offsets().output("alarms", &["source"], &["events"]);
    /// }
    /// # use cutwater_dataflows::testing::Test;
    /// # let shape = Test::building("a", |flow| alarms(flow.input("events").rows::<(Text, i64)>())).shape();
    /// # assert!(shape.outputs[0].with_offsets);
    /// ```
    pub fn with_offsets(self) -> Self {
        let about = About { with_offsets: true, ..self.about().clone() };
        self.with(about)
    }

    fn hand_out(self, name: &str, schema: Schema) {
        let shape = OutputShape {
            name: name.to_owned(),
            restorable: self.about().restorable,
            unique: match self.about().unique {
                Some(columns) if columns <= schema.key => Unique::ByKey,
                Some(columns) => Unique::ByMore(columns),
                None => Unique::Unknown,
            },
            appends: self.about().appended,
            with_offsets: self.about().with_offsets,
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

impl<'s> Collection<'s, DynRow> {
    /// As [`Collection::output`], of rows whose columns are known at run time: those of `schema`, each of them
    /// [`Kind::Any`], of which some are the key.
    ///
    /// # Panics
    /// If the dataflow has an output of that name, or `schema` has no key, or a column of another kind.
    #[track_caller]
    pub fn dyn_output(self, name: &str, schema: Schema) {
        assert!(schema.key > 0, "output {name:?} names no key column");
        if let Some(column) = schema.columns.iter().find(|column| column.kind != Kind::Any) {
            panic!(
                "output {name:?}: column {:?} of a dynamic row says its type itself: it has to be any",
                column.name
            );
        }
        self.hand_out(name, schema);
    }
}
