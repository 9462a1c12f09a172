//! The encoding is a format of files: rows that are kept must be read by the programs that come. `golden/rows.hex` was written
//! once, and is never written over: a line that changes is another format, with another number.

use std::collections::BTreeMap;
use std::fmt::Debug;

use cutwater_rows::{Bytes, Decimal, DynRow, Float, Row, Text, Timestamp, Value, decode, encode};

const GOLDEN: &str = include_str!("golden/rows.hex");

/// What stands in an order.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Order {
    #[row(key)]
    id: Text,
    quantity: i64,
    price: Decimal<2>,
    at: Option<Timestamp>,
    region: Option<Region>,
    note: Text,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Region {
    name: Text,
    is_open: bool,
}

/// The rows that the file holds, each under its name.
struct Golden {
    lines: BTreeMap<&'static str, Vec<u8>>,
    shown: Vec<String>,
}

impl Golden {
    fn read() -> Self {
        let line = |line: &'static str| {
            let (name, hex) = line.split_once(": ").expect("a name and hexadecimal digits");
            let bytes = hex.split(' ').filter(|byte| !byte.is_empty());
            (name, bytes.map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect())
        };
        let lines = GOLDEN.lines().filter(|line| !line.starts_with('#')).map(line).collect();
        Golden { lines, shown: Vec::new() }
    }

    #[track_caller]
    fn row<R: Row>(&mut self, name: &'static str, row: R)
    where
        for<'a> R::Ref<'a>: Debug,
    {
        let written = encode(&row);
        let hex: Vec<String> = written.iter().map(|byte| format!("{byte:02x}")).collect();
        self.shown.push(format!("{name}: {}", hex.join(" ")));
        if let Some(golden) = self.lines.remove(name) {
            assert_eq!(written, golden, "{name} is written otherwise");
            assert_eq!(R::to_owned(decode::<R>(&golden).unwrap()), row, "{name} is read otherwise");
        } else {
            self.lines.insert("", Vec::new());
        }
    }
}

#[test]
fn rows_are_written_and_read_as_ever() {
    let float = |value: f64| -> Float { value.into() };
    let mut golden = Golden::read();
    golden.row("text", Text::from("the"));
    golden.row("text, empty", Text::from(""));
    golden.row("text, plain at the end", Text::from("a\0b"));
    golden.row("text and i64", (Text::from("the"), 12));
    golden.row("text with a zero and a one, and i64", (Text::from("a\0\u{1}b"), -12));
    golden.row("bytes and bytes", (Bytes::from(&[0u8, 0xff][..]), Bytes::from(&[0u8][..])));
    golden.row("i64, least", i64::MIN);
    golden.row("i64, largest", i64::MAX);
    golden.row("f64", (float(-1.5), float(1.5), float(-0.0)));
    golden.row("f64, ends", (float(f64::NEG_INFINITY), float(f64::INFINITY), float(f64::NAN)));
    golden.row("bool", (false, true));
    golden.row("timestamp", Timestamp::from_micros(1_700_000_000_123_456));
    golden.row("decimal", Decimal::<2>::from_units(-1250));
    golden.row("option", (None::<Text>, Some(Text::from("x")), Some(7)));
    golden.row("pair of pairs", ((Text::from("a"), 1), (Text::from("b"), 2)));
    golden.row("no columns", ());
    let order = Order {
        id: "o-1".into(),
        quantity: -2,
        price: Decimal::from_units(999),
        at: Some(Timestamp::from_micros(0)),
        region: Some(Region { name: "Ulm".into(), is_open: true }),
        note: "as soon as may be".into(),
    };
    golden.row("struct", order.clone());
    golden.row("struct, missing parts", Order { at: None, region: None, note: "".into(), ..order });
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::Int(-1),
        Value::Float(float(0.5)),
        Value::Decimal(1250, 2),
        Value::Timestamp(Timestamp::from_micros(1)),
        Value::Text("x"),
        Value::Bytes(&[1]),
    ];
    golden.row("dynamic", (DynRow::new(values), DynRow::new([Value::Int(1)])));
    assert!(golden.lines.is_empty(), "golden/rows.hex should be:\n{}", golden.shown.join("\n"));
}
