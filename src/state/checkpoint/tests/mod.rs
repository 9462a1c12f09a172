//! Checkpoints as a whole, against a plain map.

mod cluster;
mod damage;
mod memory;
mod threads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::RngExt;

use super::run::{self, Sizes};
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::persist::{CheckpointPart, HashRange, Sharding, SortedRun};

use super::{Checkpoints, load, manifest};
use crate::state::storage::Storage;
use cluster::{Cluster, JOB, Rows, World};
use memory::Memory;

const SMALL: Sizes = Sizes { block: 300, changes: 2000, waiting: 1 << 20 };

#[test]
fn what_is_restored_is_the_map_as_of_the_checkpoint_in_every_shape() {
    let (mut restored_rows, mut crashes, mut checkpoints) = (0, 0, 0);
    for seed in 0..300 {
        let memory = Memory::default();
        let mut world = World::new(seed);
        let mut at: BTreeMap<u64, Rows> = [(0, world.rows.clone())].into();
        for _ in 0..6 {
            let workers = world.rng.random_range(1..=4);
            let processes = world.rng.random_range(1..=workers.min(2));
            let (mut cluster, restored) = Cluster::start(&memory, processes, workers, SMALL);
            assert_eq!(restored, at[&cluster.epoch], "seed {seed}, epoch {}", cluster.epoch);
            restored_rows += restored.values().map(|rows| rows.len()).sum::<usize>();
            at.retain(|&epoch, _| epoch <= cluster.epoch);
            world.rows = restored;
            let mut published = cluster.epoch;
            for _ in 0..world.rng.random_range(0..400) {
                match world.rng.random_range(0..20) {
                    0 => {
                        let most = if world.rng.random_ratio(1, 10) { 300 } else { 20 };
                        cluster.seal(&world.change(most));
                        at.insert(cluster.epoch, world.rows.clone());
                    }
                    1 if cluster.epoch > 0 => checkpoints += usize::from(cluster.begin()),
                    2 => {
                        published = world.rng.random_range(published..=cluster.epoch);
                        cluster.coordinator.published(published);
                    }
                    _ => drop(cluster.step(&mut world.rng)),
                }
            }
            if world.rng.random_ratio(1, 2) {
                cluster.finish();
                let newest = memory.names(manifest::FOLDER).pop();
                let expected = at.keys().last().filter(|&&epoch| epoch > 0);
                assert_eq!(newest, expected.map(|&epoch| manifest::Manifest::name(epoch)), "seed {seed}");
            } else {
                crashes += 1;
            }
        }
    }
    assert!(
        restored_rows > 100_000 && crashes > 500 && checkpoints > 1000,
        "{restored_rows} {crashes} {checkpoints}"
    );
}

#[test]
fn only_what_is_needed_is_there_at_a_start_and_at_an_end() {
    for seed in 0..50 {
        let memory = Memory::default();
        let mut world = World::new(seed);
        for _ in 0..4 {
            let (mut cluster, _) = Cluster::start(&memory, 1, 1 + seed as usize % 3, SMALL);
            // As a run that was killed would leave it.
            assert!(cluster.coordinator.step().unwrap(), "it cleans first");
            assert_eq!(memory.names(run::FOLDER), named(&memory), "seed {seed}");
            for _ in 0..30 {
                cluster.seal(&world.change(100));
                cluster.coordinator.published(cluster.epoch);
                cluster.begin();
                for _ in 0..world.rng.random_range(0..100) {
                    cluster.step(&mut world.rng);
                }
            }
            cluster.settle();
            // Three checkpoints on, nothing is left of what was merged away.
            for _ in 0..3 {
                cluster.seal(&world.change(0));
                cluster.coordinator.published(cluster.epoch);
                assert!(cluster.begin());
                cluster.settle();
            }
            let manifests = memory.names(manifest::FOLDER);
            assert_eq!(manifests.len(), 2);
            assert_eq!(
                Some(cluster.retired.load(Ordering::Relaxed)),
                manifest::Manifest::epoch(&manifests[0])
            );
            assert_eq!(memory.names(run::FOLDER), named(&memory), "seed {seed}");
        }
    }
}

#[test]
fn runs_and_bytes_stay_bounded_over_thousands_of_checkpoints() {
    let memory = Memory::default();
    let mut world = World::new(7);
    let (mut cluster, _) = Cluster::start(&memory, 2, 3, Sizes { changes: 1 << 20, ..SMALL });
    let (mut most_runs, mut most_bytes) = (0, 0);
    for epoch in 1..=5000u64 {
        cluster.seal(&world.change(40));
        cluster.coordinator.published(epoch);
        assert!(cluster.begin());
        cluster.settle();
        let newest = memory.names(manifest::FOLDER).pop().unwrap();
        let manifest = load::read(&memory, &newest, Some(JOB)).unwrap();
        most_runs = most_runs.max(manifest.runs().count());
        let files = &memory.lock().files;
        most_bytes = most_bytes.max(files.values().map(Vec::len).sum::<usize>());
    }
    let (restarted, restored) = Cluster::start(&memory, 1, 2, SMALL);
    assert_eq!((restarted.epoch, &restored), (5000, &world.rows));
    // Six run_sets of some 60 rows; the files of two checkpoints, and manifests.
    assert!(most_runs <= 6 * 6, "{most_runs} runs");
    assert!(most_bytes < 100_000, "{most_bytes} bytes");
}

#[test]
fn a_piece_holds_no_epoch_that_was_sealed_after_its_own() {
    let memory = Memory::default();
    let mut world = World::new(1);
    let (mut cluster, _) = Cluster::start(&memory, 1, 2, SMALL);
    cluster.seal(&world.change(100));
    assert!(cluster.begin());
    let expected = world.rows.clone();
    // Before the keeping has done anything of it.
    cluster.seal(&world.change(100));
    assert!(!cluster.begin(), "one at a time");
    assert_ne!(world.rows, expected);
    cluster.coordinator.published(2);
    cluster.settle();
    drop(cluster);
    let (cluster, restored) = Cluster::start(&memory, 1, 1, SMALL);
    assert_eq!((cluster.epoch, restored), (1, expected));
}

#[test]
fn no_checkpoint_is_complete_before_its_epoch_is_published() {
    let memory = Memory::default();
    let (mut cluster, _) = Cluster::start(&memory, 1, 1, SMALL);
    cluster.seal(&World::new(2).change(100));
    assert!(cluster.begin());
    cluster.settle();
    assert_eq!(memory.names(manifest::FOLDER), [] as [&str; 0]);
    cluster.coordinator.published(1);
    cluster.settle();
    assert_eq!(memory.names(manifest::FOLDER), [manifest::Manifest::name(1)]);
}

#[test]
fn an_end_without_anything_new_writes_nothing() {
    let memory = Memory::default();
    let (mut cluster, _) = Cluster::start(&memory, 1, 2, SMALL);
    cluster.seal(&World::new(3).change(100));
    cluster.finish();
    let (cluster, _) = Cluster::start(&memory, 1, 2, SMALL);
    let written = memory.lock().written;
    cluster.finish();
    assert_eq!(memory.lock().written, written);
}

#[test]
fn a_store_that_is_full_ends_the_run_and_harms_no_checkpoint() {
    let memory = Memory::default();
    let mut world = World::new(4);
    let (mut cluster, _) = Cluster::start(&memory, 1, 1, SMALL);
    cluster.seal(&world.change(100));
    cluster.finish();
    let (mut cluster, restored) = Cluster::start(&memory, 1, 1, SMALL);
    memory.lock().full = true;
    cluster.seal(&world.change(100));
    cluster.begin();
    let error = loop {
        match cluster.persistence().step() {
            Ok(worked) => assert!(worked, "it fails before it has nothing to do"),
            Err(error) => break error,
        }
    };
    assert!(format!("{error:#}").contains("no space left"), "{error:#}");
    drop(cluster);
    assert_eq!(Cluster::start(&memory, 1, 1, SMALL).1, restored);
}

#[test]
fn a_worker_reads_only_what_is_its() {
    let memory = Memory::default();
    let (mut cluster, _) = Cluster::start(&memory, 1, 1, Sizes { block: 200, ..Sizes::default() });
    let mut rows = FlatBatch::default();
    (0..400_000u32).for_each(|row| rows.push(row.to_string().as_bytes(), 1));
    cluster.seal(&[("words".to_owned(), rows)].into());
    cluster.finish();
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    let manifest = load::newest(&storage, JOB, false).unwrap().0.unwrap();
    let [run] = &manifest.collections["words"].runs[..] else { panic!("one run") };
    for workers in [1, 2, 5] {
        memory.lock().read = 0;
        let range = HashRange::of(workers - 1, workers);
        let mut reader = run::Reader::open(&storage, &SortedRun { range, ..run.clone() }).unwrap();
        let mut rows = 0;
        while reader.next(|batch| rows += batch.len()).unwrap().is_some() {}
        assert!((rows * workers).abs_diff(400_000) < 10_000, "{rows} of {workers}");
        let read = memory.lock().read as u64;
        let index = 400_000 / 10 * 40;
        assert!(read < run.bytes / workers as u64 + index, "{read} of {} bytes for {workers}", run.bytes);
    }
}

/// The files that the manifests name.
fn named(memory: &Memory) -> Vec<String> {
    let manifests = memory.names(manifest::FOLDER);
    let files: BTreeSet<String> =
        manifests.iter().flat_map(|name| load::read(memory, name, None).unwrap().files()).collect();
    files.into_iter().collect()
}

#[test]
fn parts_pass_between_processes_as_they_are() {
    // Timely sends them in bincode, which knows no fields: none may be left out.
    for sharding in [Sharding::by_row(), Sharding::by_key::<cutwater_dataflows::rows::Text>()] {
        let run =
            SortedRun { file: "runs/a".into(), range: HashRange::of(0, 2), sharding, rows: 3, bytes: 99 };
        let runs = vec![run.clone(), run];
        let part = CheckpointPart { collection: "words".into(), worker: 1, epoch: Some(7), runs };
        let bytes = bincode::serialize(&part).unwrap();
        assert_eq!(bincode::deserialize::<CheckpointPart>(&bytes).unwrap(), part);
    }
}
