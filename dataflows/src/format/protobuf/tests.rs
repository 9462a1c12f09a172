use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, OneofDescriptorProto,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::prelude::Decimal;
use crate::rows::{Row, Text, decode};
use crate::testing::decoded_row;

fn field(name: &str, number: i32, kind: Type, of: Option<&str>) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: of.map(str::to_owned),
        ..Default::default()
    }
}

/// shop.Order, with a message within, an enum, a time, and a note of which it can be told that it is not there.
fn descriptors() -> Vec<u8> {
    let timestamp = FileDescriptorProto {
        name: Some("time.proto".into()),
        package: Some("google.protobuf".into()),
        syntax: Some("proto3".into()),
        message_type: vec![DescriptorProto {
            name: Some("Timestamp".into()),
            field: vec![field("seconds", 1, Type::Int64, None), field("nanos", 2, Type::Int32, None)],
            ..Default::default()
        }],
        ..Default::default()
    };
    let note = FieldDescriptorProto {
        oneof_index: Some(0),
        proto3_optional: Some(true),
        ..field("note", 8, Type::String, None)
    };
    let tags =
        FieldDescriptorProto { label: Some(Label::Repeated.into()), ..field("tags", 9, Type::String, None) };
    // What protoc makes of map<string, string> counts = 10.
    let counts = DescriptorProto {
        name: Some("CountsEntry".into()),
        field: vec![field("key", 1, Type::String, None), field("value", 2, Type::String, None)],
        options: Some(MessageOptions { map_entry: Some(true), ..Default::default() }),
        ..Default::default()
    };
    let counted = FieldDescriptorProto {
        label: Some(Label::Repeated.into()),
        ..field("counts", 10, Type::Message, Some(".shop.Order.CountsEntry"))
    };
    let line = DescriptorProto {
        name: Some("Line".into()),
        field: vec![field("text", 1, Type::String, None)],
        ..Default::default()
    };
    let order = DescriptorProto {
        name: Some("Order".into()),
        field: vec![
            field("id", 1, Type::String, None),
            field("quantity", 2, Type::Sint32, None),
            field("price", 3, Type::String, None),
            field("home", 4, Type::Message, Some(".shop.Place")),
            field("at", 5, Type::Message, Some(".google.protobuf.Timestamp")),
            field("colour", 6, Type::Enum, Some(".shop.Colour")),
            field("big", 7, Type::Uint64, None),
            note,
            tags,
            counted,
        ],
        oneof_decl: vec![OneofDescriptorProto { name: Some("_note".into()), ..Default::default() }],
        nested_type: vec![counts, line],
        ..Default::default()
    };
    let place = DescriptorProto {
        name: Some("Place".into()),
        field: vec![field("town", 1, Type::String, None)],
        ..Default::default()
    };
    let value = |name: &str, number| EnumValueDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        options: None,
    };
    let colour = EnumDescriptorProto {
        name: Some("Colour".into()),
        value: vec![value("RED", 0), value("GREEN", 1)],
        ..Default::default()
    };
    let shop = FileDescriptorProto {
        name: Some("shop.proto".into()),
        package: Some("shop".into()),
        syntax: Some("proto3".into()),
        dependency: vec!["time.proto".into()],
        message_type: vec![order, place],
        enum_type: vec![colour],
        ..Default::default()
    };
    FileDescriptorSet { file: vec![timestamp, shop] }.encode_to_vec()
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    town: Text,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Order {
    note: Option<Text>,
    id: Text,
    quantity: i64,
    price: Option<Decimal<2>>,
    home: Option<Place>,
    at: Option<Timestamp>,
    colour: Text,
    other: Option<i64>,
}

fn read<R: Row>(payload: &[u8]) -> Result<R, String> {
    read_as("shop.Order", payload)
}

fn read_as<R: Row>(message: &str, payload: &[u8]) -> Result<R, String> {
    let format = Protobuf::new(&descriptors())?.with(message)?;
    assert_eq!(format.name(), format!("protobuf:{message}"));
    let schema = Schema::of::<R>();
    let (mut decoder, layout) = (format.open(&schema)?, Layout::new(&schema)?);
    match decoded_row(&mut *decoder, &layout, payload) {
        Ok(row) => Ok(R::to_owned(decode::<R>(&row).expect("an encoded row"))),
        Err(Undecoded::Malformed(why)) => Err(why.0.into_owned()),
        Err(other) => Err(format!("{other:?}")),
    }
}

/// A message as the fields of its wire's format say.
fn message() -> Vec<u8> {
    let text = |number: u8, text: &str| [&[number << 3 | 2, text.len() as u8], text.as_bytes()].concat();
    let fields = [
        text(1, "o-1"),
        vec![2 << 3, 5],
        text(3, "12.5"),
        text(4, "\n\u{3}Ulm"),
        vec![5 << 3 | 2, 4, 1 << 3, 1, 2 << 3, 0],
        vec![6 << 3, 1],
        text(9, "ignored"),
    ];
    fields.concat()
}

#[test]
fn messages_are_read_by_the_names_of_their_fields() {
    let order = Order {
        note: None,
        id: "o-1".into(),
        quantity: -3,
        price: Some(Decimal::from_units(1250)),
        home: Some(Place { town: "Ulm".into() }),
        at: Some(Timestamp::from_micros(1_000_000)),
        colour: "GREEN".into(),
        other: None,
    };
    let plain = message();
    assert_eq!(read::<Order>(&plain), Ok(order.clone()));
    // In Confluent's frame, in short and in full.
    assert_eq!(read::<Order>(&[&[0, 0, 0, 0, 7, 0][..], &plain].concat()), Ok(order.clone()));
    assert_eq!(read::<Order>(&[&[0, 0, 0, 0, 7, 2, 0][..], &plain].concat()), Ok(order.clone()));
    let noted = [&plain[..], &[8 << 3 | 2, 0]].concat();
    assert_eq!(read::<Order>(&noted), Ok(Order { note: Some("".into()), ..order }));
}

#[test]
fn a_frame_of_another_message_is_told() {
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Line {
        text: Text,
    }
    let framed = |place: &[u8]| [&[0, 0, 0, 0, 7][..], place, &[1 << 3 | 2, 1, b'x']].concat();
    let other = |payload: &[u8]| read::<Order>(payload).unwrap_err();
    assert_eq!(other(&framed(&[2, 2])), "by its frame it is shop.Place, not shop.Order");
    assert_eq!(other(&framed(&[4, 0, 2])), "by its frame it is shop.Order.Line, not shop.Order");
    let none = "by its frame it is a message that the descriptors do not have, not shop.Order";
    assert_eq!(other(&framed(&[2, 18])), none);
    // One within another, behind the entry of a map, which some count and others do not.
    for place in [&[4, 0, 2][..], &[4, 0, 0]] {
        assert_eq!(read_as::<Line>("shop.Order.Line", &framed(place)), Ok(Line { text: "x".into() }));
    }
    let line = read_as::<Line>("shop.Order.Line", &framed(&[0]));
    assert_eq!(line, Err("by its frame it is shop.Order, not shop.Order.Line".to_owned()));
}

#[test]
fn what_is_not_there_has_its_default_or_is_missing() {
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Least {
        id: Text,
        big: i64,
        colour: Text,
        note: Text,
        home: Option<Place>,
    }
    let least = Least { id: "".into(), big: 0, colour: "RED".into(), note: "".into(), home: None };
    assert_eq!(read::<Least>(b""), Ok(least));
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Home {
        home: Place,
    }
    assert_eq!(read::<Home>(b""), Err("home: it is missing".to_owned()));
}

#[test]
fn what_can_not_be_read_is_told_with_its_column() {
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Big {
        big: i64,
    }
    let big = [&[7 << 3][..], &[0xff; 9], &[1]].concat();
    assert_eq!(read::<Big>(&big), Err("big: it is out of range of 64 bits".to_owned()));
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct At {
        at: Timestamp,
    }
    // The first second of the year 10000.
    assert_eq!(read::<At>(&[42, 7, 8, 128, 131, 209, 255, 175, 7]), Err("at: it is out of range".to_owned()));
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Tags {
        tags: Text,
    }
    assert_eq!(read::<Tags>(&message()), Err("tags: expected one value, found a list".to_owned()));
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Wrong {
        id: i64,
    }
    assert_eq!(read::<Wrong>(&message()), Err("id: expected i64, found text".to_owned()));
    for (payload, why) in [
        (&b"\xff"[..], "it is cut off"),
        (&[1 << 3 | 2, 1, b'x', 0xff], "behind id it is cut off"),
        (&[2 << 3 | 2, 1, b'x'], "quantity: expected a varint, found bytes"),
        (&[1 << 3, 7], "id: expected bytes, found a varint"),
        (&[1 << 3 | 2, 9, b'x'], "id: it is cut off"),
        (&[1 << 3 | 2, 1, 0xff], "id: it is not UTF-8"),
        (&[4 << 3 | 2, 2, 1 << 3, 7], "home.town: expected bytes, found a varint"),
    ] {
        assert_eq!(read::<Big>(payload), Err(format!("no such message: {why}")));
    }
    assert_eq!(read::<Big>(&[0, 0, 0]), Err("its frame is cut off".to_owned()));
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Nowhere {
        nowhere: i64,
    }
    let why = read::<Nowhere>(b"").unwrap_err();
    assert!(
        why.starts_with("column \"nowhere\" is no field of shop.Order, which has id, quantity, "),
        "{why}"
    );
    let of = |name: &str| Protobuf::new(&descriptors()).unwrap().with(name).err().unwrap();
    assert_eq!(
        of("Order"),
        "the descriptors have no message \"Order\", but shop.Order, shop.Order.Line, shop.Place"
    );
    let schema = Schema::of::<Big>();
    let unnamed = Protobuf::new(&descriptors()).unwrap().open(&schema).err().unwrap();
    assert_eq!(
        unnamed,
        "which message is it? Write protobuf:MESSAGE, of shop.Order, shop.Order.Line, shop.Place"
    );
    assert!(Protobuf::default().open(&schema).err().unwrap().contains("--descriptor FILE"));
    assert!(Protobuf::new(b"secret").err().unwrap().starts_with("it is no set of descriptors"));
}

#[test]
fn any_bytes_are_a_row_or_an_error_and_never_a_panic() {
    let random = &mut StdRng::seed_from_u64(8);
    let format = Protobuf::new(&descriptors()).unwrap().with("shop.Order").unwrap();
    let schema = Schema::of::<Order>();
    let (mut decoder, layout) = (format.open(&schema).unwrap(), Layout::new(&schema).unwrap());
    let (mut rows, mut errors) = (0, 0);
    for _ in 0..20_000 {
        let mut payload = message();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(0..payload.len());
            match random.random_range(0..3) {
                0 => payload[place] = random.random(),
                1 => payload.truncate(place.max(1)),
                _ => payload.insert(place, random.random()),
            }
        }
        let record = Record::of_value(Some(&payload));
        let mut out = Vec::new();
        let mut row = RowWriter::new(&layout, &mut out);
        match decoder.decode(&payload, &record, &mut row) {
            Ok(()) => {
                row.finish().expect("a whole row");
                decode::<Order>(&out).expect("an encoded row");
                rows += 1;
            }
            Err(_) => errors += 1,
        }
    }
    assert!(rows > 100 && errors > 100, "{rows} rows, {errors} errors");
}
