use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::*;
use crate::rows::{Bytes, Column, Decimal, Float, Text, decode, encode};
use crate::testing::decoded_row;

/// Decodes one record.
fn read(decoder: &mut dyn Decoder, layout: &Layout, payload: &[u8]) -> Result<Vec<u8>, String> {
    match decoded_row(decoder, layout, payload) {
        Err(Undecoded::Malformed(why)) => Err(why.0.into_owned()),
        other => Ok(other.expect("a row")),
    }
}

fn read_row<R: Row>(json: &str) -> Result<R, String> {
    let schema = Schema::of::<R>();
    let layout = Layout::new(&schema).unwrap();
    let bytes = read(&mut *Json.open(&schema).unwrap(), &layout, json.as_bytes())?;
    Ok(R::to_owned(decode::<R>(&bytes).expect("an encoded row")))
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    town: Text,
    zip: Option<i64>,
    at: (i64, Option<Text>),
}

/// A row of every type.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Wide {
    #[row(key)]
    id: Text,
    at: Timestamp,
    price: Decimal<2>,
    fine: Option<Decimal<9>>,
    #[row(name = "is-paid")]
    paid: bool,
    weight: Option<Float>,
    home: Place,
    raw: Bytes,
    more: DynRow,
    work: Option<Place>,
}

fn text(random: &mut StdRng) -> Text {
    let of = ["\0", "\u{1}", "\"", "\\", "a", "é", "\u{1f980}", "\u{ff}"];
    (0..random.random_range(0..5)).map(|_| *of.choose(random).unwrap()).collect::<String>().into()
}

fn int(random: &mut StdRng) -> i64 {
    *[i64::MIN, -1, 0, 1, i64::MAX, random.random()].choose(random).unwrap()
}

fn number(random: &mut StdRng) -> Float {
    let of = [0.0, -0.1, 1.5, f64::MAX, f64::MIN_POSITIVE, random.random::<f64>() * 1e9];
    (*of.choose(random).unwrap()).into()
}

fn place(random: &mut StdRng) -> Place {
    Place {
        town: text(random),
        zip: random.random::<bool>().then(|| int(random)),
        at: (int(random), random.random::<bool>().then(|| text(random))),
    }
}

fn dyn_row(random: &mut StdRng) -> DynRow {
    let text = text(random);
    let of = [
        Value::Null,
        Value::Bool(random.random()),
        Value::Int(int(random)),
        Value::Float(number(random)),
        Value::Text(&text),
    ];
    DynRow::new((0..random.random_range(0..4)).map(|_| *of.choose(random).unwrap()))
}

fn wide(random: &mut StdRng) -> Wide {
    Wide {
        id: text(random),
        at: Timestamp::from_micros(random.random_range(-62_135_596_800_000_000..253_402_300_800_000_000)),
        price: Decimal::from_units(i128::from(int(random)) * 3),
        fine: random.random::<bool>().then(|| Decimal::from_units(int(random).into())),
        paid: random.random(),
        weight: random.random::<bool>().then(|| number(random)),
        home: place(random),
        raw: Bytes::from(text(random).as_bytes()),
        more: dyn_row(random),
        work: random.random::<bool>().then(|| place(random)),
    }
}

fn json(row: &Wide) -> String {
    let mut json = Vec::new();
    rows::Json::new(Schema::of::<Wide>()).write(&encode(row), &mut json).unwrap();
    String::from_utf8(json).unwrap()
}

/// The same object with its fields in another order, others between them, and some that are null left out.
fn shuffled(json: &str, random: &mut StdRng) -> String {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).unwrap();
    let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect();
    fields.retain(|(_, value)| value != "null" || random.random());
    fields.push(("other".into(), r#"[{"id":1},"\u00e9",[[]]]"#.into()));
    fields.shuffle(random);
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\n\"{name}\" :\t{value}")).collect();
    format!(" {{{}}} ", fields.join(" ,"))
}

#[test]
fn what_the_renderer_writes_is_read_back_to_the_same_bytes() {
    let random = &mut StdRng::seed_from_u64(1);
    let schema = Schema::of::<Wide>();
    let (mut decoder, layout) = (Json.open(&schema).unwrap(), Layout::new(&schema).unwrap());
    for _ in 0..5000 {
        let row = wide(random);
        let json = json(&row);
        for json in [shuffled(&json, random), format!("\u{feff}{json}"), json] {
            assert_eq!(read(&mut *decoder, &layout, json.as_bytes()), Ok(encode(&row)), "{json}");
        }
    }
}

#[test]
fn tuples_and_single_values_are_read_by_their_numbers() {
    let json = r#"{"1": 7, "0": "a"}"#;
    assert_eq!(read_row::<(Text, i64)>(json), Ok(("a".into(), 7)));
    assert_eq!(read_row::<i64>(r#"{"0": -7}"#), Ok(-7));
    assert_eq!(read_row::<()>("{}"), Ok(()));
    // The columns of a struct at the front of a tuple are the tuple's.
    let json = r#"{"town": "Ulm", "at": [1, null], "3": true}"#;
    let place = Place { town: "Ulm".into(), zip: None, at: (1, None) };
    assert_eq!(read_row::<(Place, bool)>(json), Ok((place, true)));
}

#[test]
fn a_dynamic_row_has_the_columns_of_its_schema() {
    let column = |name: &str, kind| Column::new(name, kind);
    let inner = Schema {
        name: "inner".into(),
        columns: vec![column("b", Kind::Int), column("c", Kind::Option(Box::new(Kind::Text)))],
        key: 0,
    };
    let columns = vec![
        column("n", Kind::Decimal(1)),
        column("a", Kind::Option(Box::new(Kind::Struct(inner)))),
        column("any", Kind::Any),
    ];
    let schema = Schema { name: "given".into(), columns, key: 0 };
    let (mut decoder, layout) = (Json.open(&schema).unwrap(), Layout::dynamic(&schema).unwrap());
    let mut values = |json: &str| {
        let bytes = read(&mut *decoder, &layout, json.as_bytes())?;
        Ok::<_, String>(format!("{:?}", decode::<DynRow>(&bytes).unwrap()))
    };
    let all = values(r#"{"n": 1.5, "a": {"b": 2}, "any": "x"}"#).unwrap();
    assert_eq!(all, r#"[Decimal(15, 1), Int(2), Null, Text("x")]"#);
    let few = values(r#"{"n": "-2", "any": 2.5}"#).unwrap();
    assert_eq!(few, "[Decimal(-20, 1), Null, Null, Float(2.5)]");
    assert_eq!(values(r#"{"n": 1, "a": {}, "any": null}"#).unwrap_err(), "a.b: it is missing");
    let dynamic = Schema { columns: vec![column("d", Kind::Dynamic)], ..schema };
    assert!(Layout::dynamic(&dynamic).unwrap_err().contains("\"d\""));
}

/// A row in which one field is replaced.
fn with(field: &str, value: &str) -> String {
    let all = [
        ("id", r#""a""#),
        ("at", "0"),
        ("price", "1"),
        ("is-paid", "true"),
        ("home", r#"{"town":"Ulm","at":[1,null]}"#),
        ("raw", r#""""#),
        ("more", "[]"),
    ];
    let fields =
        all.iter().filter(|(name, _)| *name != field).map(|(name, value)| format!("\"{name}\":{value}"));
    let fields = fields.chain((!value.is_empty()).then(|| format!("\"{field}\":{value}")));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

#[test]
fn numbers_and_times_are_read_without_loss() {
    let row = |field: &str, value: &str| read_row::<Wide>(&with(field, value)).unwrap();
    for (value, units) in [
        ("0.1", 10),
        ("-0.07", -7),
        ("\"12.50\"", 1250),
        ("12.500", 1250),
        ("1e3", 100_000),
        ("79228162514264337593543950.33", 7_922_816_251_426_433_759_354_395_033),
    ] {
        assert_eq!(row("price", value).price, Decimal::from_units(units), "{value}");
    }
    for (value, micros) in [
        ("1700000000123", 1_700_000_000_123_000),
        ("-1", -1000),
        (r#""2023-11-14T22:13:20.000001+00:00""#, 1_700_000_000_000_001),
    ] {
        assert_eq!(row("at", value).at, Timestamp::from_micros(micros), "{value}");
    }
    let zip =
        |value: &str| row("home", &format!(r#"{{"town":"","at":[1,"\u00e9"],"zip":{value}}}"#)).home.zip;
    assert_eq!(zip("9223372036854775807"), Some(i64::MAX));
    assert_eq!(zip("9007199254740993"), Some(9_007_199_254_740_993));
    assert_eq!(row("weight", "1").weight, Some(1.0.into()));
    assert_eq!(row("raw", r#""\u002fwA=""#).raw, Bytes::from(&[255u8, 0][..]));
}

#[test]
fn what_can_not_be_read_is_told_with_its_field_and_not_quoted() {
    let why = |json: &str| read_row::<Wide>(json).unwrap_err();
    for (field, value, expected) in [
        ("id", "", "id: it is missing"),
        ("id", "null", "id: expected text, found null"),
        ("id", "7", "id: expected text, found a number"),
        ("id", r#""\ud800""#, "id: not JSON: "),
        ("at", "\"yesterday\"", "at: it is not an RFC 3339 time"),
        ("at", "9223372036854775807", "at: it is out of range"),
        ("at", "253402300800000", "at: it is out of range"),
        ("at", "1.5", "at: it is not a whole number"),
        ("price", "0.105", "price: it has more than 2 digits after the point"),
        ("price", "1e-400", "price: it has more than 2 digits after the point"),
        ("price", "1e28", "price: it is too large for a decimal of scale 2"),
        ("price", "1e400", "price: it is too large for a decimal of scale 2"),
        (
            "price",
            "123456789012345678901234567890123456789",
            "price: it is too large for a decimal of scale 2",
        ),
        ("price", "\"1_0\"", "price: it is not a decimal number"),
        ("price", "[1]", "price: expected decimal(2), found an array"),
        ("is-paid", "\"true\"", "is-paid: expected bool, found a string"),
        ("is-paid", "1", "is-paid: expected bool, found a number"),
        ("weight", "1e400", "weight: it is out of range"),
        ("home", "[]", "home: expected an object, found an array"),
        ("home", r#"{"town":"Ulm"}"#, "home.at: it is missing"),
        ("home", r#"{"town":"Ulm","at":[1]}"#, "home.at: expected 2 items, found 1"),
        ("home", r#"{"town":"Ulm","at":["x",null]}"#, "home.at.0: expected i64, found a string"),
        (
            "home",
            r#"{"town":"","at":[1,null],"zip":9223372036854775808}"#,
            "home.zip: it is out of range of 64 bits",
        ),
        ("work", r#"{"town":"Ulm","town":"Bonn"}"#, "work: field \"town\" is there twice"),
        ("raw", "\"?\"", "raw: it is not base 64"),
        ("more", "[[]]", "more: expected any, found an array"),
        ("more", "7", "more: expected an array, found a number"),
    ] {
        let why = why(&with(field, value));
        assert!(why.starts_with(expected), "{field} {value}: {why}");
    }
    for (json, expected) in [
        ("", "not JSON: EOF while parsing a value"),
        ("{", "not JSON: EOF while parsing an object"),
        ("secret", "not JSON: expected value"),
        ("\"secret\"", "expected an object, found a string"),
        ("[]", "expected an object, found an array"),
        ("{} {}", "not JSON: trailing characters"),
        (r#"{"id":"a","id":"a"}"#, "field \"id\" is there twice"),
        (r#"{"other":"}"#, "not JSON: EOF while parsing a string"),
    ] {
        let why = why(json);
        assert!(why.starts_with(expected) && !why.contains("secret"), "{json}: {why}");
    }
    let schema = Schema::of::<Wide>();
    let layout = Layout::new(&schema).unwrap();
    let why = read(&mut *Json.open(&schema).unwrap(), &layout, b"{\"id\":\"\xff\"}").unwrap_err();
    assert_eq!(why, "not UTF-8 from byte 7");
    // So deep that a parser that recurses would be at its end.
    let deep = "[".repeat(1 << 20);
    let ignored = with("other", &format!("{deep}{}", "]".repeat(1 << 20)));
    read_row::<Wide>(&ignored).expect("a field that is ignored");
}

#[test]
fn objects_within_are_read_wherever_they_stand_and_the_first_fault_is_named() {
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Deep {
        x: i64,
        y: Option<Text>,
    }
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Inner {
        a: i64,
        deep: Option<Deep>,
        b: i64,
    }
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Outer {
        first: i64,
        inner: Inner,
        pair: (Inner, i64),
        last: Option<Inner>,
    }
    let inner = |a, x: Option<i64>, b| Inner { a, deep: x.map(|x| Deep { x, y: None }), b };
    let json = r#"{"last":{"b":6,"x":0,"deep":null,"a":5}, "pair":[{"a":3,"b":4,"deep":{"x":7}},8],
        "inner":{"deep":{"z":{"x":1},"y":null,"x":9},"b":2,"a":1},"first":0}"#;
    let expected = Outer {
        first: 0,
        inner: inner(1, Some(9), 2),
        pair: (inner(3, Some(7), 4), 8),
        last: Some(inner(5, None, 6)),
    };
    assert_eq!(read_row::<Outer>(json), Ok(expected));
    for (from, to, why) in [
        ("\"x\":9", "\"z\":9", "inner.deep.x: it is missing"),
        ("\"x\":7", "\"x\":\"7\"", "pair.0.deep.x: expected i64, found a string"),
        ("{\"x\":7}", "7", "pair.0.deep: expected an object, found a number"),
        ("\"x\":9", "\"y\":9", "inner.deep: field \"y\" is there twice"),
        ("\"b\":6,", "\"b\":6,\"b\":6,", "last: field \"b\" is there twice"),
        ("\"b\":6,\"x\":0", "\"b\":6,\"b\":x", "not JSON: expected value at line 1 column 20"),
        ("{\"z\"", "[], \"z\"", "not JSON: "),
    ] {
        let found = read_row::<Outer>(&json.replace(from, to)).unwrap_err();
        assert!(found.starts_with(why), "{to}: {found}");
    }
    // In the order of the columns, not of the text.
    let two = json.replace("\"first\":0", "\"first\":true").replace("\"b\":6,", "\"b\":6,\"b\":6,");
    assert_eq!(read_row::<Outer>(&two).unwrap_err(), "first: expected i64, found a truth value");
}

#[test]
fn rows_that_json_can_not_fill_are_refused() {
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Twice {
        a: Option<Option<i64>>,
    }
    let why = Json.open(&Schema::of::<Twice>()).err().unwrap();
    assert!(why.contains("\"a\" may be missing in two ways"), "{why}");
    let why = Json.open(&Schema::of::<(Place, Place)>()).err().unwrap();
    assert!(why.contains("two columns are named \"town\""), "{why}");
}

#[test]
fn damaged_json_is_another_row_or_an_error_and_never_a_panic() {
    let random = &mut StdRng::seed_from_u64(7);
    let schema = Schema::of::<Wide>();
    let (mut decoder, layout) = (Json.open(&schema).unwrap(), Layout::new(&schema).unwrap());
    let mut read_all = 0;
    for _ in 0..20_000 {
        let mut json = json(&wide(random)).into_bytes();
        for _ in 0..random.random_range(1..3) {
            let place = random.random_range(0..json.len().max(1)).min(json.len().saturating_sub(1));
            match random.random_range(0..4) {
                0 => json[place] = random.random(),
                1 => json[place] = *b"{}[]\",:0-.enu\\".choose(random).unwrap(),
                2 => json.truncate(place.max(1)),
                _ => json.insert(place, *b"{}[]\",:0-.enu\\".choose(random).unwrap()),
            }
        }
        if let Ok(row) = read(&mut *decoder, &layout, &json) {
            decode::<Wide>(&row).expect("an encoded row");
            read_all += 1;
        }
    }
    assert!(read_all > 100, "{read_all} of 20,000 were rows all the same");
}
