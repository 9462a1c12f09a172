//! Damaged files: an error, or the rows that were written; never others.

use std::collections::BTreeMap;
use std::sync::Arc;

use cutwater_dataflows::Epoch;
use cutwater_dataflows::persist::SortedRun;

use super::SMALL;
use super::cluster::{Cluster, JOB, World};
use super::memory::Memory;
use crate::state::checkpoint::manifest::{FOLDER, Manifest};
use crate::state::checkpoint::run::{self, Reader};
use crate::state::checkpoint::{Checkpoints, load};
use crate::state::storage::Storage;

/// A store with checkpoints of two epochs, some rows in each.
fn two_checkpoints() -> (Memory, Arc<dyn Storage>) {
    let memory = Memory::default();
    let mut world = World::new(5);
    let (mut cluster, _) = Cluster::start(&memory, 1, 2, SMALL);
    for epoch in 1..=2 {
        cluster.seal(&world.change(100));
        cluster.coordinator.published(epoch);
        assert!(cluster.begin());
        cluster.settle();
    }
    assert_eq!(memory.names(FOLDER).len(), 2);
    let storage = Arc::new(memory.clone());
    (memory, storage)
}

/// The epoch of the newest checkpoint that is whole, and how many were not.
fn newest(storage: &Arc<dyn Storage>) -> (Epoch, usize) {
    let (manifest, warnings) = load::newest(storage, JOB, true).unwrap();
    (manifest.unwrap().epoch, warnings.len())
}

fn flip(memory: &Memory, file: &str, bit: usize) {
    memory.lock().files.get_mut(file).unwrap()[bit / 8] ^= 1 << (bit % 8);
}

#[test]
fn a_flipped_bit_of_a_run_file_is_an_error_or_changes_no_row() {
    let (memory, storage) = two_checkpoints();
    let newer = load::read(&memory, &Manifest::name(2), Some(JOB)).unwrap();
    let older = load::read(&memory, &Manifest::name(1), Some(JOB)).unwrap().files();
    let run: &SortedRun =
        newer.runs().find(|run| !older.contains(&run.file)).expect("a run that the older has not");
    let rows = |run: &SortedRun| -> anyhow::Result<BTreeMap<Vec<u8>, i64>> {
        let (mut reader, mut all) = (Reader::open(&storage, run)?, BTreeMap::new());
        while reader.next(|rows| all.extend(rows.iter().map(|(row, count)| (row.to_vec(), count))))?.is_some()
        {
        }
        Ok(all)
    };
    let expected = rows(run).unwrap();
    assert!(expected.len() > 10);
    let (mut noticed, bits) = (0, run.bytes as usize * 8);
    for bit in 0..bits {
        flip(&memory, &run.file, bit);
        match rows(run) {
            Ok(rows) => assert_eq!(rows, expected, "bit {bit}"),
            Err(error) => assert!(format!("{error:#}").contains(&run.file), "{error:#}"),
        }
        let whole = run::verify(&storage, run).is_ok();
        noticed += usize::from(!whole);
        assert_eq!(newest(&storage), if whole { (2, 0) } else { (1, 1) }, "bit {bit}");
        flip(&memory, &run.file, bit);
    }
    // The pointers of a block carry nothing: 24 of some 300 bytes.
    assert!(noticed > bits * 8 / 10, "{noticed} of {bits}");
    // Whatever the header says of itself is verified.
    flip(&memory, &run.file, 9);
    assert!(run::verify(&storage, run).is_err());
}

#[test]
fn a_flipped_bit_of_a_manifest_is_noticed() {
    let (memory, storage) = two_checkpoints();
    let name = Manifest::name(2);
    let bits = memory.lock().files[&name].len() * 8;
    for bit in 0..bits {
        flip(&memory, &name, bit);
        assert_eq!(newest(&storage), (1, 1), "bit {bit}");
        flip(&memory, &name, bit);
    }
    assert_eq!(newest(&storage), (2, 0));
}

#[test]
fn every_cut_and_a_missing_file_fall_back_to_the_checkpoint_before() {
    let (memory, storage) = two_checkpoints();
    let older = load::read(&memory, &Manifest::name(1), None).unwrap().files();
    let mut files = load::read(&memory, &Manifest::name(2), None).unwrap().files();
    files.retain(|file| !older.contains(file));
    assert!(!files.is_empty());
    for name in files.into_iter().chain([Manifest::name(2)]) {
        let whole = memory.lock().files[&name].clone();
        for length in 0..whole.len() {
            memory.lock().files.insert(name.clone(), whole[..length].to_vec());
            assert_eq!(newest(&storage), (1, 1), "{name} cut to {length}");
        }
        memory.lock().files.remove(&name);
        if name != Manifest::name(2) {
            let (_, warnings) = load::newest(&storage, JOB, true).unwrap();
            assert!(warnings[0].contains(&name) && warnings[0].contains("missing"), "{warnings:?}");
        }
        memory.lock().files.insert(name, whole);
    }
}

#[test]
fn where_no_checkpoint_is_whole_or_they_are_of_another_job_it_is_an_error() {
    let (memory, storage) = two_checkpoints();
    let error = load::newest(&storage, "other", true).unwrap_err();
    assert!(format!("{error:#}").contains("is a checkpoint of the job job"), "{error:#}");
    for epoch in 1..=2 {
        flip(&memory, &Manifest::name(epoch), 100);
    }
    let error = load::newest(&storage, JOB, true).unwrap_err().to_string();
    assert!(error.contains("no checkpoint in memory is whole"), "{error}");
    assert_eq!(error.matches("its checksum is wrong").count(), 2, "{error}");
}

#[test]
fn a_run_after_a_fall_back_replaces_what_is_damaged() {
    for epochs in 1..=3 {
        let (memory, storage) = two_checkpoints();
        flip(&memory, &Manifest::name(2), 100);
        assert_eq!(newest(&storage), (1, 1));
        let (mut cluster, restored) = Cluster::resume(&memory, 1, 3, SMALL);
        let mut world = World::new(6);
        world.rows = restored;
        for _ in 0..epochs {
            cluster.seal(&world.change(50));
            cluster.coordinator.published(cluster.epoch);
            assert!(cluster.begin());
            cluster.settle();
        }
        let manifests: &[Epoch] = [&[1, 2], &[2, 3], &[3, 4]][epochs - 1];
        assert_eq!(
            memory.names(FOLDER),
            manifests.iter().map(|&epoch| Manifest::name(epoch)).collect::<Vec<_>>()
        );
        assert_eq!(Cluster::start(&memory, 1, 1, SMALL).1, world.rows);
    }
}

/// A run with checkpoints of epochs 1 to 3, and one of epoch 4 that is on its way, and another that begins meanwhile.
fn two_runs() -> (Memory, Cluster, Cluster, World) {
    let memory = Memory::default();
    let mut world = World::new(8);
    let (mut old, _) = Cluster::start(&memory, 1, 2, SMALL);
    for epoch in 1..=4 {
        old.seal(&world.change(50));
        assert!(old.begin());
        if epoch < 4 {
            old.coordinator.published(epoch);
        }
        old.settle();
    }
    let (new, restored) = Cluster::start(&memory, 1, 1, SMALL);
    assert_eq!(new.epoch, 3);
    world.rows = restored;
    (memory, old, new, world)
}

#[test]
fn a_run_that_was_taken_over_from_replaces_no_checkpoint() {
    let (memory, mut old, mut new, mut world) = two_runs();
    for epoch in 4..=5 {
        new.seal(&world.change(50));
        new.coordinator.published(epoch);
        assert!(new.begin());
        new.settle();
    }
    let before = memory.names(FOLDER);
    old.coordinator.published(4);
    let error = format!("{:#}", old.try_settle().unwrap_err());
    assert!(error.contains("another run has taken over: checkpoints/00000000000000000004.json"), "{error}");
    assert_eq!(memory.names(FOLDER), before);
    assert_eq!(Cluster::start(&memory, 1, 3, SMALL).1, world.rows);
}

#[test]
fn what_a_run_completes_after_it_was_taken_over_from_harms_nothing() {
    let (memory, mut old, mut new, mut world) = two_runs();
    // Removes what the old run has not come to name.
    assert!(new.coordinator.step().unwrap());
    old.coordinator.published(4);
    old.settle();
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    assert_eq!(newest(&storage), (3, 1));
    for epoch in 4..=6 {
        new.seal(&world.change(50));
        new.coordinator.published(epoch);
        assert!(epoch == 4 || new.begin());
        new.settle();
    }
    assert_eq!(memory.names(FOLDER), [Manifest::name(5), Manifest::name(6)]);
    assert_eq!(Cluster::start(&memory, 1, 3, SMALL).1, world.rows);
}
