//! The codec of flat batches beside bincode and columnar: a batch of words with counts to bytes and back, every row read.
//!
//! Only ours checks the bytes that it reads (xxh3); what the checksum alone costs is shown as well.
//!
//! `cargo bench --bench codec [-- --json FILE]`

#[path = "support/figures.rs"]
mod figures;
#[path = "support/words.rs"]
mod words;

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use columnar::bytes::{indexed, stash::Stash};
use columnar::{Borrow, ContainerOf, Index, Len, Push};
use cutwater_dataflows::flat::{FlatBatch, decode, encode};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Rows of a batch: about what one holds when it is sent on.
const ROWS: u64 = 16_000;
/// How often each is measured; the median counts.
const ROUNDS: usize = 301;

/// A codec's figures, a row.
#[derive(Serialize)]
struct Codec {
    name: &'static str,
    encode_nanos: f64,
    decode_nanos: f64,
    bytes: f64,
    /// Million bytes of rows and counts a second, to bytes and back.
    mb_per_second: f64,
}

/// What a batch holds, as bincode sees it: the same three arrays.
#[derive(Serialize, Deserialize)]
struct Arrays {
    counts: Vec<i64>,
    ends: Vec<u64>,
    bytes: Vec<u8>,
}

fn main() -> Result<()> {
    let rows: Vec<(Vec<u8>, i64)> = (0..ROWS)
        .map(|number| {
            let mut word = String::new();
            words::push(number, &mut word);
            (word.into_bytes(), number as i64)
        })
        .collect();
    let total: i64 = rows.iter().map(|(row, count)| seen(row, *count)).sum();
    let data: usize = rows.iter().map(|(row, _)| row.len() + 8).sum();
    let codecs =
        [flat(&rows, total)?, in_columns(&rows, total)?, arrays(&rows, total)?, pairs(&rows, total)?];
    println!("{ROWS} rows of seven letters with a count, {data} bytes; median of {ROUNDS}");
    println!("{:<34} {:>12} {:>12} {:>12} {:>12}", "", "encode ns", "decode ns", "both MB/s", "bytes a row");
    let codecs: Vec<Codec> = codecs
        .into_iter()
        .map(|codec| {
            let nanos = codec.encode_nanos + codec.decode_nanos;
            Codec { mb_per_second: data as f64 / ROWS as f64 / nanos * 1e3, ..codec }
        })
        .collect();
    for codec in &codecs {
        let Codec { name, encode_nanos, decode_nanos, mb_per_second, bytes } = codec;
        println!("{name:<34} {encode_nanos:>12.2} {decode_nanos:>12.2} {mb_per_second:>12.0} {bytes:>12.1}");
    }
    figures::write(&codecs)
}

/// The median time of `run`, in nanoseconds a row.
fn median(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e9 / ROWS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

/// What of a row is looked at: its bytes, at both ends, and its count.
fn seen(row: &[u8], count: i64) -> i64 {
    let end = |byte: Option<&u8>| byte.map_or(0, |&byte| i64::from(byte));
    end(row.first()) + end(row.last()) + row.len() as i64 + count
}

/// Measures a codec: `write` makes bytes, `read` adds up what is seen of all rows, which is to be `total`.
fn measure(
    name: &'static str,
    total: i64,
    mut write: impl FnMut(&mut Vec<u8>),
    mut read: impl FnMut(&mut Vec<u8>) -> i64,
) -> Result<Codec> {
    let mut bytes = Vec::new();
    let encode_nanos = median(|| {
        bytes.clear();
        write(&mut bytes);
        black_box(bytes.len());
    });
    let length = bytes.len() as f64 / ROWS as f64;
    ensure!(read(&mut bytes) == total, "{name} gives other rows back");
    let decode_nanos = median(|| {
        black_box(read(&mut bytes));
    });
    Ok(Codec { name, encode_nanos, decode_nanos, bytes: length, mb_per_second: 0.0 })
}

fn flat(rows: &[(Vec<u8>, i64)], total: i64) -> Result<Codec> {
    let mut batch = FlatBatch::default();
    rows.iter().for_each(|(row, count)| batch.push(row, *count));
    let mut bytes = Vec::new();
    encode(&batch, &mut bytes)?;
    let checksum = median(|| {
        black_box(xxh3_64(&bytes));
    });
    println!("xxh3 of a batch: {checksum:.2} ns a row, in each direction of ours");
    measure(
        "flat batch (abomonation, checked)",
        total,
        |bytes| encode(&batch, bytes).expect("memory takes all"),
        |bytes| {
            decode(bytes, |batch| batch.iter().map(|(row, count)| seen(row, count)).sum())
                .expect("the batch is whole")
        },
    )
}

fn in_columns(rows: &[(Vec<u8>, i64)], total: i64) -> Result<Codec> {
    // Its texts are read as slices of bytes; its vectors of bytes are not.
    let mut columns: ContainerOf<(String, i64)> = Default::default();
    for (row, count) in rows {
        columns.push(&(String::from_utf8(row.clone())?, *count));
    }
    measure(
        "columnar",
        total,
        |bytes| indexed::write(bytes, &columns.borrow()).expect("memory takes all"),
        |bytes| {
            let stash: Stash<ContainerOf<(String, i64)>, &[u8]> =
                Stash::try_from_bytes(&bytes[..]).expect("the bytes are whole");
            let columns = stash.borrow();
            (0..columns.len())
                .map(|index| {
                    let (row, count) = columns.get(index);
                    seen(row, *count)
                })
                .sum()
        },
    )
}

fn arrays(rows: &[(Vec<u8>, i64)], total: i64) -> Result<Codec> {
    let mut arrays = Arrays { counts: Vec::new(), ends: Vec::new(), bytes: Vec::new() };
    for (row, count) in rows {
        arrays.bytes.extend_from_slice(row);
        arrays.ends.push(arrays.bytes.len() as u64);
        arrays.counts.push(*count);
    }
    measure(
        "bincode, of the same three arrays",
        total,
        |bytes| bincode::serialize_into(bytes, &arrays).expect("memory takes all"),
        |bytes| {
            let arrays: Arrays = bincode::deserialize(bytes).expect("the bytes are whole");
            let mut start = 0;
            arrays
                .counts
                .iter()
                .zip(&arrays.ends)
                .map(|(count, &end)| {
                    let row = &arrays.bytes[start as usize..end as usize];
                    start = end;
                    seen(row, *count)
                })
                .sum()
        },
    )
}

fn pairs(rows: &[(Vec<u8>, i64)], total: i64) -> Result<Codec> {
    measure(
        "bincode, of rows",
        total,
        |bytes| bincode::serialize_into(bytes, rows).expect("memory takes all"),
        |bytes| {
            let rows: Vec<(Vec<u8>, i64)> = bincode::deserialize(bytes).expect("the bytes are whole");
            rows.iter().map(|(row, count)| seen(row, *count)).sum()
        },
    )
}
