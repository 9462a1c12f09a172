//! Batches that another encoder has written, read here: whole, damaged, and of transactions.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{Compression, Record, TimestampType};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::types::RDKafkaErrorCode;

use super::batch::{RawHeaders, Wrong};
use super::chunk::{Chunk, Cursor, Reach, reach, read};
use super::codecs::Codecs;
use batches::{CODECS, batch, compress};

#[path = "../../../../tests/engine/fuzz/batches.rs"]
mod batches;

const MOST: usize = 1 << 20;

/// A record, as it is compared.
type Seen = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

fn record(offset: i64, value: &str) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset,
        // The encoder begins another batch where they don't go along.
        sequence: i32::try_from(offset).expect("it is small"),
        timestamp: 1_000 + offset,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    }
}

/// A record of a transaction.
fn of_producer(producer: i64, offset: i64) -> Record {
    Record {
        transactional: true,
        producer_id: producer,
        producer_epoch: 0,
        ..record(offset, &format!("{producer} at {offset}"))
    }
}

/// What ends a transaction.
fn marker(producer: i64, offset: i64, commits: bool) -> Record {
    Record {
        control: true,
        key: Some(Bytes::copy_from_slice(&[0, 0, 0, commits.into()])),
        value: Some(Bytes::from_static(&[0; 6])),
        ..of_producer(producer, offset)
    }
}

fn seen(batches: &[u8], aborted: &[(i64, i64)]) -> Result<Vec<Seen>, Wrong> {
    let mut all = Vec::new();
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    read(Bytes::copy_from_slice(batches), aborted.to_vec(), MOST, &mut |record| {
        let header = record.headers.find("h");
        all.push((record.offset, record.timestamp, owned(record.key), owned(record.value), owned(header)));
    })?;
    Ok(all)
}

fn offsets(batches: &[u8], aborted: &[(i64, i64)]) -> Vec<i64> {
    seen(batches, aborted).expect("they are whole").into_iter().map(|(offset, ..)| offset).collect()
}

fn any_records(random: &mut SmallRng, first: i64) -> Vec<Record> {
    let mut offset = first;
    let count = random.random_range(1..40);
    let records = (0..count).map(|_| {
        offset += random.random_range(1..5);
        let mut bytes = |most: usize| {
            let length = random.random_range(0..most);
            (length % 5 != 0).then(|| Bytes::from((0..length).map(|_| random.random()).collect::<Vec<u8>>()))
        };
        let (key, value, header) = (bytes(20), bytes(300), bytes(200));
        let mut record =
            Record { key, value, timestamp: 1_700_000_000_000 - offset * 977, ..record(offset, "") };
        if header.is_some() {
            record.headers.insert(StrBytes::from_static_str("other"), None);
            record.headers.insert(StrBytes::from_static_str("h"), header);
        }
        record
    });
    records.collect()
}

fn as_seen(record: &Record) -> Seen {
    let header = record.headers.get(&StrBytes::from_static_str("h")).cloned().flatten();
    let owned = |bytes: Option<Bytes>| bytes.map(|bytes| bytes.to_vec());
    (record.offset, record.timestamp, owned(record.key.clone()), owned(record.value.clone()), owned(header))
}

#[test]
fn what_another_encoder_has_written_is_read_by_every_codec() {
    let mut random = SmallRng::seed_from_u64(1);
    for codec in CODECS {
        for _ in 0..50 {
            let (mut batches, mut wanted, mut first) = (Vec::new(), Vec::new(), 0);
            for _ in 0..random.random_range(1..6) {
                let records = any_records(&mut random, first);
                first = records.last().expect("there is one").offset + 1;
                wanted.extend(records.iter().map(as_seen));
                batches.extend(batch(&records, codec));
            }
            assert_eq!(reach(&batches), Ok(Some(Reach { after: first, epoch: 3 })));
            assert_eq!(seen(&batches, &[]).expect("they are whole"), wanted, "{codec:?}");
            // What is cut off at the end comes with the next answer.
            let last = batches.len() - 1;
            let cut = seen(&batches[..last], &[]).expect("the others are whole");
            assert!(cut.len() < wanted.len() && wanted.starts_with(&cut));
        }
    }
}

#[test]
fn java_snappy_is_read_in_its_blocks() {
    let (one, two) = ([7; 100], [9; 50]);
    let mut body = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in [&one[..], &two[..]] {
        let block = compress(block, Compression::Snappy);
        body.extend(u32::try_from(block.len()).expect("it is short").to_be_bytes());
        body.extend(block);
    }
    let (mut codecs, mut out) = (Codecs::new(MOST).expect("there is memory"), Vec::new());
    codecs.expand(2, &body, &mut out).expect("it is whole");
    assert_eq!(out, [&one[..], &two[..]].concat());
    for length in 0..body.len() {
        // Cut off between two blocks it is shorter, and nothing else.
        if codecs.expand(2, &body[..length], &mut out).is_ok() {
            assert!(out.is_empty() || out == one);
        }
    }
}

#[test]
fn the_broker_may_give_the_time() {
    let mut at = record(5, "x");
    at.timestamp_type = TimestampType::LogAppend;
    let batches = batch(
        &[
            at.clone(),
            Record { timestamp: at.timestamp, timestamp_type: at.timestamp_type, ..record(6, "y") },
        ],
        Compression::None,
    );
    let times: Vec<i64> =
        seen(&batches, &[]).expect("it is whole").iter().map(|(_, time, ..)| *time).collect();
    assert_eq!(times, [1_005, 1_005]);
}

#[test]
fn aborted_transactions_are_left_out_whoever_writes_between() {
    let parts = [
        of_producer(1, 0),
        of_producer(2, 1),
        record(2, "of none"),
        of_producer(1, 3),
        marker(1, 4, false),
        of_producer(2, 5),
        // The next transaction of the same producer.
        of_producer(1, 6),
        marker(2, 7, true),
        marker(1, 8, true),
        of_producer(1, 9),
        marker(1, 10, false),
    ];
    for codec in CODECS {
        let batches: Vec<u8> = parts
            .iter()
            .flat_map(|part| {
                batch(std::slice::from_ref(part), if part.control { Compression::None } else { codec })
            })
            .collect();
        assert_eq!(offsets(&batches, &[(1, 0), (1, 9)]), [1, 2, 5, 6], "{codec:?}");
        assert_eq!(offsets(&batches, &[]), [0, 1, 2, 3, 5, 6, 9]);
        assert_eq!(reach(&batches), Ok(Some(Reach { after: 11, epoch: 3 })));
    }
}

#[test]
fn a_chunk_can_be_left_at_any_record() {
    let batches: Vec<u8> = CODECS
        .into_iter()
        .zip([0, 10, 20, 30, 40])
        .flat_map(|(codec, first)| batch(&[record(first, "a"), record(first + 1, "b")], codec))
        .collect();
    let chunk = || Chunk { records: batches.clone().into(), aborted: Vec::new(), from: 0, checked: true };
    let mut codecs = Codecs::new(MOST).expect("there is memory");
    let mut cursors = [(); 2].map(|()| Cursor::new(chunk(), Vec::new()));
    // Two partitions by turns, each with a batch that is open.
    for offset in [0, 1, 10, 11, 20, 21, 30, 31, 40, 41] {
        for cursor in &mut cursors {
            let record = cursor.next(&mut codecs).expect("it is whole").expect("it is not the end");
            assert_eq!(record.offset, offset);
        }
    }
    for cursor in &mut cursors {
        assert!(cursor.next(&mut codecs).expect("it is whole").is_none());
        assert_eq!(cursor.place(), 40);
    }
}

#[test]
fn a_flipped_bit_of_what_the_checksum_covers_is_an_error() {
    for codec in CODECS {
        let whole = batch(&[record(7, "some text"), record(8, "and more")], codec);
        for bit in 8 * 17..8 * whole.len() {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let wrong = seen(&damaged, &[]).expect_err("it is damaged");
            assert_eq!(wrong.code, RDKafkaErrorCode::BadMessage, "{codec:?}, bit {bit}: {wrong:?}");
        }
    }
}

/// Puts the checksum of the first batch right.
fn seal(bytes: &mut [u8]) {
    if bytes.len() > 21 {
        let length = u32::from_be_bytes(bytes[8..12].try_into().expect("four bytes")) as usize + 12;
        let end = length.clamp(21, bytes.len());
        let sum = crc32c::crc32c(&bytes[21..end]);
        bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    }
}

#[test]
fn any_bytes_are_records_or_an_error_and_never_a_panic() {
    let mut random = SmallRng::seed_from_u64(2);
    for round in 0..30_000 {
        let codec = CODECS[round % CODECS.len()];
        let mut bytes = batch(&any_records(&mut random, 0), codec);
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = if random.random() { random.random() } else { bytes[at] ^ 0x80 };
        }
        bytes.truncate(random.random_range(0..=bytes.len()).max(random.random_range(0..=bytes.len())));
        seal(&mut bytes);
        let _ = reach(&bytes);
        let _ = seen(&bytes, &[(-1, 3)]);
    }
    assert_eq!(RawHeaders(&[0x80; 20]).find("h"), None);
    assert_eq!(RawHeaders(&[2, 2, b'h', 40]).find("h"), None);
}

#[test]
fn what_expands_beyond_the_bound_is_refused() {
    let large = "x".repeat(MOST);
    for codec in &CODECS[1..] {
        let wrong = seen(&batch(&[record(0, &large)], *codec), &[]).expect_err("it is too large");
        assert_eq!(wrong.code, RDKafkaErrorCode::BadCompression, "{codec:?}");
        assert!(wrong.text.contains("1048576 bytes"), "{}", wrong.text);
        seen(&batch(&[record(0, &large[..MOST - 100])], *codec), &[]).expect("it is not too large");
    }
}

#[test]
fn what_is_not_known_is_named() {
    let mut old = batch(&[record(0, "x")], Compression::None);
    old[16] = 1;
    let wrong = reach(&old).expect_err("it is old");
    assert_eq!(wrong.code, RDKafkaErrorCode::NotImplemented);
    assert!(wrong.text.contains("format 1"), "{}", wrong.text);
    let mut unknown = batch(&[record(0, "x")], Compression::None);
    unknown[22] |= 5;
    seal(&mut unknown);
    let wrong = seen(&unknown, &[]).expect_err("it is of no known codec");
    assert_eq!(wrong.code, RDKafkaErrorCode::NotImplemented);
    assert!(wrong.text.contains("codec 5"), "{}", wrong.text);
}
