use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::rows::{Decimal, DynRow, Float, Row, Text, Timestamp, decode};
use crate::testing::decoded_row;

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    town: Text,
    zip: Option<i64>,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Person {
    name: Text,
    at: Option<Timestamp>,
    home: Place,
    work: Option<Place>,
    weight: Option<Float>,
}

fn read<R: Row>(header: &str, line: &[u8]) -> Result<Option<R>, String> {
    let csv = match header {
        "" => Arc::new(Csv::default()),
        header => Csv::default().with(header)?,
    };
    let schema = Schema::of::<R>();
    let (mut decoder, layout) = (csv.open(&schema)?, Layout::new(&schema)?);
    match decoded_row(&mut *decoder, &layout, line) {
        Ok(row) => Ok(Some(R::to_owned(decode::<R>(&row).expect("an encoded row")))),
        Err(Undecoded::NoRow) => Ok(None),
        Err(Undecoded::Malformed(why)) => Err(why.0.into_owned()),
        Err(Undecoded::NotYet) => Err("not yet".to_owned()),
    }
}

fn pair(header: &str, line: &str) -> Result<Option<(Text, i64)>, String> {
    read(header, line.as_bytes())
}

#[test]
fn a_line_is_a_row_by_position_or_by_the_names_of_its_fields() {
    let row = |text: &str, number| Ok(Some((Text::from(text), number)));
    for line in ["a,7", "a,7\n", "a,7\r\n", "\u{feff}a,7", "\"a\",\"7\""] {
        assert_eq!(pair("", line), row("a", 7), "{line:?}");
    }
    assert_eq!(pair("", "\"a, \"\"b\"\"\nc\",7"), row("a, \"b\"\nc", 7));
    assert_eq!(pair("", ",7"), row("", 7));
    assert_eq!(pair("1,other,0", "7,x,a"), row("a", 7));
    assert_eq!(pair("1; other; 0", "7;x,y;a"), row("a", 7));
    assert_eq!(pair("1\\t0", "7\ta"), row("a", 7));
    assert_eq!(pair("1|0", "7|a"), row("a", 7));
    // The header is no row, and no mistake; but only as it is bound.
    assert_eq!(pair("", "0,1"), Ok(None));
    assert_eq!(pair("1|0", "1|0\r\n"), Ok(None));
    assert!(pair("1|0", "0|1").is_ok_and(|row| row.is_some()));
}

/// What comes of these lines of a partition, and what a look at the first says.
fn partition<R: Row>(
    header: &str,
    first: i64,
    lines: &[&str],
) -> (Result<(), String>, Vec<Result<(), String>>) {
    let csv = match header {
        "" => Arc::new(Csv::default()),
        header => Csv::default().with(header).unwrap(),
    };
    let schema = Schema::of::<R>();
    let (mut decoder, layout) = (csv.open(&schema).unwrap(), Layout::new(&schema).unwrap());
    let read = (first..).zip(lines).map(|(offset, line)| {
        let (mut out, record) = (Vec::new(), Record { offset, ..Record::of_value(Some(line.as_bytes())) });
        match decoder.decode(line.as_bytes(), &record, &mut RowWriter::new(&layout, &mut out)) {
            Err(Undecoded::Malformed(why)) => Err(why.0.into_owned()),
            _ => Ok(()),
        }
    });
    let read = read.collect();
    (csv.look(&schema).unwrap()(lines[0].as_bytes()), read)
}

#[test]
fn a_header_in_another_order_is_told_and_no_line_behind_it_is_misread() {
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Transfer {
        from: Text,
        to: Text,
        amount: Decimal<2>,
    }
    let lines = ["to,from,amount", "bob,ann,5", "bob,ann,x"];
    let why =
        || Err("its header has the fields in another order: read the input as csv:to,from,amount".to_owned());
    let right = ["from,to,amount", "ann,bob,5"];
    assert_eq!(partition::<Transfer>("", 0, &right), (Ok(()), vec![Ok(()), Ok(())]));
    assert_eq!(partition::<Transfer>("", 0, &lines), (why(), vec![why(), why(), why()]));
    assert_eq!(partition::<Transfer>("from,to,amount", 0, &lines[..2]), (why(), vec![why(), why()]));
    assert_eq!(partition::<Transfer>("to,from,amount", 0, &lines[..2]), (Ok(()), vec![Ok(()), Ok(())]));
    // In the middle of a partition it is a line that can't be read, and no more: anybody could write it.
    assert_eq!(partition::<Transfer>("", 7, &lines[..2]).1, [why(), Ok(())]);

    // Two names may be a row. A user who says in which order they are is believed.
    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Edge {
        a: Text,
        b: Text,
    }
    let why = || {
        Err("its header has the fields in another order: read the input as csv:b,a, or as csv:a,b if that is no header but a row".to_owned())
    };
    assert_eq!(partition::<Edge>("", 0, &["b,a", "x,y"]), (why(), vec![why(), why()]));
    assert_eq!(partition::<Edge>("a,b", 0, &["b,a", "x,y"]), (Ok(()), vec![Ok(()), Ok(())]));
    assert_eq!(partition::<Edge>("", 7, &["b,a", "x,y"]).1, [Ok(()), Ok(())]);
}

#[test]
fn empty_fields_are_missing_where_a_column_may_be() {
    let person = |line: &str| read::<Person>("", line.as_bytes()).map(|row| row.expect("a row"));
    let (home, work) = (Place { town: "Ulm".into(), zip: None }, Place { town: "Bonn".into(), zip: Some(7) });
    let least = Person { name: "".into(), at: None, home, work: None, weight: None };
    assert_eq!(person(",,Ulm,,,,"), Ok(least.clone()));
    let all = Person { work: Some(work), at: Some(Timestamp::from_micros(1000)), ..least };
    assert_eq!(person(",1,Ulm,,Bonn,7,"), Ok(all));
    let header = "name,home.town";
    let row = read::<Person>(header, b"a,Ulm").unwrap().expect("a row");
    assert_eq!((row.name, row.home.town, row.work), ("a".into(), "Ulm".into(), None));
    assert_eq!(read::<Person>(header, b"name,home.town"), Ok(None));
}

#[test]
fn what_can_not_be_read_is_told_with_its_column_and_not_quoted() {
    for (line, why) in [
        ("", "expected 2 fields, found 0"),
        ("secret", "expected 2 fields, found 1"),
        ("secret,7,8", "expected 2 fields, found more"),
        ("secret,7,", "expected 2 fields, found more"),
        ("a,secret", "1: it is not a whole number"),
        ("a,", "1: it is empty"),
        ("a,99999999999999999999", "1: it is out of range of 64 bits"),
        ("a,7\nb,8", "it has more than one line"),
        ("a,\"7", "a field in quotes does not end"),
        ("\"", "a field in quotes does not end"),
    ] {
        assert_eq!(pair("", line), Err(why.to_owned()), "{line:?}");
    }
    assert_eq!(read::<Text>("0", b"a,b"), Err("expected 1 field, found more".to_owned()));
    assert_eq!(read::<(Text, i64)>("", b"\xff,7"), Err("0: it is not UTF-8".to_owned()));
    for (header, why) in [
        ("a,,b", "csv: name 2 of 3 is empty"),
        ("a,b,a", "csv: the name \"a\" is there twice"),
        ("0,other", "column \"1\" is not among the fields: 0, other"),
    ] {
        assert_eq!(pair(header, ""), Err(why.to_owned()));
    }
    let why = read::<(i64, DynRow)>("", b"").unwrap_err();
    assert!(why.contains("column \"1\" is a row of its own"), "{why}");
}

#[test]
fn any_bytes_are_a_row_or_an_error_and_never_a_panic() {
    let random = &mut StdRng::seed_from_u64(3);
    let mut rows = 0;
    for _ in 0..20_000 {
        let length = random.random_range(0..24);
        let line: Vec<u8> =
            (0..length)
                .map(|_| {
                    if random.random() {
                        *b",\"\r\n7.;-\xff".choose(random).unwrap()
                    } else {
                        random.random()
                    }
                })
                .collect();
        rows += usize::from(read::<(Text, Option<i64>)>("", &line).is_ok());
        let _ = read::<Person>("", &line);
    }
    assert!(rows > 100, "{rows}");
}
