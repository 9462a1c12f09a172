//! Decoding records to encoded rows, format by format, beside what else there is: `serde_json` into a struct, and
//! apache-avro into its own values. Eight columns are read of eleven fields.
//!
//! `cargo bench --bench formats [-- --json FILE]`

#[path = "support/figures.rs"]
mod figures;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Datum;
use apache_avro::writer::datum::GenericDatumWriter;
use cutwater_dataflows::format::avro::{Found, Schemas};
use cutwater_dataflows::format::{Avro, Csv, Format, Json, Layout, RowWriter};
use cutwater_dataflows::prelude::*;
use serde::{Deserialize, Serialize};

/// Records of a round.
const RECORDS: usize = 5_000;
/// How often each is measured; the median counts.
const ROUNDS: usize = 51;

/// What is read.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Order {
    id: Text,
    product: Text,
    quantity: i64,
    price: Decimal<2>,
    region: Text,
    at: Timestamp,
    gift: bool,
    town: Option<Text>,
}

/// The same for serde, with texts that borrow: it neither checks the decimal nor makes a row of it.
#[derive(Deserialize)]
struct Borrowed<'a> {
    id: &'a str,
    product: &'a str,
    quantity: i64,
    price: &'a str,
    region: &'a str,
    at: i64,
    gift: bool,
    town: Option<&'a str>,
}

/// The same with texts of its own.
#[derive(Deserialize)]
struct Owned {
    id: String,
    product: String,
    quantity: i64,
    price: String,
    region: String,
    at: i64,
    gift: bool,
    town: Option<String>,
}

/// A way of decoding, a row.
#[derive(Serialize)]
struct Figure {
    name: &'static str,
    nanos: f64,
    bytes: f64,
    /// How its time compares with that of the first one of its group.
    ratio: f64,
}

const SCHEMA: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"string"},{"name":"product","type":"string"},{"name":"quantity","type":"long"},
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}},
    {"name":"currency","type":"string"},{"name":"region","type":"string"},{"name":"colour","type":"string"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"gift","type":"boolean"},
    {"name":"note","type":["null","string"]},{"name":"town","type":["null","string"]}]}"#;

/// A registry of that one.
struct One;

impl Schemas for One {
    fn get(&self, _id: u32) -> Found {
        Found::There([SCHEMA.to_owned()].into())
    }
}

fn json(number: usize) -> Vec<u8> {
    format!(
        r#"{{"id":"order-{number}","product":"product-{}","quantity":{},"price":"{}.{:02}","currency":"EUR","region":"north","colour":"red","at":{},"gift":{},"note":null,"town":"Ulm"}}"#,
        number % 100,
        number % 7,
        number % 1000,
        number % 100,
        1_767_225_600_000 + number,
        number.is_multiple_of(2)
    )
    .into_bytes()
}

fn csv(number: usize) -> Vec<u8> {
    format!(
        "order-{number},product-{},{},{}.{:02},EUR,north,red,{},{},,Ulm",
        number % 100,
        number % 7,
        number % 1000,
        number % 100,
        1_767_225_600_000 + number,
        number.is_multiple_of(2)
    )
    .into_bytes()
}

fn avro(number: usize) -> Result<Vec<u8>> {
    let schema = apache_avro::Schema::parse_str(SCHEMA)?;
    let text = |text: String| Datum::String(text);
    let cents = (number % 1000 * 100 + number % 100) as i64;
    let fields = vec![
        ("id", text(format!("order-{number}"))),
        ("product", text(format!("product-{}", number % 100))),
        ("quantity", Datum::Long((number % 7) as i64)),
        ("price", Datum::Decimal(cents.to_be_bytes().to_vec().into())),
        ("currency", text("EUR".into())),
        ("region", text("north".into())),
        ("colour", text("red".into())),
        ("at", Datum::TimestampMillis(1_767_225_600_000 + number as i64)),
        ("gift", Datum::Boolean(number.is_multiple_of(2))),
        ("note", Datum::Union(0, Box::new(Datum::Null))),
        ("town", Datum::Union(1, Box::new(text("Ulm".into())))),
    ];
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let datum = GenericDatumWriter::builder(&schema).build()?.write_value_to_vec(Datum::Record(fields))?;
    Ok([&[0, 0, 0, 0, 1][..], &datum].concat())
}

fn main() -> Result<()> {
    let (json, csv): (Vec<_>, Vec<_>) = (0..RECORDS).map(|number| (json(number), csv(number))).unzip();
    let avro = (0..RECORDS).map(avro).collect::<Result<Vec<_>>>()?;
    let header = "id,product,quantity,price,currency,region,colour,at,gift,note,town";
    let named = Csv::default().with(header).map_err(|why| anyhow!(why))?;
    let (rows_json, of_json) = rows(&Json, &json)?;
    let (rows_csv, of_csv) = rows(&*named, &csv)?;
    let (rows_avro, of_avro) = rows(&Avro::new(Arc::new(One)), &avro)?;
    ensure!(of_json == of_csv && of_json == of_avro, "the formats make other rows of the same orders");
    let figures = [
        group("serde_json, borrowed", &json, &mut || json.iter().map(|json| borrowed(json)).sum()),
        group("serde_json, owned", &json, &mut || json.iter().map(|json| owned(json)).sum()),
        Figure { name: "json, to encoded rows", ..rows_json },
        Figure { name: "csv, to encoded rows", ..rows_csv },
        values(&avro)?,
        Figure { name: "avro, to encoded rows", ..rows_avro },
    ];
    println!("{RECORDS} orders of 11 fields, 8 of them read; median of {ROUNDS}");
    println!("{:<28} {:>10} {:>10} {:>14}", "", "ns", "bytes", "serde_json = 1");
    let base = figures[0].nanos;
    let figures = figures.map(|figure| Figure { ratio: figure.nanos / base, ..figure });
    for Figure { name, nanos, bytes, ratio } in &figures {
        println!("{name:<28} {nanos:>10.0} {bytes:>10.0} {ratio:>14.2}");
    }
    figures::write(&figures)
}

fn group(name: &'static str, records: &[Vec<u8>], run: &mut dyn FnMut() -> i64) -> Figure {
    let bytes = records.iter().map(Vec::len).sum::<usize>() as f64 / RECORDS as f64;
    let nanos = median(&mut || {
        black_box(run());
    });
    Figure { name, nanos, bytes, ratio: 0.0 }
}

fn borrowed(json: &[u8]) -> i64 {
    let order: Borrowed<'_> = serde_json::from_slice(json).expect("an order");
    let Borrowed { id, product, quantity, price, region, at, gift, town } = black_box(order);
    let texts = id.len() + product.len() + price.len() + region.len() + town.map_or(0, str::len);
    texts as i64 + quantity + at + i64::from(gift)
}

fn owned(json: &[u8]) -> i64 {
    let order: Owned = serde_json::from_slice(json).expect("an order");
    let Owned { id, product, quantity, price, region, at, gift, town } = black_box(order);
    let texts = id.len() + product.len() + price.len() + region.len() + town.map_or(0, |town| town.len());
    texts as i64 + quantity + at + i64::from(gift)
}

/// Decodes records as a source does. Returns all rows as well.
fn rows(format: &dyn Format, records: &[Vec<u8>]) -> Result<(Figure, Vec<u8>)> {
    let schema = Schema::of::<Order>();
    let layout = Layout::new(&schema).map_err(|why| anyhow!(why))?;
    let mut decoder = format.open(&schema).map_err(|why| anyhow!(why))?;
    let mut read = |out: &mut Vec<u8>| -> Result<()> {
        for (offset, payload) in records.iter().enumerate() {
            let record = Record { offset: offset as i64, ..Record::of_value(Some(payload)) };
            let mut row = RowWriter::of(&record, &layout, out);
            decoder.decode(payload, &record, &mut row).map_err(|why| anyhow!("{why:?}"))?;
            row.finish().map_err(|why| anyhow!("{why:?}"))?;
        }
        Ok(())
    };
    let mut all = Vec::new();
    read(&mut all)?;
    let mut out = Vec::new();
    let figure = group("", records, &mut || {
        out.clear();
        read(&mut out).expect("they were read before");
        out.len() as i64
    });
    Ok((figure, all))
}

/// apache-avro's own values.
fn values(records: &[Vec<u8>]) -> Result<Figure> {
    let schema = apache_avro::Schema::parse_str(SCHEMA)?;
    let reader = GenericDatumReader::builder(&schema).build()?;
    let read = |record: &Vec<u8>| match reader.read_value(&mut &record[5..]) {
        Ok(Datum::Record(fields)) => fields.len() as i64,
        _ => 0,
    };
    Ok(group("apache-avro, to its values", records, &mut || records.iter().map(read).sum()))
}

/// The median time of `run`, in nanoseconds a record.
fn median(run: &mut dyn FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e9 / RECORDS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}
