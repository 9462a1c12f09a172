//! Inputs that a format reads, through envelopes.

use std::collections::BTreeMap;
use std::sync::Arc;

use cutwater_dataflows::Build;
use cutwater_dataflows::format::{Decoder, Json, RowWriter, Undecoded, bound, formats};
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::rows::Value;
use cutwater_dataflows::testing::{Given, Sample, Test};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Who views what.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct View {
    #[row(key)]
    user: Text,
    page: Option<Text>,
    at: Option<Timestamp>,
}

fn views() -> Test {
    Test::building("views", |flow| {
        let views = flow.input("views").event_time("at").rows::<View>();
        views.output("views", &["user", "page", "at"], &[]);
        flow.clock().output("clock", &["watermark"], &["closed"]);
    })
}

fn sample(key: Option<&str>, value: Option<&str>) -> Sample {
    Sample { key: key.map(Into::into), value: value.map(Into::into), timestamp: Some(5) }
}

fn reasons(letters: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let reason = |letter: &str| {
        let (_, rest) = letter.split_once(r#""reason":""#).expect("a dead letter has a reason");
        rest.split(r#"","key_base64""#).next().expect("it has an end").replace('\\', "")
    };
    letters.into_iter().map(|letter| reason(letter.as_ref())).collect()
}

#[test]
fn rows_are_those_of_the_records_and_the_rest_is_dead_letters() {
    let json = |text| sample(None, Some(text));
    let test = views()
        .epoch([
            ("views", json(r#"{"user":"a","page":"x"}"#)),
            ("views", json(r#"{"user":"a","page":"x","at":null}"#)),
            ("views", sample(None, None)),
            ("views", json(r#"{"user":"b","at":true}"#)),
            ("views", json("nonsense")),
        ])
        .epoch([("views", json(r#"{"user":"b","at":"1970-01-01T00:00:07Z"}"#))]);
    let outcome = test.check();
    let row = r#"{"user":"a","page":"x","at":null}"#;
    assert_eq!(outcome.rows("views"), [row, row, r#"{"user":"b","page":null,"at":"1970-01-01T00:00:07Z"}"#]);
    assert_eq!(
        reasons(outcome.dead_letters()),
        [
            "the value is null",
            "at: expected timestamp, found a truth value",
            "not JSON: expected ident at line 1 column 2"
        ]
    );
    // The record's timestamp where the column is missing, or else the column.
    let watermark = |epoch| outcome.changes_of("clock", epoch).last().cloned().unwrap();
    assert!(watermark(1).contains(r#""watermark":"1970-01-01T00:00:00.005Z""#), "{}", watermark(1));
    assert!(watermark(2).contains(r#""watermark":"1970-01-01T00:00:07Z""#), "{}", watermark(2));
}

#[test]
fn a_table_is_the_newest_value_of_each_key_through_restarts() {
    for seed in 0..20 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut test = views().format("views", Binding::new(Json).envelope(Envelope::Upsert));
        let mut table: BTreeMap<String, Option<String>> = BTreeMap::new();
        for _ in 0..random.random_range(1..6) {
            let mut records = Vec::new();
            for _ in 0..random.random_range(0..9) {
                let key = ["", "a", "b", "\0"][random.random_range(0..4)];
                let value = (random.random_range(0..3) > 0).then(|| {
                    let user = ["a", "b"][random.random_range(0..2)];
                    format!(r#"{{"user":"{user}","page":"{}","at":null}}"#, random.random_range(0..3))
                });
                records.push(("views", sample(Some(key), value.as_deref())));
                table.insert(key.to_owned(), value);
            }
            records.push(("views", sample(Some("a"), Some("nonsense"))));
            records.push(("views", sample(None, Some("{}"))));
            test = test.epoch(records);
            if random.random() {
                test = test.restart();
            }
        }
        let outcome = test.check();
        let mut rows: Vec<_> = table.into_values().flatten().collect();
        rows.sort();
        assert_eq!(outcome.rows("views"), rows, "seed {seed}");
        let reasons = reasons(outcome.dead_letters());
        let of = |text: &str| reasons.iter().filter(|reason| reason.starts_with(text)).count();
        assert!(of("not JSON") > 0 && of("the key is null, but an upsert goes by it") > 0, "{reasons:?}");
        assert_eq!(of("not JSON") + of("the key is null"), reasons.len(), "{reasons:?}");
    }
}

#[test]
fn lines_are_text_unless_another_format_is_bound() {
    let lines = || {
        Test::building("lines", |flow| {
            flow.input("lines").rows::<Text>().output("lines", &["line"], &[]);
        })
    };
    let outcome = lines().epoch([("lines", r#"{"0":"x"}"#)]).epoch([("lines", vec![0xff])]).check();
    assert_eq!(outcome.rows("lines"), [r#"{"line":"{\"0\":\"x\"}"}"#]);
    assert_eq!(reasons(outcome.dead_letters()), ["not UTF-8 from byte 0"]);
    let json = lines().format("lines", Binding::new(Json)).epoch([("lines", r#"{"0":"x"}"#)]);
    assert_eq!(json.check().rows("lines"), [r#"{"line":"x"}"#]);
}

/// Writes what its payload says, whether or not that is a row.
struct Told;

impl Format for Told {
    fn name(&self) -> &str {
        "told"
    }
    fn open(&self, _: &Schema) -> Result<Box<dyn Decoder>, String> {
        Ok(Box::new(Told))
    }
}

impl Decoder for Told {
    fn decode(&mut self, payload: &[u8], _: &Record<'_>, row: &mut RowWriter<'_>) -> Result<(), Undecoded> {
        for byte in payload {
            match byte {
                b't' => row.push(Value::Text("t"))?,
                b'n' => row.push(Value::Null)?,
                b'i' => row.push(Value::Int(1))?,
                b'!' => panic!("told to"),
                _ => row.present()?,
            }
        }
        Ok(())
    }
}

#[test]
fn a_decoder_that_writes_no_row_makes_dead_letters() {
    let test = Test::building("told", |flow| {
        // Code goes before the command line.
        flow.input("told").format(Told).rows::<View>().output("rows", &["user", "page", "at"], &[]);
    });
    let test = test.format("told", Binding::new(Json).envelope(Envelope::Append));
    let told = ["tnn", "n", "t", "tnnt", "tt", "tti", "p", "t!"].map(|told| ("told", told));
    let outcome = test.epoch(told).check();
    assert_eq!(outcome.rows("rows"), [r#"{"user":"t","page":null,"at":null}"#]);
    let mut reasons = reasons(outcome.dead_letters());
    reasons.sort();
    let place =
        reasons.iter().position(|reason| reason.starts_with("the decoder panicked: told to")).unwrap();
    reasons.remove(place);
    assert_eq!(
        reasons,
        [
            "at: expected timestamp, found an integer",
            "at: the decoder has written no value",
            "page: the decoder has written no value",
            "the decoder has written more values than there are columns",
            "user: expected text, found missing",
            "user: it has no columns within",
        ]
    );
}

/// Reads a table, and something else with a decoder of its own.
#[derive(clap::Args, Debug)]
struct Two {}

impl Dataflow for Two {
    const NAME: &'static str = "two";
    fn build(&self, flow: &Flow<'_>) {
        let edges = flow.input("edges").envelope(Envelope::Upsert).rows::<(Text, Text)>();
        edges.output("edges", &["a", "b"], &[]);
        flow.input("views").rows::<View>().output("views", &["user", "page", "at"], &[]);
    }
}

#[test]
fn the_shape_tells_how_inputs_are_read_and_what_survives() {
    let shape = Shape::of(&Two {}).unwrap();
    let shown = |shape: &Shape| shape.formats.iter().map(|(i, f)| format!("{i}={f}")).collect::<Vec<_>>();
    assert_eq!(shown(&shape), ["edges=json+upsert", "views=json+append"]);
    assert_eq!(shape.persisted, ["input edges"]);
    assert_eq!(shape.formats["views"].schema, Schema::of::<View>());
    assert!(shape.unpersisted_state.is_empty());
    let bind = |edges: &str, views: &str| {
        let parse = |text| Binding::parse(text, &formats()).unwrap();
        let bindings = [("edges".to_owned(), parse(edges)), ("views".to_owned(), parse(views))];
        Shape::of(&*bound(Arc::new(Two {}), bindings.into()))
    };
    let shape = bind("json", "json+upsert").unwrap();
    assert_eq!(shown(&shape), ["edges=json+upsert", "views=json+upsert"]);
    assert_eq!(shape.persisted, ["input edges", "input views"]);
    assert_eq!(shown(&bind("json+append", "json").unwrap()), ["edges=json+append", "views=json+append"]);
    let error = bind("text", "json").unwrap_err().to_string();
    assert!(error.contains("input \"edges\", format text: text fills one column, but"), "{error}");
    assert!(error.contains("(text, text) has 2"), "{error}");
}

#[test]
fn mistakes_are_said_when_the_dataflow_is_built() {
    type Code = fn(&Flow<'_>);
    #[derive(Debug)]
    struct Wrong(Code);
    impl Build for Wrong {
        fn name(&self) -> &'static str {
            "wrong"
        }
        fn build(&self, flow: &Flow<'_>) {
            (self.0)(flow);
        }
    }
    let cases: [(Code, &str); 5] = [
        (
            |flow| drop(flow.input("views").event_time("when").rows::<View>()),
            "there is no column \"when\" to be the event time",
        ),
        (
            |flow| drop(flow.input("views").event_time("user").rows::<View>()),
            "column \"user\" is to be the event time, but it is text",
        ),
        (|flow| drop(flow.input("views").rows::<(View, View)>()), "two columns are named \"user\""),
        (
            |flow| drop(flow.input("views").format(Json).decode(Given::<Text>::new())),
            "input \"views\" has a decoder of its own",
        ),
        (
            |flow| drop(flow.input("views").decode(Given::<Text>::new())),
            "input \"views\" is bound to a format, but none reads it",
        ),
    ];
    for (build, expected) in cases {
        let bindings = [("views".to_owned(), Binding::new(Json))];
        let error = Shape::of(&*bound(Arc::new(Wrong(build)), bindings.into())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
