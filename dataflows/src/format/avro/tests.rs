use std::collections::BTreeMap;
use std::sync::Mutex;

use apache_avro::types::Value as Avro;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::format::Binding;
use crate::prelude::{Envelope, Flow};
use crate::rows::{Bytes, Column, Decimal, Float, Kind, Row, Text, Timestamp, decode};
use crate::testing::{Sample, Test, decoded_row};

/// Schemas that are there, by their ids.
#[derive(Default)]
struct There(Mutex<BTreeMap<u32, Found>>);

impl Schemas for There {
    fn get(&self, id: u32) -> Found {
        let found = self.0.lock().unwrap().get(&id).cloned();
        found.unwrap_or(Found::Never("there is none".to_owned()))
    }
}

fn there(schemas: &[&str]) -> Arc<dyn Schemas> {
    let texts: Vec<String> = schemas.iter().map(|&text| text.to_owned()).collect();
    Arc::new(There(Mutex::new([(7, Found::There(texts.into()))].into())))
}

/// A datum of a schema in the wire's format, as apache-avro writes it.
fn wire(schemas: &[&str], value: Avro) -> Vec<u8> {
    let (last, others) = schemas.split_last().unwrap();
    let (schema, others) = apache_avro::Schema::parse_str_with_list(last, others.to_vec()).unwrap();
    let all: Vec<_> = others.iter().chain([&schema]).collect();
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema);
    let datum = writer.schemata(all).unwrap().build().unwrap().write_value_to_vec(value).unwrap();
    [&[0, 0, 0, 0, 7][..], &datum].concat()
}

fn read_as<R: Row>(schemas: &[&str], payload: &[u8]) -> Result<R, String> {
    read_with::<R>(there(schemas), payload)
}

fn read_with<R: Row>(schemas: Arc<dyn Schemas>, payload: &[u8]) -> Result<R, String> {
    read_columns(schemas, &Schema::of::<R>(), payload)
}

/// A row of one column `a`.
fn read_one<R: Row>(schema: &str, payload: &[u8]) -> Result<R, String> {
    read_columns(there(&[schema]), &column::<R>("a"), payload)
}

fn column<R: Row>(name: &str) -> Schema {
    Schema { name: "one".into(), columns: vec![Column::new(name, R::kind())], key: 0 }
}

fn read_columns<R: Row>(schemas: Arc<dyn Schemas>, schema: &Schema, payload: &[u8]) -> Result<R, String> {
    let (mut decoder, layout) = (Avro_::new(schemas).open(schema)?, Layout::new(schema)?);
    match decoded_row(&mut *decoder, &layout, payload) {
        Ok(row) => Ok(R::to_owned(decode::<R>(&row).expect("an encoded row"))),
        Err(Undecoded::Malformed(why)) => Err(why.0.into_owned()),
        Err(other) => Err(format!("{other:?}")),
    }
}

use super::Avro as Avro_;

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    zip: Option<i64>,
    town: Text,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Order {
    id: Text,
    price: Decimal<2>,
    fine: Option<Decimal<4>>,
    at: Timestamp,
    day: Option<Timestamp>,
    quantity: i64,
    weight: Float,
    paid: bool,
    colour: Option<Text>,
    raw: Option<Bytes>,
    home: Place,
    work: Option<Place>,
    note: Option<Text>,
}

/// The fields in another order than the columns, with others between them.
const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"quantity","type":"int"},
    {"name":"tags","type":{"type":"array","items":{"type":"map","values":["null","string"]}}},
    {"name":"home","type":{"type":"record","name":"Place","fields":[
        {"name":"town","type":"string"},{"name":"zip","type":["null","long"]}]}},
    {"name":"work","type":["null","Place"]},
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":3}},
    {"name":"fine","type":["null",{"type":"fixed","name":"F","size":6,"logicalType":"decimal","precision":10,"scale":1}]},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"paid","type":"boolean"},
    {"name":"list","type":["null",{"type":"record","name":"List","fields":[
        {"name":"next","type":["null","List"]},{"name":"n","type":"int"}]}]},
    {"name":"colour","type":{"type":"enum","name":"Colour","symbols":["red","green"]}},
    {"name":"weight","type":["float","long"]},
    {"name":"raw","type":{"type":"fixed","name":"Raw","size":2}},
    {"name":"id","type":"string"}]}"#;

fn order() -> Avro {
    let record = |fields: Vec<(&str, Avro)>| {
        Avro::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let place = |zip: Avro| record(vec![("town", Avro::String("Ulm".into())), ("zip", zip)]);
    let some = |branch, value| Avro::Union(branch, Box::new(value));
    let list = |next| record(vec![("next", next), ("n", Avro::Int(5))]);
    let tags = [("a".to_owned(), some(1, Avro::String("b".into())))].into();
    record(vec![
        ("quantity", Avro::Int(-3)),
        ("tags", Avro::Array(vec![Avro::Map(tags), Avro::Map(Default::default())])),
        ("home", place(some(0, Avro::Null))),
        ("work", some(1, place(some(1, Avro::Long(89_073))))),
        ("price", Avro::Decimal((-12_500_i64).to_be_bytes().to_vec().into())),
        ("fine", some(1, Avro::Decimal(15_i64.to_be_bytes()[2..].to_vec().into()))),
        ("at", Avro::TimestampMillis(1)),
        ("day", some(1, Avro::Date(2))),
        ("paid", Avro::Boolean(true)),
        ("list", some(1, list(some(1, list(some(0, Avro::Null)))))),
        ("colour", Avro::Enum(1, "green".into())),
        ("weight", some(1, Avro::Long(4))),
        ("raw", Avro::Fixed(2, vec![0xff, 0])),
        ("id", Avro::String("o-1".into())),
    ])
}

#[test]
fn what_avro_writes_is_read_by_the_names_of_the_columns() {
    let expected = Order {
        id: "o-1".into(),
        price: Decimal::from_units(-1250),
        fine: Some(Decimal::from_units(15_000)),
        at: Timestamp::from_micros(1_000),
        day: Some(Timestamp::from_micros(2 * 86_400_000_000)),
        quantity: -3,
        weight: 4.0.into(),
        paid: true,
        colour: Some("green".into()),
        raw: Some(Bytes::from(&[0xff, 0][..])),
        home: Place { zip: None, town: "Ulm".into() },
        work: Some(Place { zip: Some(89_073), town: "Ulm".into() }),
        note: None,
    };
    assert_eq!(read_as::<Order>(&[ORDER], &wire(&[ORDER], order())), Ok(expected));
}

#[test]
fn schemas_name_others_and_values_stand_alone() {
    let place = r#"{"type":"record","name":"P","namespace":"a","fields":[{"name":"town","type":"string"}]}"#;
    let outer = r#"{"type":"record","name":"O","namespace":"b","fields":[{"name":"home","type":"a.P"}]}"#;
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Outer {
        home: Place,
    }
    let value =
        Avro::Record(vec![("home".into(), Avro::Record(vec![("town".into(), Avro::String("Ulm".into()))]))]);
    let payload = wire(&[place, outer], value);
    let expected = Outer { home: Place { zip: None, town: "Ulm".into() } };
    assert_eq!(read_as::<Outer>(&[place, outer], &payload), Ok(expected));
    let text = wire(&[r#""string""#], Avro::String("a".into()));
    assert_eq!(read_as::<Text>(&[r#""string""#], &text), Ok("a".into()));
    let union = r#"["null","string"]"#;
    let null = wire(&[union], Avro::Union(0, Box::new(Avro::Null)));
    assert_eq!(read_as::<(Text, i64)>(&[union], &null), Err("expected a record".to_owned()));
}

/// A record of one field `a` of this type.
fn one(field: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{field}}}]}}"#)
}

fn why<T: Row>(field: &str, value: Avro) -> String {
    let schema = one(field);
    let payload = wire(&[&schema], Avro::Record(vec![("a".into(), value)]));
    match read_one::<T>(&schema, &payload) {
        Ok(_) => "it is read".to_owned(),
        Err(why) => why,
    }
}

#[test]
fn what_can_not_be_read_is_told_with_its_column() {
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":40,"scale":3}"#;
    let units = |units: i128| Avro::Decimal(units.to_be_bytes().to_vec().into());
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    let array = r#"{"type":"array","items":"int"}"#;
    assert_eq!(why::<i64>("\"string\"", Avro::String("secret".into())), "a: expected i64, found text");
    assert_eq!(why::<Text>("\"long\"", Avro::Long(7)), "a: expected text, found an integer");
    assert_eq!(why::<i64>(r#"["null","long"]"#, Avro::Union(0, Box::new(Avro::Null))), "a: it is null");
    assert_eq!(why::<i64>(array, Avro::Array(vec![])), "a: expected i64, found an array");
    assert_eq!(why::<Place>("\"long\"", Avro::Long(7)), "a: expected a record");
    assert_eq!(why::<Decimal<2>>(decimal, units(1001)), "a: it has more than 2 digits after the point");
    assert_eq!(why::<Decimal<38>>(decimal, units(i128::MAX)), "a: it is too large for a decimal of scale 38");
    assert_eq!(why::<Decimal<2>>("\"double\"", Avro::Double(f64::NAN)), "a: it is not a decimal number");
    assert_eq!(why::<Decimal<2>>("\"double\"", Avro::Double(0.1)), "it is read");
    assert_eq!(why::<Timestamp>(millis, Avro::TimestampMillis(i64::MAX)), "a: it is out of range");
    assert_eq!(why::<Timestamp>(millis, Avro::TimestampMillis(253_402_300_800_000)), "a: it is out of range");
    let date = r#"{"type":"int","logicalType":"date"}"#;
    assert_eq!(why::<Timestamp>(date, Avro::Date(2_932_897)), "a: it is out of range");
    assert_eq!(why::<Timestamp>(date, Avro::Date(2_932_896)), "it is read");
    assert_eq!(
        why::<Timestamp>("\"string\"", Avro::String("secret".into())),
        "a: it is not an RFC 3339 time"
    );
    assert_eq!(why::<Float>("\"double\"", Avro::Double(f64::NAN)), "it is read");
    let schema = one("\"int\"");
    let payload = wire(&[&schema], Avro::Record(vec![("a".into(), Avro::Int(7))]));
    let other = read_columns::<i64>(there(&[&schema]), &column::<i64>("b"), &payload);
    assert_eq!(other, Err("b: it is missing".to_owned()));
    let read = |payload: &[u8]| read_one::<i64>(&schema, payload).unwrap_err();
    assert_eq!(read(&payload[..5]), "a: it is cut off");
    assert_eq!(read(&[&payload[..], b"x"].concat()), "1 byte is left over");
    assert_eq!(read(&[&payload[..], b"xy"].concat()), "2 bytes are left over");
    assert_eq!(read(b"{}"), "it does not begin with 0 and the id of a schema");
    assert_eq!(read(&[0, 0, 0, 0, 8, 1]), "schema 8: there is none");
    assert_eq!(read_one::<i64>("secret", &payload), Err("schema 7: it is no schema of avro".to_owned()));
    assert_eq!(
        read(&[&[0, 0, 0, 0, 7][..], &[0xff; 10]].concat()),
        "a: it has a number of more than 64 bits"
    );
    let tuple = Avro_::new(there(&[])).open(&column::<(i64, i64)>("a")).err().unwrap();
    assert_eq!(tuple, "column \"a\" is a tuple, which no field of avro is");
    assert!(Avro_::default().open(&column::<i64>("a")).err().unwrap().contains("--schema-registry URL"));
}

#[test]
fn a_datum_that_is_cut_off_names_the_field_also_where_that_is_passed_over() {
    let place = r#"{"type":"record","name":"place","fields":[{"name":"town","type":"string"}]}"#;
    let schema = format!(
        r#"{{"type":"record","name":"r","fields":[{{"name":"a","type":"long"}},{{"name":"home","type":{place}}},{{"name":"b","type":"string"}}]}}"#
    );
    let why = |name: &str, datum: &[u8]| {
        let payload = [&[0, 0, 0, 0, 7][..], datum].concat();
        read_columns::<i64>(there(&[&schema]), &column::<i64>(name), &payload).unwrap_err()
    };
    assert_eq!(why("a", &[14, 4, b'x']), "home: it is cut off");
    assert_eq!(why("a", &[14, 2, b'x', 9]), "b: it has a length below zero");
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Home {
        home: Place,
    }
    let payload = [0, 0, 0, 0, 7, 14, 4, b'x'];
    assert_eq!(
        read_columns::<Home>(there(&[&schema]), &Schema::of::<Home>(), &payload).unwrap_err(),
        "home.town: it is cut off"
    );
}

#[test]
fn any_value_is_text_where_that_is_asked_for() {
    let text = |field: &str, value: Avro| {
        let schema = one(field);
        let payload = wire(&[&schema], Avro::Record(vec![("a".into(), value)]));
        let columns = vec![Column::new("a", Kind::Text)];
        let columns = Schema { name: "r".into(), columns, key: 0 };
        let layout = Layout::new(&columns).unwrap();
        let mut decoder = Avro_::new(there(&[&schema])).open_as_text(&columns).unwrap();
        let record = Record::of_value(Some(&payload));
        let mut out = Vec::new();
        decoder.decode(&payload, &record, &mut RowWriter::new(&layout, &mut out)).unwrap();
        String::from_utf8(out).unwrap()
    };
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#;
    assert_eq!(text(decimal, Avro::Decimal(vec![0xff].into())), "-0.01");
    assert_eq!(text("\"long\"", Avro::Long(i64::MIN)), i64::MIN.to_string());
    assert_eq!(text("\"boolean\"", Avro::Boolean(true)), "true");
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    assert_eq!(text(millis, Avro::TimestampMillis(0)), "1970-01-01T00:00:00Z");
}

#[test]
fn a_schema_that_is_on_its_way_is_waited_for() {
    let schema = one("\"int\"");
    let payload = wire(&[&schema], Avro::Record(vec![("a".into(), Avro::Int(7))]));
    let schemas = Arc::new(There(Mutex::new([(7, Found::NotYet)].into())));
    let read =
        || read_columns::<i64>(Arc::clone(&schemas) as Arc<dyn Schemas>, &column::<i64>("a"), &payload);
    assert_eq!(read(), Err("NotYet".to_owned()));
    schemas.0.lock().unwrap().insert(7, Found::There([schema.clone()].into()));
    assert_eq!(read(), Ok(7));
}

#[test]
fn changes_of_a_database_are_read_as_well() {
    let schema = r#"{"type":"record","name":"Envelope","fields":[
        {"name":"before","type":["null",{"type":"record","name":"Value","fields":[{"name":"id","type":"int"},{"name":"n","type":"int"}]}]},
        {"name":"after","type":["null","Value"]},
        {"name":"source","type":{"type":"record","name":"Source","fields":[
            {"name":"lsn","type":["null","long"]},{"name":"ts_ms","type":"long"}]}},
        {"name":"op","type":"string"}]}"#;
    let event = |id: u8, op: &str, lsn: i64, n: i32| {
        let row = |n| Avro::Record(vec![("id".into(), Avro::Int(1)), ("n".into(), Avro::Int(n))]);
        let after =
            if op == "d" { Avro::Union(0, Box::new(Avro::Null)) } else { Avro::Union(1, Box::new(row(n))) };
        let source = vec![
            ("lsn".into(), Avro::Union(1, Box::new(Avro::Long(lsn)))),
            ("ts_ms".into(), Avro::Long(lsn)),
        ];
        let value = Avro::Record(vec![
            ("before".into(), Avro::Union(0, Box::new(Avro::Null))),
            ("after".into(), after),
            ("source".into(), Avro::Record(source)),
            ("op".into(), Avro::String(op.into())),
        ]);
        // The id of the key's schema is another one each time.
        Sample { key: Some(vec![0, 0, 0, 0, id, 2]), value: Some(wire(&[schema], value)), timestamp: None }
    };
    let build = |flow: &Flow<'_>| flow.input("t").rows::<Account>().output("t", &["id"], &["n"]);
    let binding = Binding::new(Avro_::new(there(&[schema]))).envelope(Envelope::Debezium);
    let outcome = Test::building("t", build)
        .format("t", binding)
        .epoch([("t", event(1, "c", 1, 10)), ("t", event(2, "u", 2, 20))])
        .restart()
        .epoch([("t", event(3, "c", 1, 10))])
        .check();
    assert_eq!(outcome.rows("t"), [r#"{"id":1,"n":20}"#]);
    assert!(outcome.changes_of("t", 2).is_empty());
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Account {
    id: i64,
    n: i64,
}

#[test]
fn any_bytes_are_a_row_or_an_error_and_never_a_panic() {
    let random = &mut StdRng::seed_from_u64(5);
    let good = wire(&[ORDER], order());
    let schemas = there(&[ORDER]);
    let (mut rows, mut errors) = (0, 0);
    for _ in 0..20_000 {
        let mut payload = good.clone();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(5..payload.len());
            match random.random_range(0..3) {
                0 => payload[place] = random.random(),
                1 => payload.truncate(place.max(6)),
                _ => payload.insert(place, random.random()),
            }
        }
        match read_with::<Order>(Arc::clone(&schemas), &payload) {
            Ok(_) => rows += 1,
            Err(_) => errors += 1,
        }
    }
    assert!(rows > 100 && errors > 100, "{rows} rows, {errors} errors");
    // A list that goes on and on, and an array of nothing that is said to be endless.
    let deep = one(r#"["null",{"type":"record","name":"L","fields":[{"name":"l","type":["null","L"]}]}]"#);
    let payload = [&[0, 0, 0, 0, 7][..], &[2; 100_000]].concat();
    let found =
        read_columns::<Option<i64>>(there(&[&deep]), &column::<Option<i64>>("b"), &payload).unwrap_err();
    assert!(found.contains("too deep"), "{found}");
    let nothing = one(r#"{"type":"array","items":"null"}"#);
    let count = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let payload = [&[0, 0, 0, 0, 7][..], &count, &[0]].concat();
    let found = read_columns::<Option<i64>>(there(&[&nothing]), &column::<Option<i64>>("b"), &payload);
    assert_eq!(found, Ok(None));
}
