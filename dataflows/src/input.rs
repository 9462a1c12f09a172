//! Inputs: named streams of records.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::collection::{About, Collection, Snapshot};
use crate::decode::Decode;
use crate::flow::Flow;
use crate::format::{Append, Binding, Envelope, Format, InputShape, Layout, Payload, Upserts, usual};
use crate::operators::{Map, Upsert};
use crate::rows::{DynRow, Row, Schema};
use crate::source::source;

/// An input that is still records.
pub struct Input<'s> {
    flow: Flow<'s>,
    name: String,
    format: Option<Arc<dyn Format>>,
    envelope: Envelope,
    event_time: Option<String>,
}

impl<'s> Input<'s> {
    pub(crate) fn new(flow: Flow<'s>, name: &str) -> Self {
        Input { flow, name: name.to_owned(), format: None, envelope: Envelope::default(), event_time: None }
    }

    /// Decodes the records by code of the dataflow's own. Equal rows of a worker and epoch are summed before they go
    /// anywhere.
    ///
    /// # Panics
    /// If a format, an envelope or a column of event time was named: those are for [`Input::rows`].
    #[track_caller]
    pub fn decode<D: Decode>(self, decoder: D) -> Collection<'s, D::Row> {
        assert!(
            self.format.is_none() && self.envelope == Envelope::default() && self.event_time.is_none(),
            "input {:?} has a decoder of its own: format, envelope and event_time are for `rows`",
            self.name
        );
        self.decoded(decoder)
    }

    fn decoded<D: Decode>(self, decoder: D) -> Collection<'s, D::Row> {
        let driver = self.flow.driver(&self.name);
        let source = source(self.flow.scope(), &self.name, driver, decoder, self.flow.time().limits());
        self.flow.take_source(source.dead_letters, source.reports);
        let about = About { net: true, ..About::default() };
        Collection::new(self.flow, source.rows, about, Snapshot::default())
    }

    /// Binds the input to a format, which the command line can't change then.
    pub fn format(self, format: impl Format) -> Self {
        Input { format: Some(Arc::new(format)), ..self }
    }

    /// What a record means where the command line does not say it; [`Envelope::Append`] without this.
    pub fn envelope(self, envelope: Envelope) -> Self {
        Input { envelope, ..self }
    }

    /// Takes the event time from a column of timestamps, by its name; `a.b` is column `b` of struct `a`. Without this, and
    /// where the column is missing, it is the record's timestamp.
    pub fn event_time(self, column: &str) -> Self {
        Input { event_time: Some(column.to_owned()), ..self }
    }

    /// The rows that the input's format and envelope make of its records. `--format` binds them; else the format is `text`
    /// for rows of one [`Text`](crate::rows::Text) and `json` for others, and the envelope as [`Input::envelope`] says.
    ///
    /// With [`Envelope::Append`], equal rows of a worker and epoch are summed before they go anywhere. With
    /// [`Envelope::Upsert`], the newest value of each record key is held, and survives restarts under the name `input NAME`:
    /// a key costs its bytes and those of its row.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// # use cutwater_dataflows::testing::{Sample, Test};
    /// /// What belongs where: a table.
    /// #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    /// struct Product {
    ///     #[row(key)]
    ///     product: Text,
    ///     category: Text,
    /// }
    ///
    /// let test = Test::building("products", |flow| {
    ///     let products = flow.input("products").envelope(Envelope::Upsert).rows::<Product>();
    ///     products.output("products", &["product"], &["category"]);
    /// });
    /// let (nut, bolt) = (r#"{"product":"nut","category":"iron"}"#, r#"{"product":"bolt","category":"iron"}"#);
    /// let outcome = test
    ///     .epoch([("products", ("1", nut)), ("products", ("2", bolt))])
    ///     .restart()
    ///     .epoch([("products", Sample { key: Some("1".into()), ..Sample::default() })])
    ///     .check();
    /// assert_eq!(outcome.changes_of("products", 2), [format!("-1 {nut}")]);
    /// assert_eq!(outcome.rows("products"), [bolt]);
    /// ```
    ///
    /// # Panics
    /// If the format can't fill the row's columns.
    #[track_caller]
    pub fn rows<R: Row>(self) -> Collection<'s, R> {
        let schema = Schema::of::<R>();
        let layout = Layout::new(&schema);
        self.read(schema, layout, || usual(&R::kind()))
    }

    /// As [`Input::rows`], for rows whose columns are known at run time: one value for each column of the schema, and those
    /// of structs within in their place.
    ///
    /// # Panics
    /// If the format can't fill the columns.
    #[track_caller]
    pub fn dyn_rows(self, schema: Schema) -> Collection<'s, DynRow> {
        let layout = Layout::dynamic(&schema);
        self.read(schema, layout, || Arc::new(crate::format::Json))
    }

    #[track_caller]
    fn read<R: Row>(
        self,
        schema: Schema,
        layout: Result<Layout, String>,
        usual: impl FnOnce() -> Arc<dyn Format>,
    ) -> Collection<'s, R> {
        let Input { flow, name, .. } = &self;
        let bound = flow.binding(name);
        let in_code = self.format.is_some();
        let envelope = bound.as_ref().and_then(|bound| bound.envelope).unwrap_or(self.envelope);
        let format = self.format.clone().or_else(|| bound.map(|Binding { format, .. }| format));
        let format = format.unwrap_or_else(usual);
        let layout = layout.and_then(|layout| match &self.event_time {
            Some(column) => layout.with_event_time(column),
            None => Ok(layout),
        });
        let payload = layout.and_then(|layout| Ok(Payload { decoder: format.open(&schema)?, layout }));
        let payload = match payload {
            Ok(payload) => payload,
            Err(why) => panic!("input {name:?}, format {}: {why}", format.name()),
        };
        flow.take_format(name, InputShape { format: format.name().to_owned(), envelope, schema, in_code });
        match envelope {
            Envelope::Append => self.decoded(Append { payload, row: PhantomData }),
            Envelope::Upsert => {
                let state = format!("input {name}");
                let updates = self.decoded(Upserts::<R> { payload, row: PhantomData });
                updates.upsert(&state).map::<R>(|&(_key, row)| row)
            }
        }
    }
}
