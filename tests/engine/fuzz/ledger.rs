//! Segments of the ledger.

use std::sync::Arc;

use cutwater::state::cut::Cut;
use cutwater::state::ledger::{FOLDER, Ledger, Reading, verify};
use cutwater::state::resume::Entry;
use cutwater::state::sealed::is_sealed;
use cutwater::state::storage::Storage;
use cutwater::state::storage::fake::FakeDisk;
use cutwater::state::storage::files::Files;
use xxhash_rust::xxh3::xxh3_64;

use super::run_file::OneFile;

const JOB: &str = "0123abcd";

fn name() -> String {
    format!("{FOLDER}/{:020}.jsonl", 1)
}

#[cfg(test)]
pub(super) fn good() -> Vec<Vec<u8>> {
    let storage: Arc<dyn Storage> = Arc::new(Files::new(Arc::new(FakeDisk::new(1))));
    let mut ledger = Ledger::open(Arc::clone(&storage), JOB).expect("it is new");
    let mut all = Vec::new();
    for epoch in 1..=6 {
        let (mut starts, mut cut) = (Cut::default(), Cut::default());
        if epoch == 1 {
            starts.set("orders", "orders", 3, 0);
        }
        cut.set("orders", "orders", 3, epoch as i64 * 10);
        let entry = Entry { epoch, time: 1_700_000_000_000_000, starts, cut, ..Entry::default() };
        ledger.append(entry).expect("it follows");
        ledger.sync().expect("there is room");
        all.push(storage.read(&name(), None).expect("it is read").expect("it is there"));
    }
    all
}

/// Puts the checksums of lines right.
pub(super) fn seal(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let (line, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |line| (line, b"\n"));
        // `,"check":"`, 16 digits, `"}`
        match line.len().checked_sub(28) {
            Some(body) if !is_sealed(line) => {
                sealed.extend_from_slice(&line[..body]);
                sealed.extend_from_slice(
                    format!(",\"check\":\"{:016x}\"}}", xxh3_64(&line[..body])).as_bytes(),
                );
            }
            _ => sealed.extend_from_slice(line),
        }
        sealed.extend_from_slice(end);
    }
    sealed
}

/// It is read to its end, and verified; who resumes from it is refused, or resumes from an epoch that was read.
pub(crate) fn target(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), seal(bytes)] {
        let storage = OneFile { name: name(), bytes };
        for job in [None, Some(JOB)] {
            let mut reading = Reading::all(&storage, job).expect("it is listed");
            let mut found = 0;
            while let Some(Ok(_)) = reading.next() {
                found += 1;
                assert!(found < 100_000, "it does not end");
            }
            // Errors are what it may say.
            let _ = verify(&storage, job, &mut |_| ());
        }
        let storage: Arc<dyn Storage> = Arc::new(storage);
        if let Ok(ledger) = Ledger::open(storage, JOB) {
            assert!(ledger.published() <= ledger.last());
        }
    }
}
