//! The laws of rows, on random ones: what is read is what was written, and bytes compare as rows do, at both places.

use std::fmt::Debug;

use cutwater_rows::{
    Bytes, Damaged, Decimal, DynRow, Float, Json, Place, Row, Schema, Text, Timestamp, Value, decode, encode,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

trait Random {
    fn random(rng: &mut StdRng) -> Self;
}

/// Text of few characters, so that one is often the beginning of another; those that are escaped among them.
impl Random for Text {
    fn random(rng: &mut StdRng) -> Self {
        let length = rng.random_range(0..5);
        let of = ["\0", "\u{1}", "\u{2}", "a", "é", "\u{1f980}", "\u{ff}"];
        (0..length).map(|_| *of.choose(rng).unwrap()).collect::<String>().into()
    }
}

impl Random for Bytes {
    fn random(rng: &mut StdRng) -> Self {
        let length = rng.random_range(0..4);
        (0..length).map(|_| *[0, 1, 2, 3, 0x61, 0xff].choose(rng).unwrap()).collect::<Vec<u8>>().into()
    }
}

impl Random for i64 {
    fn random(rng: &mut StdRng) -> Self {
        *[i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX, rng.random()].choose(rng).unwrap()
    }
}

impl Random for bool {
    fn random(rng: &mut StdRng) -> Self {
        rng.random()
    }
}

impl Random for Float {
    fn random(rng: &mut StdRng) -> Self {
        let some =
            [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.5, -1.5, f64::MIN_POSITIVE];
        ordered_float::OrderedFloat(*some.choose(rng).unwrap())
    }
}

impl Random for Timestamp {
    fn random(rng: &mut StdRng) -> Self {
        Timestamp::from_micros(i64::random(rng))
    }
}

impl Random for Decimal<2> {
    fn random(rng: &mut StdRng) -> Self {
        Decimal::from_units(i128::from(i64::random(rng)) * 3)
    }
}

impl<A: Random> Random for Option<A> {
    fn random(rng: &mut StdRng) -> Self {
        rng.random_bool(0.7).then(|| A::random(rng))
    }
}

impl<A: Random, B: Random> Random for (A, B) {
    fn random(rng: &mut StdRng) -> Self {
        (A::random(rng), B::random(rng))
    }
}

impl<A: Random, B: Random, C: Random> Random for (A, B, C) {
    fn random(rng: &mut StdRng) -> Self {
        (A::random(rng), B::random(rng), C::random(rng))
    }
}

impl Random for DynRow {
    fn random(rng: &mut StdRng) -> Self {
        let (text, bytes) = (Text::random(rng), Bytes::random(rng));
        let some = [
            Value::Null,
            Value::Bool(rng.random()),
            Value::Int(i64::random(rng)),
            Value::Float(Float::random(rng)),
            Value::Decimal(i64::random(rng).into(), 2),
            Value::Timestamp(Timestamp::random(rng)),
            Value::Text(&text),
            Value::Bytes(&bytes),
        ];
        let length = rng.random_range(0..4);
        DynRow::new((0..length).map(|_| *some.choose(rng).unwrap()))
    }
}

/// What stands inside another row.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place2 {
    town: Text,
    zip: Option<i64>,
}

/// A row of every type.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Wide {
    #[row(key)]
    id: Text,
    #[row(key)]
    at: Timestamp,
    price: Decimal<2>,
    #[row(name = "is-paid")]
    paid: bool,
    weight: Option<Float>,
    place: Option<Place2>,
    raw: Bytes,
    more: DynRow,
    note: Text,
}

impl Random for Place2 {
    fn random(rng: &mut StdRng) -> Self {
        Place2 { town: Text::random(rng), zip: Option::random(rng) }
    }
}

impl Random for Wide {
    fn random(rng: &mut StdRng) -> Self {
        Wide {
            id: Text::random(rng),
            at: Timestamp::random(rng),
            price: Decimal::random(rng),
            paid: bool::random(rng),
            weight: Option::random(rng),
            place: Option::random(rng),
            raw: Bytes::random(rng),
            more: DynRow::random(rng),
            note: Text::random(rng),
        }
    }
}

fn inner<R: Row>(row: &R) -> Vec<u8> {
    let mut out = Vec::new();
    R::write(row.borrow(), Place::Inner, &mut out);
    out
}

fn laws<R: Row + Random>(seed: u64) {
    let rng = &mut StdRng::seed_from_u64(seed);
    for _ in 0..3000 {
        let (a, b) = (R::random(rng), R::random(rng));
        for (place, bytes, others) in
            [(Place::Last, encode(&a), encode(&b)), (Place::Inner, inner(&a), inner(&b))]
        {
            assert_eq!(
                bytes.cmp(&others),
                a.cmp(&b),
                "{a:?} and {b:?} at {place:?}: {bytes:x?}, {others:x?}"
            );
            let read = match place {
                Place::Last => R::to_owned(decode::<R>(&bytes).unwrap()),
                Place::Inner => {
                    let followed = [&bytes[..], &[0xff, 0x00, 0x01]].concat();
                    let mut rest = &followed[..];
                    let read = R::to_owned(R::read(&mut rest, Place::Inner).unwrap());
                    assert_eq!(rest, [0xff, 0x00, 0x01]);
                    read
                }
            };
            assert_eq!(read, a);
            assert_eq!(R::to_owned(a.borrow()), a);
        }
        let mut placed = Vec::new();
        R::inner(&encode(&a), &mut placed).unwrap();
        assert_eq!(placed, inner(&a));
        // What lies between two rows is told apart, whatever their bytes.
        let (ab, ba) = (encode(&(a.clone(), b.clone())), encode(&(b.clone(), a.clone())));
        assert_eq!(ab == ba, a == b);
        let schema = Schema::of::<R>();
        assert!(schema.values(&encode(&a)).all(|value| value.is_ok()));
        let mut json = Vec::new();
        Json::new(schema.clone()).write(&encode(&a), &mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json.as_object().unwrap().len(), schema.columns.len());
    }
}

#[test]
fn bytes_compare_as_rows_do_and_are_read_back() {
    laws::<Text>(1);
    laws::<Bytes>(2);
    laws::<i64>(3);
    laws::<bool>(4);
    laws::<Float>(5);
    laws::<Timestamp>(6);
    laws::<Decimal<2>>(7);
    laws::<Option<Text>>(8);
    laws::<(Text, i64)>(9);
    laws::<(Option<Text>, Text, Bytes)>(10);
    laws::<(DynRow, DynRow)>(11);
    laws::<DynRow>(12);
    laws::<Wide>(13);
    laws::<(Place2, i64)>(14);
    laws::<((Text, i64), (Bytes, Option<(Text, Text)>))>(15);
}

fn refused<R: Row>(bytes: &[u8]) -> Damaged
where
    for<'a> R::Ref<'a>: Debug,
{
    decode::<R>(bytes).unwrap_err()
}

#[test]
fn bytes_of_something_else_are_an_error_and_never_a_panic() {
    assert_eq!(refused::<i64>(&[0; 7]), Damaged::TooShort);
    assert_eq!(refused::<i64>(&[0; 9]), Damaged::TooLong);
    assert_eq!(refused::<Text>(b"\xff"), Damaged::Text);
    assert_eq!(refused::<(Text, i64)>(b"no end"), Damaged::TooShort);
    assert_eq!(refused::<Option<i64>>(&[7]), Damaged::Tag(7));
    assert_eq!(refused::<DynRow>(&[99]), Damaged::Tag(99));
    let rng = &mut StdRng::seed_from_u64(7);
    for _ in 0..20_000 {
        let mut bytes = encode(&Wide::random(rng));
        let place = rng.random_range(0..bytes.len());
        match rng.random_range(0..3) {
            0 => bytes[place] = rng.random(),
            1 => bytes.truncate(place),
            _ => bytes.insert(place, rng.random()),
        }
        // It may be another row; what it is not is read without a panic, here and by the schema.
        let _ = decode::<Wide>(&bytes);
        let _ = Json::new(Schema::of::<Wide>()).write(&bytes, &mut Vec::new());
    }
}

#[test]
fn a_schema_names_what_differs() {
    let schema = Schema::of::<Wide>();
    assert_eq!(
        schema.to_string(),
        "Wide(id: text key, at: timestamp key, price: decimal(2), is-paid: bool, weight: f64?, \
         place: Place2(town: text, zip: i64?)?, raw: bytes, more: dynamic, note: text)"
    );
    let text = serde_json::to_string(&schema).unwrap();
    assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
    assert_eq!(schema.difference(&schema), None);
    let mut other = schema.clone();
    other.columns[2].kind = cutwater_rows::Kind::Int;
    assert_eq!(schema.difference(&other).unwrap(), "column \"price\" was decimal(2), now it is i64");
    other = schema.clone();
    other.columns.pop();
    assert_eq!(schema.difference(&other).unwrap(), "column \"note\" is gone");
    assert_eq!(other.difference(&schema).unwrap(), "column \"note\" is new");
    let pair = Schema::of::<(Text, i64)>().named(&["word"], &["count"]).unwrap();
    assert_eq!(pair.to_string(), "(text, i64)(word: text key, count: i64)");
    assert!(Schema::of::<(Text, i64)>().named(&["word"], &[]).unwrap_err().contains("1 columns are named"));
    assert!(Schema::of::<(Text, i64)>().named(&["a"], &["a"]).unwrap_err().contains("named twice"));
}

#[test]
fn json_has_every_type() {
    let row = Wide {
        id: "a\"\0".into(),
        at: Timestamp::from_micros(1_700_000_000_000_000),
        price: Decimal::from_units(-7),
        paid: true,
        weight: Some(ordered_float::OrderedFloat(0.5)),
        place: Some(Place2 { town: "Ulm".into(), zip: None }),
        raw: Bytes::from(&[255u8, 0][..]),
        more: DynRow::new([Value::Int(1), Value::Null, Value::Text("x")]),
        note: "".into(),
    };
    let (bytes, schema) = (encode(&row), Schema::of::<Wide>());
    let mut json = Vec::new();
    let keyed = Json::new(schema).write(&bytes, &mut json).unwrap();
    let key = [&json[..keyed], b"}"].concat();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        concat!(
            r#"{"id":"a\"\u0000","at":"2023-11-14T22:13:20Z","price":"-0.07","is-paid":true,"weight":0.5,"#,
            r#""place":{"town":"Ulm","zip":null},"raw":"/wA=","more":[1,null,"x"],"note":""}"#
        )
    );
    assert_eq!(key, br#"{"id":"a\"\u0000","at":"2023-11-14T22:13:20Z"}"#);
    // A dynamic row under names: each column says its type.
    let dynamic = Schema {
        name: "query".into(),
        columns: ["n", "nothing", "t"]
            .map(|name| cutwater_rows::Column::new(name, cutwater_rows::Kind::Any))
            .into(),
        key: 1,
    };
    let mut json = Vec::new();
    Json::new(dynamic).write(&encode(&row.more), &mut json).unwrap();
    assert_eq!(json, br#"{"n":1,"nothing":null,"t":"x"}"#);
    assert_eq!(row.more.borrow().get(2), Some(Value::Text("x")));
}
