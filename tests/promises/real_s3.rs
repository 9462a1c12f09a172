//! State on a real S3-compatible server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cutwater::fault::Fault;
use cutwater::feed::Place;
use cutwater::state::checkpoint::coordinator::{Coordinator, History, Plan};
use cutwater::state::checkpoint::run::{RunFiles, Sizes};
use cutwater::state::checkpoint::state_writer::RunStateWriters;
use cutwater::state::checkpoint::{Checkpoints as _, StateWriters as _, load};
use cutwater::state::cut::Cut;
use cutwater::state::identity::{FORMAT, Identity};
use cutwater::state::ledger::Ledger;
use cutwater::state::resume::Entry;
use cutwater::state::storage::objects::Objects;
use cutwater::state::storage::{Storage, contract};
use cutwater::time::MachineTime;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::flat::FlatBatch;

use nix::sys::signal::Signal;

use crate::support::broker::real;
use crate::support::committed::{latest, read, settle};
use crate::support::program::{Program, cutwater, word_count};
use crate::support::rows::{Row, assert_counts, recount};
use crate::support::s3::{BUCKET, s3};
use crate::support::text::licenses;
use crate::support::{DEADLINE, unique};

fn place() -> String {
    format!("s3://{BUCKET}/{}", unique())
}

fn objects(place: &str) -> Objects {
    let variables = s3().variables.iter().map(|(name, value)| (name.into(), value.into()));
    Objects::open(place, variables).expect("the bucket is there")
}

/// A program with what the server's clients need.
fn beside(program: Program) -> Program {
    s3().variables.iter().fold(program, |program, (name, value)| program.env(name, value))
}

/// `cutwater state` with that, but for what is given.
fn state(place: &str, variables: &[(&str, &str)]) -> Program {
    let program = beside(cutwater(["state", place]));
    variables.iter().fold(program, |program, (name, value)| program.env(name, value))
}

#[test]
fn objects_keep_what_storage_promises() {
    contract::check(&objects(&place()));
    contract::check(&objects(&format!("{}/a/b/", place())));
}

struct NoPast;
impl History for NoPast {
    fn cut(&mut self, _: Epoch) -> anyhow::Result<Cut> {
        Ok(Cut::default())
    }
    fn retire(&mut self, _: Epoch) -> anyhow::Result<()> {
        Ok(())
    }
}

#[test]
fn checkpoints_are_made_restored_shown_and_verified() {
    const ROWS: u64 = 300_000;
    let place = place();
    let storage: Arc<dyn Storage> = Arc::new(objects(&place));
    let identity = Identity {
        format: FORMAT,
        job: "0123".into(),
        created: 1_700_000_000_000_000,
        dataflow: "word-count".into(),
        options: "WordCount".into(),
        collections: vec!["words".into()],
        types: Default::default(),
        inputs: BTreeMap::from([("lines".to_owned(), vec!["topic".to_owned()])]),
        formats: Default::default(),
        lateness: None,
        cluster: None,
        topics: BTreeMap::new(),
        outputs: BTreeMap::new(),
        group: "g".into(),
    };
    identity.adopt(&*storage).expect("it is new");
    let mut ledger = Ledger::open(Arc::clone(&storage), "0123").expect("it is new");
    let fault = Fault::default();
    let mut expected: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for workers in [1, 2, 3] {
        let (manifest, warnings) = load::newest(&storage, "0123", true).expect("it is readable");
        assert!(warnings.is_empty(), "{warnings:?}");
        let from = manifest.as_ref().map_or(0, |manifest| manifest.epoch);
        assert_eq!(from, ledger.last());
        let collections = manifest.into_iter().flat_map(|manifest| manifest.collections);
        let collections = collections.map(|(name, rows)| (name, rows.runs)).collect();
        let plan = Plan {
            job: "0123".into(),
            collections: vec!["words".into()],
            workers,
            every: Duration::ZERO,
            from,
        };
        let time = Arc::new(MachineTime::default());
        let coordinator =
            Coordinator::new(Arc::clone(&storage), plan, time, Box::new(NoPast)).expect("it is readable");
        let files = RunFiles::new(Arc::clone(&storage), &unique().replace('.', "-"), Sizes::default());
        let (writers, threads) = RunStateWriters::start(files, collections, &fault).expect("threads");
        let mut restored: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let epoch = from + 1;
        for worker in 0..workers {
            let mut writer = writers.writer(
                "words",
                Place { worker, workers },
                cutwater_dataflows::persist::Sharding::by_row(),
            );
            while writer.restore(&mut |rows| {
                rows.iter().for_each(|(row, count)| *restored.entry(row.to_vec()).or_default() += count);
            }) {}
            let mut batch = FlatBatch::default();
            for row in 0..ROWS {
                let row = format!("word {row} of a length that fills more than one part").into_bytes();
                let hash = cutwater_dataflows::key::hash(&row);
                if cutwater_dataflows::persist::HashRange::worker(hash, workers) == worker {
                    batch.push(&row, 1);
                    *expected.entry(row).or_default() += 1;
                }
            }
            writer.seal(epoch, batch);
            writer.checkpoint(None);
            while !writer.finished().into_iter().fold(false, |_, part| {
                coordinator.part(part);
                true
            }) {
                assert!(!fault.is_raised(), "{:?}", fault.take());
                std::thread::yield_now();
            }
        }
        if epoch > 1 {
            assert!(
                restored.len() as u64 == ROWS && restored.values().all(|&count| count == epoch as i64 - 1)
            );
        }
        ledger.append(Entry { epoch, time: 1_700_000_000_000_000, ..Entry::default() }).expect("it follows");
        ledger.sync().expect("it is written");
        coordinator.published(epoch);
        coordinator.finish().expect("it is written");
        drop(writers);
        threads.join();
    }
    assert!(!fault.is_raised());
    let shown = state(&place, &[]).with("--verify").rows();
    for line in [
        "job         0123, made 2023-11-14T22:13:20Z",
        "input       lines = topic",
        "ledger      epochs 1 to 3",
        "checkpoint  epoch 3",
        "checkpoint  epoch 2",
        "verified    no problem",
    ] {
        assert!(shown.iter().any(|shown| shown.starts_with(line)), "{line}: {shown:#?}");
    }
    assert!(!shown.iter().any(|line| line.starts_with("checkpoint  epoch 1,")));

    // Run files that are damaged are found, and named: those of a checkpoint. Others may be there, of a merge that nobody
    // waited for.
    let files = storage.list("runs").unwrap();
    for (file, length) in &files {
        let mut bytes = storage.read(file, None).unwrap().expect("it was listed");
        bytes[*length as usize / 2] ^= 1;
        storage.put(file, &bytes).unwrap();
    }
    let ended = state(&place, &[]).with("--verify").run().expect(1);
    let named = |line: &String| files.iter().any(|(file, _)| line.contains(file));
    assert!(ended.stdout.iter().any(named), "{:#?}", ended.stdout);
    state(&place, &[]).run().expect(0);
}

#[test]
fn counts_go_on_from_state_in_a_store_after_a_kill_in_other_shapes() {
    let (input, output) = (real().topic(4), real().topic(2));
    let place = place();
    let run = |shape: &str| {
        let to = format!("kafka:{}", output.name);
        let program = beside(word_count(&input.address, &input.name)).args(["--state", &place, "--to", &to]);
        program
            .args(["--set", &format!("group.id={}", output.name)])
            .with("-e 20ms --checkpoint 100ms")
            .with(shape)
    };
    let lines = licenses();
    let thirds: Vec<&[String]> = lines.chunks(lines.len().div_ceil(3)).collect();
    input.send(thirds[0]);
    run("--until-end").run().expect(0);

    input.send(thirds[1]);
    let running = run("-w 2 -n 2").start();
    let before = read(&output).len();
    let deadline = Instant::now() + DEADLINE;
    while read(&output).len() == before {
        assert!(Instant::now() < deadline, "nothing is published");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::SIGKILL);
    drop(running.wait());

    input.send(thirds[2]);
    let ended = run("--until-end -w 3").run().expect(0);
    assert!(ended.stderr.iter().any(|line| line.contains("resuming from")), "{:#?}", ended.stderr);
    settle(&output);
    let rows: Vec<String> = latest(&read(&output)).into_values().collect();
    let found = rows.iter().map(|row| serde_json::from_str::<Row>(row).expect("a row"));
    assert_counts(&found.map(|row| (row.word, row.count)).collect(), &recount(lines));
    let shown = state(&place, &[]).with("--verify").rows();
    assert!(shown.iter().any(|line| line == "verified    no problem"), "{shown:#?}");
}

#[test]
fn what_is_wrong_with_a_store_is_said() {
    let nothing = place();
    state(&nothing, &[]).run().fails(1, &["there is no state in", &nothing]);
    state("s3://no-such-bucket/a", &[]).run().fails(1, &["s3://no-such-bucket/a", "NoSuchBucket"]);
    let wrong = [("AWS_SECRET_ACCESS_KEY", "another-key-than-the-store-has")];
    state(&nothing, &wrong).run().fails(1, &[&nothing, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"]);
    let nobody = [("AWS_ENDPOINT", "http://127.0.0.1:1")];
    state(&nothing, &nobody).with("--quiet").run().fails(1, &["127.0.0.1:1", "AWS_ENDPOINT"]);
    let tls = [("AWS_ALLOW_HTTP", "false")];
    state(&nothing, &tls).with("--quiet").run().fails(1, &["AWS_ALLOW_HTTP=true"]);
}
