//! The ledger on disks that crash, lose, fill up and flip bits: what was synced is there, or the damage is named.

use std::sync::Arc;

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::source::{Moved, Report};
use cutwater_dataflows::watermark::Times;
use nix::errno::Errno;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Ledger, LedgerCuts, Problem, Retired, Since, Verified, segment, verify};
use crate::publish::Cuts;
use crate::state::cut::Cut;
use crate::state::digest::{Digest, Digests};
use crate::state::resume::{Entry, Resume};
use crate::state::sealed::seal;
use crate::state::storage::fake::{FakeDisk, Kind};
use crate::state::storage::files::Files;
use crate::state::storage::{Storage, Writing};

const JOB: &str = "job";

/// Files that can't be appended to, as those of an object store.
struct Objects(Files);

impl Storage for Objects {
    fn place(&self) -> String {
        self.0.place()
    }
    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.0.put(name, bytes)
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        self.0.create(name, bytes)
    }
    fn write(&self, name: &str) -> Result<Box<dyn Writing>> {
        self.0.write(name)
    }
    fn appends(&self) -> bool {
        false
    }
    fn append(&self, name: &str, _: u64, _: &[u8]) -> Result<()> {
        panic!("{name} is appended to")
    }
    fn read(&self, name: &str, range: Option<std::ops::Range<u64>>) -> Result<Option<Vec<u8>>> {
        self.0.read(name, range)
    }
    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        self.0.list(folder)
    }
    fn remove(&self, name: &str) -> Result<()> {
        self.0.remove(name)
    }
}

fn files(disk: &FakeDisk) -> Arc<dyn Storage> {
    Arc::new(Files::new(Arc::new(disk.clone())))
}

fn objects(disk: &FakeDisk) -> Arc<dyn Storage> {
    Arc::new(Objects(Files::new(Arc::new(disk.clone()))))
}

/// Opens a ledger whose segments are of a few lines.
fn open(storage: &Arc<dyn Storage>) -> Result<Ledger> {
    let mut ledger = Ledger::open(Arc::clone(storage), JOB)?;
    ledger.segment_bytes = 600;
    Ok(ledger)
}

/// The entry that follows on a cut; its time is its epoch.
fn entry(epoch: Epoch, cut: &Cut, rng: &mut StdRng) -> Entry {
    let times = Times { closed: epoch as i64, watermark: None, watermarks: Default::default() };
    let mut entry =
        Entry { epoch, time: epoch, published: epoch.saturating_sub(3), times, ..Entry::default() };
    for _ in 0..rng.random_range(0..4) {
        let (topic, partition) = (["a", "b"][rng.random_range(0..2)], rng.random_range(0..3));
        let from = cut.get("lines", topic, partition).unwrap_or_else(|| {
            entry.starts.set("lines", topic, partition, 7);
            7
        });
        let records = rng.random_range(1..100);
        entry.cut.set("lines", topic, partition, from + records);
        entry.records += records as u64;
    }
    entry
}

/// Appends epochs up to `last`, in groups of up to 4, and syncs each.
fn grow(ledger: &mut Ledger, entries: &mut Vec<Entry>, last: Epoch, rng: &mut StdRng) -> Result<()> {
    while ledger.last() < last {
        for _ in 0..rng.random_range(1..=4) {
            let entry = entry(entries.len() as Epoch + 1, &ledger.appended.cut, rng);
            entries.push(entry.clone());
            ledger.append(entry)?;
        }
        ledger.sync()?;
    }
    Ok(())
}

/// A ledger of some segments.
fn sample(storage: &Arc<dyn Storage>, last: Epoch) -> Vec<Entry> {
    let mut ledger = open(storage).unwrap();
    let mut entries = Vec::new();
    grow(&mut ledger, &mut entries, last, &mut StdRng::seed_from_u64(last)).unwrap();
    entries
}

fn cut_of(entries: &[Entry]) -> Cut {
    let mut cut = Cut::default();
    entries.iter().for_each(|entry| cut.advance(&entry.cut));
    cut
}

fn times_of(entries: &[Entry]) -> Times {
    entries.last().map_or_else(Times::default, |entry| entry.times.clone())
}

fn problems(storage: &Arc<dyn Storage>) -> (Verified, Vec<Problem>) {
    let mut problems = Vec::new();
    let verified = verify(&**storage, Some(JOB), &mut |problem| problems.push(problem)).unwrap();
    assert_eq!(verified.problems, problems.len());
    (verified, problems)
}

#[test]
fn lines_are_as_the_format_says() {
    let disk = FakeDisk::new(0);
    let storage = files(&disk);
    let mut ledger = open(&storage).unwrap();
    let watermarks = [("lines".to_owned(), -4)].into();
    let times = Times { closed: 9, watermark: Some(-4), watermarks };
    let mut first = Entry { epoch: 1, time: 5, records: 3, times, ..Entry::default() };
    first.starts.set("lines", "t", 0, 7);
    first.cut.set("lines", "t", 0, 10);
    ledger.append(first).unwrap();
    ledger.append(Entry { epoch: 2, time: 6, published: 1, ..Entry::default() }).unwrap();
    ledger.sync().unwrap();
    let text =
        String::from_utf8(storage.read("ledger/00000000000000000001.jsonl", None).unwrap().unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let run = &ledger.run;
    assert!(
        lines[0].starts_with(&format!(
            "{{\"format\":1,\"job\":\"job\",\"run\":\"{run}\",\"since\":1,\"epoch\":1,\"time\":5,\"published\":0,\
             \"closed\":0,\"cut\":{{}},\"check\":\""
        )),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[1..],
        [
            "{\"epoch\":1,\"time\":5,\"records\":3,\"published\":0,\"closed\":9,\"watermark\":-4,\"watermarks\":{\"lines\":-4},\"starts\":{\"lines\":{\"t\":{\"0\":7}}},\
             \"cut\":{\"lines\":{\"t\":{\"0\":10}}},\"check\":\"f7a858e17165268b\"}",
            "{\"epoch\":2,\"time\":6,\"records\":0,\"published\":1,\"closed\":0,\"cut\":{},\"synced\":0,\"check\":\"c8c4794d7ad11d35\"}",
        ]
    );
}

#[test]
fn what_was_synced_is_read_from_any_epoch() {
    for storage in [files(&FakeDisk::new(1)), objects(&FakeDisk::new(1))] {
        let entries = sample(&storage, 60);
        let ledger = open(&storage).unwrap();
        assert!(segment::list(&*storage).unwrap().len() > 3);
        assert_eq!(ledger.last(), entries.len() as Epoch);
        assert_eq!(ledger.published(), ledger.last() - 3);
        assert_eq!(*ledger.cut(), cut_of(&entries));
        for epoch in 0..=entries.len() {
            let Since { cut, times, entries: after } = ledger.since(epoch as Epoch).unwrap();
            assert_eq!(times, times_of(&entries[..epoch]));
            assert_eq!((cut, after.as_slice()), (cut_of(&entries[..epoch]), &entries[epoch..]));
        }
        let error = ledger.since(ledger.last() + 1).unwrap_err().to_string();
        assert!(error.contains("lost its end"), "{error}");
        let (verified, _) = problems(&storage);
        assert_eq!(verified.range, Some((1, ledger.last())));
        assert_eq!((verified.epochs, verified.problems, verified.torn), (ledger.last(), 0, None));
    }
}

#[test]
fn an_entry_that_does_not_follow_is_refused() {
    let storage = files(&FakeDisk::new(0));
    let mut ledger = open(&storage).unwrap();
    let entry = |epoch, next| {
        let mut entry = Entry { epoch, ..Entry::default() };
        entry.cut.set("lines", "t", 0, next);
        entry
    };
    assert!(ledger.append(entry(2, 0)).unwrap_err().to_string().contains("goes on with epoch 1"));
    ledger.append(entry(1, 10)).unwrap();
    let error = ledger.append(entry(2, 9)).unwrap_err().to_string();
    assert!(error.contains("t partition 0 goes back from offset 10 to 9"), "{error}");
    ledger.append(entry(2, 10)).unwrap();
    assert_eq!(ledger.last(), 0);
    ledger.sync().unwrap();
    assert_eq!(ledger.last(), 2);
}

#[test]
fn a_tail_cut_off_anywhere_leaves_what_is_before_it() {
    let disk = FakeDisk::new(2);
    let storage = files(&disk);
    let entries = sample(&storage, 40);
    let segments = segment::list(&*storage).unwrap();
    let last = segments.last().unwrap();
    let bytes = storage.read(&last.name(), None).unwrap().unwrap();
    let before = &segments[segments.len() - 2];
    let bytes_before = storage.read(&before.name(), None).unwrap().unwrap();
    for length in 0..bytes.len() {
        storage.put(&last.name(), &bytes[..length]).unwrap();
        let lines = bytes[..length].iter().filter(|&&byte| byte == b'\n').count();
        let kept = last.first as usize - 1 + lines.saturating_sub(1);
        let (verified, found) = problems(&storage);
        assert_eq!(found, [], "what is torn is no damage");
        assert_eq!(verified.torn.is_some(), !bytes[..length].ends_with(b"\n"));
        assert_eq!(storage.read(&last.name(), None).unwrap().unwrap().len(), length, "and is left as it is");
        let mut ledger = open(&storage).unwrap();
        assert_eq!(ledger.since(0).unwrap().entries, entries[..kept], "{length} bytes");
        // It resumes from there.
        let mut again = entries[..kept].to_vec();
        grow(&mut ledger, &mut again, kept as Epoch + 3, &mut StdRng::seed_from_u64(0)).unwrap();
        assert_eq!(open(&storage).unwrap().since(0).unwrap().entries, again);
        for name in segment::list(&*storage).unwrap().iter().skip(segments.len() - 1).map(|s| s.name()) {
            storage.remove(&name).unwrap();
        }
    }
    storage.put(&last.name(), &bytes).unwrap();
    for length in 0..bytes_before.len() {
        storage.put(&before.name(), &bytes_before[..length]).unwrap();
        let error = open(&storage).err().unwrap().to_string();
        assert!(error.contains("damaged: fake/ledger/") && error.contains(", line "), "{error}");
        assert!(!problems(&storage).1.is_empty());
    }
}

#[test]
fn a_flipped_bit_is_named_or_cut_off_where_nothing_tells_that_it_was_durable() {
    for appends in [true, false] {
        let disk = FakeDisk::new(3);
        let storage = if appends { files(&disk) } else { objects(&disk) };
        let entries = sample(&storage, if appends { 14 } else { 6 });
        let segments = segment::list(&*storage).unwrap();
        assert!(segments.len() > 2);
        let mut cuts = 0;
        for (index, segment) in segments.iter().enumerate() {
            let name = segment.name();
            let bytes = storage.read(&name, None).unwrap().unwrap();
            // The group that was written last: nothing tells that its sync had returned.
            let scan = segment::scan(&bytes, segment.first);
            let group = scan.entries.iter().flatten().map(|e| e.epoch).max().unwrap();
            let group = (segment.first..=group).find(|&epoch| last_group(&bytes, epoch)).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                storage.put(&name, &flipped).unwrap();
                let (verified, found) = problems(&storage);
                assert!(verified.torn.is_some() || !found.is_empty(), "{name} bit {bit}");
                let line = bytes[..bit / 8].iter().filter(|&&byte| byte == b'\n').count() + 1;
                for problem in verified.torn.iter().chain(&found) {
                    assert!(problem.file.ends_with(&name) || index + 1 < segments.len());
                }
                let told = verified.torn.as_ref().or(found.first()).unwrap();
                assert!(told.line == line || told.line == line + 1, "{told}: bit {bit} is in line {line}");
                match open(&storage).and_then(|ledger| ledger.since(0)) {
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains(&format!("{name}, line ")), "{error}");
                    }
                    Ok(Since { entries: read, .. }) => {
                        cuts += 1;
                        assert!(appends && index + 1 == segments.len(), "{name} bit {bit}");
                        assert!(
                            read.len() as Epoch + 1 >= group,
                            "{} entries are left, bit {bit}",
                            read.len()
                        );
                        assert!(read.len() < entries.len());
                        assert_eq!(read, entries[..read.len()]);
                    }
                }
                storage.put(&name, &bytes).unwrap();
            }
        }
        assert_eq!(cuts > 0, appends);
        assert_eq!(open(&storage).unwrap().since(0).unwrap().entries, entries, "all is as it was");
    }
}

/// True iff no line of the segment tells that the epoch was durable.
fn last_group(bytes: &[u8], epoch: Epoch) -> bool {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().skip(1).all(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let synced = line.get("synced").map_or(line["epoch"].as_u64().unwrap() - 1, |s| s.as_u64().unwrap());
        synced < epoch
    })
}

#[test]
fn what_was_synced_survives_every_crash() {
    let (mut crashes, mut torn, mut kept) = (0, 0, 0);
    for seed in 0..2000 {
        let disk = FakeDisk::new(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        // What is known to be durable, and what may be.
        let (mut durable, mut tried): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
        for life in 0..5 {
            let storage = files(&disk);
            let (verified, found) = problems(&storage);
            assert_eq!(found, [], "seed {seed} life {life}");
            torn += usize::from(verified.torn.is_some());
            disk.power_off_after(rng.random_range(0..60));
            if let Ok(mut ledger) = open(&storage) {
                let read = ledger.since(0).unwrap().entries;
                assert!(read.len() >= durable.len(), "seed {seed} life {life}");
                assert_eq!(read, tried[..read.len()], "seed {seed} life {life}");
                kept += read.len() - durable.len();
                tried.clone_from(&read);
                durable = read;
                if rng.random_bool(0.3) {
                    disk.set_room(Some(rng.random_range(0..3000)));
                }
                while grow(&mut ledger, &mut tried, durable.len() as Epoch + 1, &mut rng).is_ok() {
                    durable.clone_from(&tried);
                }
                assert_eq!(ledger.last(), durable.len() as Epoch);
                // A full disk may have room again.
                disk.set_room(None);
                if ledger.sync().is_ok() {
                    durable.clone_from(&tried);
                }
            }
            disk.crash();
            crashes += 1;
        }
        assert_eq!(
            open(&files(&disk)).unwrap().since(0).unwrap().entries[..durable.len()],
            durable,
            "seed {seed}"
        );
    }
    assert!(crashes == 10_000 && torn > 500 && kept > 1000, "{crashes} crashes, {torn} torn, {kept} kept");
}

#[test]
fn a_full_disk_is_named_and_leaves_the_ledger_usable() {
    let disk = FakeDisk::new(0);
    let storage = files(&disk);
    let mut ledger = open(&storage).unwrap();
    let (mut entries, mut rng) = (Vec::new(), StdRng::seed_from_u64(0));
    grow(&mut ledger, &mut entries, 10, &mut rng).unwrap();
    disk.set_room(Some(150));
    let error = format!("{:#}", grow(&mut ledger, &mut entries, 20, &mut rng).unwrap_err());
    assert!(error.contains("fake/ledger/0000") && error.contains("the disk is full"), "{error}");
    assert_eq!(ledger.last(), open(&storage).unwrap().last());
    disk.set_room(None);
    ledger.sync().unwrap();
    grow(&mut ledger, &mut entries, 30, &mut rng).unwrap();
    disk.set_hook(Some(Arc::new(|_| Err(Errno::EACCES.into()))));
    let error = format!("{:#}", grow(&mut ledger, &mut entries, 40, &mut rng).unwrap_err());
    assert!(error.contains("fake/ledger/0000") && error.contains("not writable"), "{error}");
    disk.set_hook(None);
    ledger.sync().unwrap();
    assert_eq!(ledger.last(), entries.len() as Epoch);
    assert_eq!(open(&storage).unwrap().since(0).unwrap().entries, entries);
}

#[test]
fn another_jobs_ledger_is_refused_and_left_as_it_is() {
    let storage = files(&FakeDisk::new(0));
    sample(&storage, 5);
    let name = segment::list(&*storage).unwrap()[0].name();
    let mut bytes = storage.read(&name, None).unwrap().unwrap();
    bytes.truncate(bytes.len() - 3);
    storage.put(&name, &bytes).unwrap();
    let error = Ledger::open(Arc::clone(&storage), "other").err().unwrap().to_string();
    assert!(error.contains("line 1: it is of job job, not of job other"), "{error}");
    assert_eq!(storage.read(&name, None).unwrap().unwrap(), bytes);
}

#[test]
fn a_segment_of_another_format_is_no_torn_one() {
    let storage = files(&FakeDisk::new(0));
    storage.put("ledger/00000000000000000001.jsonl", &seal(&serde_json::json!({"format": 2}))).unwrap();
    let error = open(&storage).err().unwrap().to_string();
    assert!(error.contains("line 1: it has format 2"), "{error}");
}

#[test]
fn missing_repeated_and_swapped_lines_are_named() {
    let storage = files(&FakeDisk::new(0));
    sample(&storage, 5);
    let name = segment::list(&*storage).unwrap()[0].name();
    let bytes = storage.read(&name, None).unwrap().unwrap();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    let mut other: Entry = serde_json::from_slice(lines[2]).unwrap();
    other.records += 1;
    let other = segment::line(&other, 1);
    for (lines, says) in [
        (vec![lines[0], lines[1], lines[3]], "line 3: epoch 3 follows, epoch 2 is missing"),
        (vec![lines[0], lines[1], lines[2], &other], "line 4: epoch 2 was there before"),
        (vec![lines[0], lines[2], lines[1]], "line 2: epoch 2 follows, epoch 1 is missing"),
        (vec![lines[0], lines[1], lines[0]], "line 3: its checksum is right, but missing field"),
    ] {
        storage.put(&name, &lines.concat()).unwrap();
        let error = open(&storage).err().unwrap().to_string();
        assert!(error.contains(says), "{says} in {error}");
        assert_eq!(problems(&storage).1.len(), 1);
    }
    storage.put(&name, &[lines[0], lines[1], lines[2], lines[2]].concat()).unwrap();
    assert_eq!(open(&storage).unwrap().last(), 2, "the same entry may come again");
    storage.remove(&name).unwrap();
    // Two segments that don't fit: the second begins with another cut than the first ends with.
    sample(&storage, 12);
    let second = &segment::list(&*storage).unwrap()[1].name();
    let bytes = storage.read(second, None).unwrap().unwrap();
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
    let mut header: segment::Header = serde_json::from_slice(&bytes[..end]).unwrap();
    header.cut.set("lines", "c", 0, 1);
    storage.put(second, &[seal(&header), bytes[end + 1..].to_vec()].concat()).unwrap();
    let told = &problems(&storage).1[0];
    assert!(told.line == 1 && told.why.contains("its cut is not that of the epoch before it"), "{told}");
    for name in segment::list(&*storage).unwrap().iter().map(segment::Segment::name) {
        storage.remove(&name).unwrap();
    }
    storage.put("ledger/00000000000000000009.jsonl", b"torn").unwrap();
    let error = open(&storage).err().unwrap().to_string();
    assert!(error.contains("00009.jsonl, line 1"), "the epochs before it were durable: {error}");
}

/// Retires what a ledger does not need; segments that it joins are of a few dozen lines.
fn retire(ledger: &Ledger, keep_from: Epoch, before: u64) -> Result<Retired> {
    let mut retirer = ledger.retirer();
    retirer.joined_bytes = 8000;
    retirer.retire(keep_from, before)
}

#[test]
fn retiring_keeps_what_is_needed() {
    for storage in [files(&FakeDisk::new(4)), objects(&FakeDisk::new(4))] {
        let entries = sample(&storage, 400);
        let ledger = open(&storage).unwrap();
        let last = ledger.last();
        assert_eq!(retire(&ledger, 1, u64::MAX).unwrap().removed, 0, "all is needed");
        assert_eq!(retire(&ledger, last, 0).unwrap().removed, 0, "nothing is old enough");
        let mut before = 1;
        // The time of an entry is its epoch.
        for (keep_from, older_than) in [(200, u64::MAX), (last, 320), (last + 1, u64::MAX)] {
            assert!(retire(&ledger, keep_from, older_than).unwrap().removed > 0);
            let needed = keep_from.min(older_than);
            let first = segment::list(&*storage).unwrap()[0].first;
            assert!(first > before && first <= needed, "{first}");
            before = first;
            let from = needed as usize - 1;
            for ledger in [&ledger, &open(&storage).unwrap()] {
                let Since { cut, times, entries: after } = ledger.since(from as Epoch).unwrap();
                assert_eq!(times, times_of(&entries[..from]));
                assert_eq!((cut, after.as_slice()), (cut_of(&entries[..from]), &entries[from..]));
            }
            assert_eq!(problems(&storage).1, []);
        }
        let error = ledger.since(1).unwrap_err().to_string();
        assert!(error.contains("is needed from epoch 2 on"), "{error}");
        assert_eq!(ledger.last(), last);
    }
}

#[test]
fn small_segments_are_joined_and_the_ledger_goes_on() {
    let disk = FakeDisk::new(5);
    let storage = objects(&disk);
    let (mut entries, mut rng) = (Vec::new(), StdRng::seed_from_u64(5));
    for run in 1..=3 {
        let mut ledger = open(&storage).unwrap();
        let first = ledger.last() + 1;
        grow(&mut ledger, &mut entries, run * 100, &mut rng).unwrap();
        let Retired { removed, joined } = ledger.retirer().retire(1, 0).unwrap();
        assert!(removed == 0 && joined > 20);
        let segments = segment::list(&*storage).unwrap();
        assert_eq!(segments.len() as u64, 2 * run, "{segments:?}");
        assert!(segments.contains(&segment::Segment { first, last: None }), "the fence stays");
        for epoch in 0..=entries.len() {
            let Since { cut, times, entries: after } = ledger.since(epoch as Epoch).unwrap();
            assert_eq!(times, times_of(&entries[..epoch]));
            assert_eq!((cut, after.as_slice()), (cut_of(&entries[..epoch]), &entries[epoch..]));
        }
        assert_eq!(problems(&storage).1, []);
    }
    // Copied to a folder, it goes on as well.
    let mut ledger = open(&files(&disk)).unwrap();
    grow(&mut ledger, &mut entries, 310, &mut rng).unwrap();
    assert_eq!(open(&files(&disk)).unwrap().since(0).unwrap().entries, entries);
    assert_eq!(problems(&storage).1, []);
}

#[test]
fn retiring_may_end_at_any_step() {
    for appends in [true, false] {
        for steps in 0.. {
            let disk = FakeDisk::new(steps);
            let storage = || if appends { files(&disk) } else { objects(&disk) };
            let entries = sample(&storage(), 400);
            let ledger = open(&storage()).unwrap();
            retire(&ledger, 1, 0).unwrap();
            disk.power_off_after(steps);
            let retired = retire(&ledger, 300, u64::MAX).is_ok();
            disk.crash();
            assert_eq!(problems(&storage()).1, [], "{steps} steps");
            let ledger = open(&storage()).unwrap();
            assert_eq!(ledger.since(299).unwrap().entries, entries[299..]);
            retire(&ledger, 300, u64::MAX).unwrap();
            assert!(segment::list(&*storage()).unwrap()[0].first > 200);
            if retired {
                assert!(steps > 3);
                break;
            }
        }
    }
    for steps in 0.. {
        let disk = FakeDisk::new(steps);
        let entries = sample(&objects(&disk), 100);
        let ledger = open(&objects(&disk)).unwrap();
        disk.power_off_after(steps);
        let retired = ledger.retirer().retire(1, 0).is_ok();
        disk.crash();
        assert_eq!(problems(&objects(&disk)).1, [], "{steps} steps");
        let ledger = open(&objects(&disk)).unwrap();
        assert_eq!(ledger.since(0).unwrap().entries, entries);
        ledger.retirer().retire(1, 0).unwrap();
        assert!(segment::list(&*objects(&disk)).unwrap().len() < 5, "what was left over is gone");
        if retired {
            assert!(steps > 20);
            break;
        }
    }
}

#[test]
fn a_reader_gets_all_while_segments_are_joined_and_retired() {
    let storage = objects(&FakeDisk::new(6));
    let entries = sample(&storage, 100);
    let ledger = open(&storage).unwrap();
    for (keep_from, before, missing) in [(1, 0, 0..0), (80, u64::MAX, 20..80)] {
        let mut read = Vec::new();
        for found in super::Reading::all(&*storage, Some(JOB)).unwrap() {
            match found.unwrap() {
                super::Found::Entry { entry, .. } => read.push(entry),
                super::Found::Segment(..) => {}
                wrong => panic!("{wrong:?}"),
            }
            if read.len() == 10 {
                ledger.retirer().retire(keep_from, before).unwrap();
            }
        }
        assert!(read.len() >= entries.len() - missing.len());
        assert!(read.iter().all(|entry| *entry == entries[entry.epoch as usize - 1]));
        assert!(read.is_sorted_by(|a, b| a.epoch < b.epoch));
    }
}

#[test]
fn of_two_runs_one_ends() {
    let disk = FakeDisk::new(7);
    let storage = objects(&disk);
    let mut entries = sample(&storage, 10);
    let (mut old, mut new) = (open(&storage).unwrap(), open(&storage).unwrap());
    let mut rng = StdRng::seed_from_u64(1);
    grow(&mut new, &mut entries, 60, &mut rng).unwrap();
    new.retirer().retire(1, 0).unwrap();
    let mut other = entries[..old.last() as usize].to_vec();
    let error = grow(&mut old, &mut other, 60, &mut rng).unwrap_err().to_string();
    assert!(error.contains("another run has taken over: fake/ledger/"), "{error}");
    assert!(old.sync().is_err(), "and it doesn't come back");
    assert_eq!(open(&storage).unwrap().since(0).unwrap().entries, entries);
}

#[test]
fn a_file_that_was_created_without_an_answer_is_known_again() {
    let disk = FakeDisk::new(8);
    let storage = objects(&disk);
    let mut entries = sample(&storage, 10);
    let mut ledger = open(&storage).unwrap();
    disk.set_hook(Some(Arc::new(|step| match step.kind {
        Kind::Remove => Err(std::io::Error::other("no answer")),
        _ => Ok(()),
    })));
    let last = ledger.last();
    let mut rng = StdRng::seed_from_u64(1);
    assert!(grow(&mut ledger, &mut entries, 20, &mut rng).is_err());
    assert_eq!(ledger.last(), last);
    disk.set_hook(None);
    ledger.sync().unwrap();
    grow(&mut ledger, &mut entries, 20, &mut rng).unwrap();
    assert_eq!(open(&storage).unwrap().since(0).unwrap().entries, entries);
}

fn report(moved: &[(i32, i64)]) -> Report {
    let moved = moved.iter().map(|&(partition, next)| Moved {
        topic: "t".to_owned(),
        partition,
        start: None,
        id: None,
        next,
        end: next,
    });
    Report { input: "lines".to_owned(), moved: moved.collect(), records: 2, ..Report::default() }
}

#[test]
fn cuts_are_compared_with_the_ledger_and_then_added() {
    let disk = FakeDisk::new(0);
    let storage = files(&disk);
    let mut cuts = LedgerCuts::new(open(&storage).unwrap(), &Resume::default(), || 77);
    for epoch in 1..=3 {
        let next = epoch as i64 * 10;
        cuts.append(epoch, &[report(&[(0, next)]), report(&[(1, next + 5)])], &digests(7), epoch - 1)
            .unwrap();
    }
    cuts.sync().unwrap();
    let replay = || {
        let ledger = open(&storage).unwrap();
        let Since { times, entries, .. } = ledger.since(1).unwrap();
        let resume = Resume { times, replay: entries, ..Resume::default() };
        LedgerCuts::new(ledger, &resume, || 78)
    };
    let mut cuts = replay();
    cuts.append(2, &[report(&[(1, 25), (0, 20)])], &digests(7), 1).unwrap();
    cuts.sync().unwrap();
    cuts.append(3, &[report(&[(1, 35)]), report(&[(0, 30)])], &digests(7), 2).unwrap();
    let steps = disk.steps();
    cuts.sync().unwrap();
    assert_eq!(disk.steps(), steps, "nothing is written of epochs that the ledger has");
    cuts.append(4, &[report(&[(0, 40)])], &digests(7), 3).unwrap();
    cuts.sync().unwrap();
    let entries = open(&storage).unwrap().since(3).unwrap().entries;
    let mut cut = Cut::default();
    cut.set("lines", "t", 0, 40);
    let expected =
        Entry { epoch: 4, time: 78, records: 2, published: 3, cut, digests: digests(7), ..Entry::default() };
    assert_eq!(entries, [expected]);

    for (moved, says) in [
        (
            vec![(0, 20), (1, 24)],
            "epoch 2 ends at offset 25 of partition 1, and it could be read up to offset 24",
        ),
        (vec![(1, 25)], "epoch 2 ends at offset 20 of partition 0, and it could be read not at all"),
        (vec![(0, 20), (1, 25), (2, 9)], "up to offset 9 of topic t partition 2, and the ledger has nothing"),
    ] {
        let error = replay().append(2, &[report(&moved)], &digests(7), 1).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(
        replay().append(3, &[report(&[(0, 30), (1, 35)])], &digests(7), 1).is_err(),
        "epoch 2 was left out"
    );
}

#[test]
fn cuts_are_looked_up_and_those_that_are_retired_are_not_known() {
    for make in [files, objects] {
        let disk = FakeDisk::new(0);
        let storage = make(&disk);
        let mut ledger = open(&storage).unwrap();
        let lookup = ledger.lookup();
        assert!(lookup.cut(0).unwrap().is_empty() && lookup.cut(1).is_err());
        let (mut entries, mut rng) = (Vec::new(), StdRng::seed_from_u64(7));
        for last in [3, 40, 90] {
            grow(&mut ledger, &mut entries, last, &mut rng).unwrap();
            for (index, _) in entries.iter().enumerate() {
                let epoch = index as Epoch + 1;
                assert_eq!(lookup.cut(epoch).unwrap(), cut_of(&entries[..=index]), "epoch {epoch}");
            }
            assert!(lookup.cut(ledger.last() + 1).is_err());
        }
        // What is left has the cut of the epoch before the first that is needed.
        ledger.retirer().retire(61, u64::MAX).unwrap();
        for epoch in 60..=ledger.last() {
            assert_eq!(lookup.cut(epoch).unwrap(), cut_of(&entries[..epoch as usize]), "epoch {epoch}");
        }
    }
}

/// Those of an epoch with two outputs.
fn digests(of_counts: u64) -> Digests {
    [("counts", of_counts), ("other", 1)].map(|(output, digest)| (output.to_owned(), Digest(digest))).into()
}

#[test]
fn outputs_of_replayed_epochs_are_compared_unless_records_are_missing() {
    let disk = FakeDisk::new(0);
    let storage = files(&disk);
    let mut cuts = LedgerCuts::new(open(&storage).unwrap(), &Resume::default(), || 77);
    let of = |epoch: Epoch| report(&[(0, epoch as i64 * 10)]);
    for epoch in 1..=3 {
        cuts.append(epoch, &[of(epoch)], &digests(epoch), epoch - 1).unwrap();
    }
    cuts.sync().unwrap();
    let replay = || {
        let ledger = open(&storage).unwrap();
        let Since { times, entries, .. } = ledger.since(1).unwrap();
        LedgerCuts::new(ledger, &Resume { times, replay: entries, ..Resume::default() }, || 78)
    };
    let mut cuts = replay();
    cuts.append(2, &[of(2)], &digests(2), 1).unwrap();
    let error = cuts.append(3, &[of(3)], &digests(9), 1).unwrap_err().to_string();
    let says = r#"output "counts" of epoch 3 is not what it was: its digest is 0000000000000009, and the ledger has 0000000000000003"#;
    assert!(error.starts_with(says) && error.lines().count() == 1, "{error}");
    // An output is new, and another one is gone.
    let other = Digests::from([("new".to_owned(), Digest(5)), ("other".to_owned(), Digest(1))]);
    replay().append(2, &[of(2)], &other, 1).unwrap();
    // Records that are missing change outputs, in their epoch and after it.
    let mut cuts = replay();
    cuts.append(2, &[Report { records: 1, ..of(2) }], &digests(9), 1).unwrap();
    cuts.append(3, &[of(3)], &digests(9), 1).unwrap();
}
