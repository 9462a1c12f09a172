//! What every storage promises while nothing crashes, as a check. For tests.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Storage;

/// Bytes of a large file: it is written in several parts wherever parts are used.
const LARGE: usize = 20 << 20;

/// Holds an empty storage to what [`Storage`] promises. It is empty again after that.
///
/// # Panics
/// If it doesn't keep a promise.
pub fn check(storage: &dyn Storage) {
    files_are_put_read_listed_and_removed(storage);
    of_many_that_create_a_file_one_is_told_so(storage);
    a_large_file_is_there_when_it_is_finished(storage);
    if storage.appends() {
        bytes_are_appended(storage);
    } else {
        assert!(storage.append("a/f", 0, b"x").is_err());
    }
}

fn files_are_put_read_listed_and_removed(storage: &dyn Storage) {
    assert_eq!(storage.list("a").unwrap(), []);
    assert_eq!(storage.read("a/f", None).unwrap(), None);
    assert_eq!(storage.read("a/f", Some(0..1)).unwrap(), None);
    storage.remove("a/f").unwrap();
    for bytes in [&b"before"[..], b"", b"0123456789"] {
        storage.put("a/f", bytes).unwrap();
        assert_eq!(storage.read("a/f", None).unwrap().unwrap(), bytes);
    }
    for range in [0..10, 0..1, 3..7, 9..10, 5..5] {
        let part = &b"0123456789"[range.start as usize..range.end as usize];
        assert_eq!(storage.read("a/f", Some(range)).unwrap().unwrap(), part);
    }
    for beyond in [0..11, 9..12, 10..11, 20..30] {
        let error = storage.read("a/f", Some(beyond)).unwrap_err();
        assert!(format!("{error:#}").contains("a/f"), "{error:#}");
    }
    for name in ["a/b/f", "a/e", "ab", "job.json", "a/00000000000000000001.json"] {
        storage.put(name, name.as_bytes()).unwrap();
    }
    let listed = |folder: &str, names: &[(&str, u64)]| {
        let expected: Vec<_> = names.iter().map(|(name, length)| (name.to_string(), *length)).collect();
        assert_eq!(storage.list(folder).unwrap(), expected);
    };
    listed("a", &[("a/00000000000000000001.json", 27), ("a/e", 3), ("a/f", 10)]);
    listed("a/b", &[("a/b/f", 5)]);
    listed("", &[("ab", 2), ("job.json", 8)]);
    for name in ["a/b/f", "a/e", "ab", "job.json", "a/00000000000000000001.json", "a/f"] {
        storage.remove(name).unwrap();
        assert_eq!(storage.read(name, None).unwrap(), None);
    }
    listed("a", &[]);
}

fn of_many_that_create_a_file_one_is_told_so(storage: &dyn Storage) {
    const THREADS: usize = 4;
    for round in 0..20 {
        let name = format!("c/{round}");
        let (winner, winners) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let together = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for thread in 1..=THREADS {
                let (name, winner, winners, together) = (&name, &winner, &winners, &together);
                scope.spawn(move || {
                    together.wait();
                    if storage.create(name, format!("by {thread}").as_bytes()).unwrap() {
                        winner.store(thread, Ordering::Relaxed);
                        winners.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let winner = winner.into_inner();
        assert_eq!(winners.into_inner(), 1, "one has made {name}");
        let by = format!("by {winner}").into_bytes();
        assert_eq!(storage.read(&name, None).unwrap().unwrap(), by);
        assert!(!storage.create(&name, b"later").unwrap());
        assert_eq!(storage.read(&name, None).unwrap().unwrap(), by);
        storage.remove(&name).unwrap();
    }
}

fn a_large_file_is_there_when_it_is_finished(storage: &dyn Storage) {
    let bytes: Vec<u8> = (0..LARGE / 8).flat_map(|word| (word as u64).to_le_bytes()).collect();
    for length in [0, 1000, LARGE] {
        for finished in [false, true] {
            let mut file = storage.write("l/f").unwrap();
            for part in bytes[..length].chunks(300_000) {
                file.write(part).unwrap();
            }
            assert_eq!(storage.read("l/f", None).unwrap(), None);
            assert_eq!(storage.list("l").unwrap(), []);
            if finished {
                file.finish().unwrap();
            } else {
                drop(file);
                assert_eq!(storage.list("l").unwrap(), []);
            }
        }
        assert_eq!(storage.list("l").unwrap(), [("l/f".to_owned(), length as u64)]);
        assert!(storage.read("l/f", None).unwrap().unwrap() == bytes[..length]);
        let range = length / 3..length / 3 * 2;
        let part = storage.read("l/f", Some(range.start as u64..range.end as u64)).unwrap().unwrap();
        assert!(part == bytes[range], "a range of {length}");
        storage.remove("l/f").unwrap();
    }
}

fn bytes_are_appended(storage: &dyn Storage) {
    storage.append("p/f", 0, b"one").unwrap();
    storage.append("p/f", 3, b"two").unwrap();
    assert_eq!(storage.read("p/f", None).unwrap().unwrap(), b"onetwo");
    storage.append("p/f", 4, b"hree").unwrap();
    assert_eq!(storage.read("p/f", None).unwrap().unwrap(), b"onethree");
    storage.remove("p/f").unwrap();
}
