//! StateWriters and coordinator with their threads, as a run of the program has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::key::hash as row_hash;
use cutwater_dataflows::persist::{Sharding, StateWriter};

use super::SMALL;
use super::cluster::{Ledger, World};
use super::memory::Memory;
use crate::fault::Fault;
use crate::feed::Place;
use crate::state::checkpoint::coordinator::{Coordinator, Plan};
use crate::state::checkpoint::run::{RunFiles, Sizes};
use crate::state::checkpoint::state_writer::RunStateWriters;
use crate::state::checkpoint::{Checkpoints, StateWriters, load};
use crate::state::storage::Storage;
use crate::time::MachineTime;

const HERE: Place = Place { worker: 0, workers: 1 };

#[test]
fn checkpoints_are_made_while_the_worker_goes_on_and_the_threads_end_with_it() {
    let memory = Memory::default();
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    let fault = Fault::default();
    let mut world = World::new(11);
    let mut from = 0;
    for run in 0..3 {
        let plan = Plan {
            job: "job".into(),
            collections: vec!["words".into()],
            workers: 1,
            every: Duration::ZERO,
            from,
        };
        let coordinator =
            Coordinator::new(Arc::clone(&storage), plan, Arc::new(MachineTime::default()), Ledger::new())
                .unwrap();
        let completing = coordinator.start(&fault).unwrap();
        let manifest = load::newest(&storage, "job", true).unwrap().0;
        let collections = manifest.into_iter().flat_map(|manifest| manifest.collections);
        let collections: BTreeMap<_, _> = collections.map(|(name, rows)| (name, rows.runs)).collect();
        let files = RunFiles::new(Arc::clone(&storage), &run.to_string(), SMALL);
        let (writers, threads) = RunStateWriters::start(files, collections, &fault).unwrap();
        let mut writer = writers.writer("words", HERE, Sharding::by_row());
        let mut restored = BTreeMap::new();
        while writer.restore(&mut |rows| {
            rows.iter().for_each(|(row, count)| *restored.entry(row.to_vec()).or_default() += count);
        }) {}
        restored.retain(|_, count| *count != 0);
        assert_eq!(restored, world.rows["words"]);
        assert!(writers.restored().rows.load(Ordering::Relaxed) >= restored.len() as u64);
        for epoch in from + 1..=from + 200 {
            writer.seal(epoch, world.change(50).remove("words").unwrap());
            coordinator.published(epoch);
            if coordinator.begin(epoch) {
                writer.checkpoint(Some(epoch));
            }
            writer.finished().into_iter().for_each(|part| coordinator.part(part));
        }
        from += 200;
        writer.checkpoint(None);
        // The dataflow wakes the operator when a part is finished; there is none here.
        let mut last = false;
        while !last {
            for part in writer.finished() {
                last = part.epoch.is_none();
                coordinator.part(part);
            }
            std::thread::yield_now();
        }
        coordinator.finish().unwrap();
        drop((writer, writers, completing));
        threads.join();
        assert!(!fault.is_raised());
    }
}

#[test]
fn what_can_not_be_restored_or_written_ends_the_run_and_blocks_no_worker() {
    let memory = Memory::default();
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    let start = |collections| {
        let fault = Fault::default();
        let files = RunFiles::new(Arc::clone(&storage), "0", SMALL);
        let (writers, threads) = RunStateWriters::start(files, collections, &fault).unwrap();
        (fault, writers, threads)
    };
    let run = super::SortedRun {
        file: "runs/gone".into(),
        range: super::HashRange::of(0, 1),
        sharding: Default::default(),
        rows: 1,
        bytes: 500,
    };
    let (fault, writers, _) = start([("words".to_owned(), vec![run])].into());
    let mut writer = writers.writer("words", HERE, Sharding::by_row());
    let mut went_on = false;
    fault.guard("worker 0", || {
        while writer.restore(&mut |_| ()) {}
        went_on = true;
    });
    assert!(!went_on, "a worker without its rows must not go on");
    let error = format!("{:#}", fault.take().unwrap());
    assert_eq!(error, "restoring collection \"words\": the run file runs/gone: it is missing");

    memory.lock().full = true;
    let (fault, writers, threads) = start(BTreeMap::new());
    let mut writer = writers.writer("words", HERE, Sharding::by_row());
    while writer.restore(&mut |_| ()) {}
    let mut large = FlatBatch::default();
    large.push(&vec![b'x'; 1 << 19], 1);
    // More than may wait: it is let in nevertheless, since the thread that would take it has failed.
    for epoch in 1..=5 {
        writer.seal(epoch, large.clone());
    }
    drop((writer, writers));
    threads.join();
    assert!(format!("{:#}", fault.take().unwrap()).contains("no space left"));
}

#[test]
fn a_worker_that_is_far_ahead_waits() {
    const AHEAD: usize = 10;
    const EPOCHS: usize = 2000;
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let mut batch = FlatBatch::default();
    batch.push(b"a row", 1);
    let sizes = Sizes { waiting: AHEAD * batch.size(), ..SMALL };
    let files = RunFiles::new(storage, "0", sizes);
    let (writers, mut persistence, _merging) =
        RunStateWriters::new(files, BTreeMap::new(), &Fault::default());
    let sealed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = writers.writer("words", HERE, Sharding::by_row());
            while writer.restore(&mut |_| ()) {}
            for epoch in 1..=EPOCHS {
                writer.seal(epoch as u64, batch.clone());
                sealed.store(epoch, Ordering::Relaxed);
            }
        });
        // The first is that the collection is kept.
        let mut taken = 0;
        while taken < EPOCHS + 1 {
            // Once it is as far ahead as it may be, it stays there.
            for _ in 0..100 {
                let sealed = sealed.load(Ordering::Relaxed);
                assert!(sealed <= taken + AHEAD, "{sealed} were sealed, {taken} taken");
                std::thread::yield_now();
            }
            taken += usize::from(persistence.step().unwrap());
        }
    });
}

/// What a finished part consists of.
fn parts(writer: &mut dyn StateWriter) -> Vec<super::SortedRun> {
    loop {
        if let Some(part) = writer.finished().pop() {
            return part.runs;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_restore_comes_a_little_at_a_time_in_order_and_each_row_once() {
    const ROWS: u64 = 40_000;
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let fault = Fault::default();
    let start = |start: &str, runs: Vec<super::SortedRun>| {
        let files = RunFiles::new(Arc::clone(&storage), start, SMALL);
        RunStateWriters::start(files, [("words".to_owned(), runs)].into(), &fault).unwrap()
    };
    let (writers, _threads) = start("0", Vec::new());
    let mut writer = writers.writer("words", HERE, Sharding::by_row());
    assert!(!writer.restore(&mut |_| panic!("there is nothing")));
    let (mut expected, mut runs) = (BTreeMap::new(), Vec::new());
    for epoch in 1..=3 {
        let mut batch = FlatBatch::default();
        for row in (0..ROWS).step_by(epoch) {
            let row = format!("{row:050}").into_bytes();
            batch.push(&row, 1);
            *expected.entry(row).or_default() += 1;
        }
        writer.seal(epoch as u64, batch);
        writer.checkpoint(Some(epoch as u64));
        runs = parts(&mut *writer);
    }
    let (writers, _threads) = start("1", runs);
    let mut writer = writers.writer("words", HERE, Sharding::by_row());
    let (mut restored, mut last, mut steps, mut more) = (BTreeMap::new(), 0, 0, true);
    while more {
        let mut bytes = 0;
        more = writer.restore(&mut |batch| {
            bytes += batch.size();
            for (row, count) in batch.iter() {
                assert!(row_hash(row) >= last, "rows are in the order of their hashes");
                last = row_hash(row);
                assert_eq!(restored.insert(row.to_vec(), count), None, "a row comes once");
            }
        });
        steps += 1;
        assert!(bytes < 3 << 19, "{bytes} bytes at a time");
    }
    assert!(steps > 2 && !fault.is_raised());
    assert_eq!(restored, expected);
}
