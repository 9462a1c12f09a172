//! Inputs: named streams of records.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::collection::{About, Collection, Snapshot};
use crate::decode::Decode;
use crate::flow::Flow;
use crate::format::debezium::{self, Events};
use crate::format::{
    Append, Binding, Envelope, Format, InputShape, Layout, Payload, Refine, Undecoded, Upserts, usual,
    without,
};
use crate::operators::{Map, Upsert};
use crate::record::Malformed;
use crate::rows::{DynRef, DynRow, Place, Row, Schema, decode};
use crate::source::source;

/// An input that is still records.
pub struct Input<'s> {
    flow: Flow<'s>,
    name: String,
    format: Option<Arc<dyn Format>>,
    envelope: Envelope,
    event_time: Option<String>,
}

impl<'s> Flow<'s> {
    /// The input of that name. What it is bound to is the command line's affair.
    ///
    /// # Panics
    /// If the dataflow has named this input before.
    #[track_caller]
    pub fn input(&self, name: &str) -> Input<'s> {
        self.take_input(name);
        Input::new(self.clone(), name)
    }
}

impl<'s> Input<'s> {
    fn new(flow: Flow<'s>, name: &str) -> Self {
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
        if let Some(format) = decoder.format() {
            self.flow.take_decoded(&self.name, format);
        }
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
        self.read(schema, layout, || usual(&R::kind()), false, None)
    }

    /// As [`Input::rows`], of rows that pass a check. A record whose row does not is a dead letter, with the reason that the
    /// check gives: one that begins with the column's name is best.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// # use cutwater_dataflows::testing::Test;
    /// #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    /// struct Ballot {
    ///     party: Text,
    ///     votes: i64,
    /// }
    ///
    /// let test = Test::building("votes", |flow| {
    ///     let votes = flow.input("votes").checked_rows::<Ballot>(|ballot| match ballot.votes {
    ///         0.. => Ok(()),
    ///         _ => Err(Malformed::because("votes: it is below 0")),
    ///     });
    ///     votes.output("votes", &["party"], &["votes"]);
    /// });
    /// let outcome = test.epoch([("votes", r#"{"party":"a","votes":5}"#), ("votes", r#"{"party":"b","votes":-5}"#)]).check();
    /// assert_eq!(outcome.rows("votes"), [r#"{"party":"a","votes":5}"#]);
    /// assert!(outcome.dead_letters().first().unwrap().contains("votes: it is below 0"));
    /// ```
    ///
    /// # Panics
    /// If the format can't fill the row's columns.
    #[track_caller]
    pub fn checked_rows<R: Row>(
        self,
        mut check: impl for<'a> FnMut(R::Ref<'a>) -> Result<(), Malformed> + 'static,
    ) -> Collection<'s, R> {
        let refine: Refine = Box::new(move |row, out| {
            check(decode::<R>(row).map_err(|_| Malformed::because("the decoder has written another row"))?)?;
            out.extend_from_slice(row);
            Ok(())
        });
        let schema = Schema::of::<R>();
        let layout = Layout::new(&schema);
        self.read(schema, layout, || usual(&R::kind()), false, Some(refine))
    }

    /// As [`Input::rows`], for rows whose columns are known at run time: one value for each column of the schema, and those
    /// of structs within in their place.
    ///
    /// # Panics
    /// If the format can't fill the columns.
    #[track_caller]
    pub fn dyn_rows(self, schema: Schema) -> Collection<'s, DynRow> {
        let layout = Layout::dynamic(&schema);
        self.read(schema, layout, || Arc::new(crate::format::Json), false, None)
    }

    /// As [`Input::dyn_rows`], where each row is looked at before it counts: `logic` makes a row of it, or none, or says why
    /// its record is a dead letter, naming the column. Columns of text take numbers, times and truth values as well, as they
    /// are written ([`Format::open_as_text`]).
    ///
    /// It must depend on the row alone. With [`Envelope::Upsert`] and [`Envelope::Debezium`], a value that makes no row leaves its key without
    /// one.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// # use cutwater_dataflows::testing::Test;
    /// let test = Test::building("even", |flow| {
    ///     let column = Column::new("number", Kind::Text);
    ///     let schema = Schema { name: "numbers".into(), columns: vec![column], key: 0 };
    ///     let even = flow.input("numbers").refined::<i64>(schema, |row, out| {
    ///         let Some(Value::Text(number)) = row.get(0) else { return Err(Malformed::because("number: it is missing")) };
    ///         let number: i64 = number.parse().map_err(|_| Malformed::because("number: it is none"))?;
    ///         if number % 2 == 0 {
    ///             out.set(number);
    ///         }
    ///         Ok(())
    ///     });
    ///     even.output("even", &["number"], &[]);
    /// });
    /// let numbers = [r#"{"number": 4}"#, r#"{"number": 5}"#, r#"{"number": "six"}"#];
    /// let outcome = test.epoch(numbers.map(|number| ("numbers", number))).check();
    /// assert_eq!(outcome.rows("even"), [r#"{"number":4}"#]);
    /// assert_eq!(outcome.dead_letters().len(), 1);
    /// ```
    ///
    /// # Panics
    /// If the format can't fill the columns.
    #[track_caller]
    pub fn refined<R: Row>(
        self,
        schema: Schema,
        mut logic: impl FnMut(DynRef<'_>, &mut Refined<'_, R>) -> Result<(), Malformed> + 'static,
    ) -> Collection<'s, R> {
        let refine: Refine = Box::new(move |row, out| {
            let row = decode::<DynRow>(row)
                .map_err(|_| Malformed::because("the decoder has written another row"))?;
            let mut refined = Refined { begin: out.len(), out, is_set: false, row: PhantomData };
            logic(row, &mut refined)?;
            if refined.is_set { Ok(()) } else { Err(Undecoded::NoRow) }
        });
        let layout = Layout::dynamic(&schema);
        self.read(schema, layout, || Arc::new(crate::format::Json), true, Some(refine))
    }

    #[track_caller]
    fn read<R: Row>(
        self,
        schema: Schema,
        layout: Result<Layout, String>,
        usual: impl FnOnce() -> Arc<dyn Format>,
        as_text: bool,
        refine: Option<Refine>,
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
        let filled = without(&schema);
        let refused = |why: String| -> ! { panic!("input {name:?}, format {}: {why}", format.name()) };
        let layout = layout.unwrap_or_else(|why| refused(why));
        let state = format!("input {name}");
        flow.take_format(name, InputShape { format: format.name().to_owned(), envelope, schema, in_code });
        if envelope == Envelope::Debezium {
            let events = Events::open(&*format, &filled, as_text, layout, refine);
            let events = events.unwrap_or_else(|why| refused(why));
            let events = self.decoded(events);
            return debezium::stands::<R>(events, &state);
        }
        let decoder = if as_text { format.open_as_text(&filled) } else { format.open(&filled) };
        let decoder = decoder.unwrap_or_else(|why| refused(why));
        let payload = Payload { decoder, layout, refine, scratch: Vec::new() };
        match envelope {
            Envelope::Upsert => {
                let updates = self.decoded(Upserts::<R> { payload, row: PhantomData });
                updates.upsert(&state).map::<R>(|&(_key, row)| row)
            }
            _ => self.decoded(Append { payload, row: PhantomData }),
        }
    }
}

/// Takes the row that is made of one in [`Input::refined`].
pub struct Refined<'a, R> {
    begin: usize,
    out: &'a mut Vec<u8>,
    is_set: bool,
    row: PhantomData<fn(R)>,
}

impl<R: Row> Refined<'_, R> {
    /// The row that is made. A second one replaces it.
    pub fn set(&mut self, row: R::Ref<'_>) {
        self.out.truncate(self.begin);
        R::write(row, Place::Last, self.out);
        self.is_set = true;
    }
}
