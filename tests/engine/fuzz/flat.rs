//! The codec of flat batches.

use cutwater_dataflows::flat::{FlatBatch, decode, encode};
use xxhash_rust::xxh3::xxh3_64;

#[cfg(test)]
pub(super) fn good() -> Vec<Vec<u8>> {
    let mut batch = FlatBatch::default();
    let mut all = vec![encoded(&batch)];
    for row in ["", "a", "the longest of them all", "b"] {
        batch.push(row.as_bytes(), row.len() as i64 - 1);
        all.push(encoded(&batch));
    }
    all
}

pub(super) fn encoded(batch: &FlatBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(batch, &mut bytes).expect("memory takes all");
    bytes
}

/// Puts the checksum right: of all that follows it, the pointers taken as zero.
pub(super) fn seal(bytes: &mut [u8]) {
    if bytes.len() < 64 {
        return;
    }
    for pointer in [16, 32, 48] {
        bytes[pointer..pointer + 8].fill(0);
    }
    let sum = xxh3_64(&bytes[16..]);
    bytes[8..16].copy_from_slice(&sum.to_le_bytes());
}

/// What is read as a batch can be walked, and is the same when it is written and read once more.
pub(crate) fn target(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for _ in 0..2 {
        let read = decode(&mut bytes, |batch| {
            let rows: Vec<_> = batch.iter().map(|(row, count)| (row.to_vec(), count)).collect();
            assert_eq!(rows.len(), batch.len());
            (rows, batch.to_batch())
        });
        if let Ok((rows, batch)) = read {
            let again = decode(&mut encoded(&batch), |batch| {
                batch.iter().map(|(row, count)| (row.to_vec(), count)).collect::<Vec<_>>()
            });
            assert_eq!(again, Ok(rows));
        }
        seal(&mut bytes);
    }
}
