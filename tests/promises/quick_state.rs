//! `cutwater state`: shows what is in a state, finds what is damaged, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cutwater::state::checkpoint::manifest::{Manifest, Rows};
use cutwater::state::checkpoint::run::{RunFiles, Sizes};
use cutwater::state::cut::Cut;
use cutwater::state::identity::{FORMAT, Identity};
use cutwater::state::ledger::Ledger;
use cutwater::state::resume::Entry;
use cutwater::state::storage::claim;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::persist::{HashRange, Sharding};
use tempfile::TempDir;

use crate::support::program::{Program, cutwater};

const TIME: u64 = 1_700_000_000_000_000;

/// A state with a ledger of 9 epochs and checkpoints of 5 and 8, and a run file that none of them names.
pub fn sample() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (storage, _lock) = claim(text(folder.path())).expect("a new state");
    let identity = Identity {
        format: FORMAT,
        job: "0123abcd".into(),
        created: TIME,
        dataflow: "word-count".into(),
        options: "WordCount { tokenizer: Whitespace }".into(),
        collections: vec!["words".into()],
        types: Default::default(),
        inputs: BTreeMap::from([("lines".to_owned(), vec!["a".to_owned(), "^b.*".to_owned()])]),
        formats: Default::default(),
        lateness: None,
        cluster: Some("the-cluster".into()),
        topics: BTreeMap::from([("a".to_owned(), Some("its-id".to_owned())), ("b1".to_owned(), None)]),
        outputs: BTreeMap::from([("counts".to_owned(), Some("another-id".to_owned()))]),
        group: "cutwater-word-count".into(),
    };
    identity.adopt(&*storage).expect("it is new");
    let mut ledger = Ledger::open(Arc::clone(&storage), "0123abcd").expect("it is new");
    for epoch in 1..=9 {
        ledger.append(Entry { epoch, time: TIME, ..Entry::default() }).expect("it follows");
        // Each on its own: later lines say that those before were durable.
        ledger.sync().expect("there is room");
    }
    let files = RunFiles::new(Arc::clone(&storage), "first", Sizes::default());
    let run = |rows: u32| {
        let mut batch = FlatBatch::default();
        (0..rows).for_each(|row| batch.push(row.to_string().as_bytes(), 1));
        let mut writer = files.write(HashRange::of(0, 1), &Sharding::by_row());
        writer.push_batch(&batch).expect("there is room");
        writer.finish().expect("there is room").expect("it has rows")
    };
    let (one, two, _unnamed) = (run(1000), run(1), run(7));
    for (epoch, runs) in [(5, vec![one.clone()]), (8, vec![one, two])] {
        let collections = BTreeMap::from([("words".to_owned(), Rows::new(runs))]);
        let manifest = Manifest::new("0123abcd", epoch, Cut::default(), TIME, collections);
        storage.put(&Manifest::name(epoch), &manifest.encode()).expect("there is room");
    }
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn state(folder: &TempDir) -> Program {
    cutwater(["state", text(folder.path())])
}

/// All files with their bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    all
}

#[test]
fn a_state_is_shown_and_left_as_it_is() {
    let folder = sample();
    let before = files(folder.path());
    let rows = state(&folder).with("--verify").rows();
    // How long ago it was, and sizes, are not the same each time.
    let begins = [
        "job         0123abcd, made 2023-11-14T22:13:20Z (",
        "dataflow    word-count, WordCount { tokenizer: Whitespace }",
        "input       lines = a, ^b.*",
        "cluster     the-cluster",
        "topic       a, id its-id",
        "topic       b1",
        "writes to   counts, id another-id",
        "group       cutwater-word-count",
        "ledger      epochs 1 to 9, ",
        "checkpoint  epoch 8, 2023-11-14T22:13:20Z (",
        "            words: 1,001 stored changes of rows, ",
        "checkpoint  epoch 5, 2023-11-14T22:13:20Z (",
        "            words: 1,000 stored changes of rows, ",
        "size        ",
        "            296 B in 1 file of it written since the last checkpoint, as usual",
        "verified    no problem",
    ];
    assert_eq!(rows.len(), begins.len(), "{rows:#?}");
    for (row, begin) in rows.iter().zip(begins) {
        assert!(row.starts_with(begin), "{row:?} should begin with {begin:?}");
    }
    assert!(rows[10].ends_with(", 2 runs") && rows[12].ends_with(", 1 run"), "{rows:#?}");
    assert!(rows[13].ends_with(" in 8 files"), "{rows:#?}");
    assert_eq!(state(&folder).rows().len(), rows.len() - 1);
    assert!(files(folder.path()) == before, "it is as it was");
}

#[test]
fn damage_is_named_and_fails() {
    for (file, seen_at_once) in [
        ("job.json", true),
        ("ledger/00000000000000000001.jsonl", true),
        ("checkpoints/00000000000000000005.json", true),
        ("runs/first-000001", false),
    ] {
        let folder = sample();
        let path = folder.path().join(file);
        let mut bytes = fs::read(&path).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("a file");
        for verify in ["", "--verify"] {
            let ended = state(&folder).with(verify).run();
            if verify.is_empty() && !seen_at_once {
                ended.expect(0);
                continue;
            }
            let ended = ended.fails(1, &["is damaged", text(folder.path())]);
            let problems: Vec<_> = ended.stdout.iter().filter(|line| line.starts_with("problem ")).collect();
            assert!(problems.iter().any(|line| line.contains(file)), "{file}: {problems:?}");
            assert!(!ended.stdout.iter().any(|line| line.starts_with("verified")));
        }
    }
    let folder = sample();
    fs::remove_file(folder.path().join("runs/first-000002")).expect("a file");
    let ended = state(&folder).with("--verify").run().fails(1, &["1 problem"]);
    let missing = "problem     the run file runs/first-000002: it is missing";
    assert!(ended.stdout.iter().any(|line| line == missing), "{:#?}", ended.stdout);
}

#[test]
fn what_is_no_state_is_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    state(&folder).run().fails(1, &["there is no state in", text(folder.path())]);
    cutwater(["state", "/no/such/folder"]).run().fails(1, &["/no/such/folder"]);
    cutwater(["state", "gs://bucket"]).run().fails(1, &["gs://bucket", "s3://BUCKET/PREFIX"]);
    cutwater(["state"]).run().expect(2);
}
