//! Record batches as a broker hands them over.

use bytes::Bytes;
use cutwater::feed::kafka::direct::read;

/// What a batch may expand to.
const MOST: usize = 1 << 20;

#[cfg(test)]
pub(super) fn good() -> Vec<Vec<u8>> {
    use kafka_protocol::records::{Record, TimestampType};

    use super::batches::{CODECS, batch};

    let record = |offset: i64, producer: i64| Record {
        transactional: producer >= 0,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 1,
        producer_id: producer,
        producer_epoch: 0,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: offset as i32,
        timestamp: 1_700_000_000_000 + offset,
        key: (offset % 2 == 0).then(|| Bytes::from_static(b"key")),
        value: Some(Bytes::from(vec![b'v'; offset as usize * 20])),
        headers: Default::default(),
    };
    let batches = CODECS.into_iter().flat_map(|codec| {
        [-1, 7].map(|producer| batch(&[record(3, producer), record(4, producer), record(9, producer)], codec))
    });
    let mut all: Vec<Vec<u8>> = batches.collect();
    all.push(all.concat());
    all
}

/// Puts the checksum of the first batch right.
fn seal(bytes: &mut [u8]) {
    if let Some(length) = bytes.get(8..12)
        && bytes.len() > 21
    {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        let end = length.saturating_add(12).clamp(21, bytes.len());
        let sum = crc32c::crc32c(&bytes[21..end]);
        bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Whatever they are, they are read the same way each time, and without the records of aborted transactions there are no others.
pub(crate) fn target(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for _ in 0..2 {
        let read = |aborted: &[(i64, i64)]| {
            let mut records = Vec::new();
            let ended = read(Bytes::copy_from_slice(&bytes), aborted.to_vec(), MOST, &mut |record| {
                records.push((record.offset, record.value.map(<[u8]>::to_vec)));
                let _ = record.headers.find("name");
            });
            (records, ended.is_ok())
        };
        let all = read(&[]);
        assert_eq!(read(&[]), all);
        let (left, whole) = read(&[(7, 0)]);
        if whole && all.1 {
            assert!(left.len() <= all.0.len());
        }
        seal(&mut bytes);
    }
}
