//! Checkpoints in a folder: how fast rows are written, verified and restored, beside plain file I/O with the same bytes on
//! the same disk.
//!
//! `cargo bench --bench checkpoints [-- MILLIONS...] [--json FILE]`; 1 and 10 million words unless told.

#[path = "support/figures.rs"]
mod figures;
#[path = "support/words.rs"]
mod words;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cutwater::fault::Fault;
use cutwater::feed::Place;
use cutwater::state::checkpoint::StateWriters;
use cutwater::state::checkpoint::run::{RunFiles, Sizes, verify};
use cutwater::state::checkpoint::state_writer::{RunStateWriters, Threads};
use cutwater::state::storage::{self, Storage};
use cutwater_dataflows::clock::FlowTime;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::flow::Persistence;
use cutwater_dataflows::persist::{CheckpointPart, Sharding, SortedRun, StateWriter};
use cutwater_dataflows::source::{DecodeRecord, Driver, Report, Turn};
use cutwater_dataflows::word_count::WordCount;
use cutwater_dataflows::{Activator, Epoch, Flow, SyncActivator};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde::Serialize;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::{Probe, probe::Handle};
use xxhash_rust::xxh3::Xxh3;

/// Rows an epoch.
const EPOCH: u64 = 100_000;
/// Bytes that plain file I/O reads or writes at a time.
const BLOCK: usize = 1 << 20;

/// What was measured with so many words, in seconds.
#[derive(Serialize)]
struct Figures {
    words: u64,
    /// Of the checkpoint's files.
    bytes: u64,
    /// From the first epoch to the finished part.
    write: f64,
    /// Writing as many bytes to one file, and syncing it.
    plain_write: f64,
    /// Verifying every byte and the order of the rows; from the disk, as all that follows.
    verify: f64,
    /// Reading the same files and taking their checksum (xxh3).
    plain_read: f64,
    /// Handing all rows to one worker.
    restore: f64,
    /// Until word-count stands on one worker: all rows handed over and arranged.
    stand: f64,
    /// The last as a multiple of plain reading.
    restore_of_reading: f64,
}

fn main() -> Result<()> {
    let asked: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let millions = if asked.is_empty() { vec![1, 10] } else { asked };
    let figures =
        millions.into_iter().map(|millions| measure(millions * 1_000_000)).collect::<Result<Vec<_>>>()?;
    figures::write(&figures)
}

fn measure(rows: u64) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let (storage, _lock) = storage::claim(&folder.path().to_string_lossy())?;

    let (mut writer, threads, fault) = start(&storage, "first", &[], 0, 1)?;
    while writer.restore(&mut |_| ()) {}
    let mut handed = Duration::ZERO;
    let began = Instant::now();
    let mut word = String::new();
    for epoch in 1..=rows / EPOCH {
        let mut batch = FlatBatch::default();
        for row in (epoch - 1) * EPOCH..epoch * EPOCH {
            word.clear();
            words::push(row, &mut word);
            batch.push(word.as_bytes(), 1 + row as i64 % 7);
        }
        let sealing = Instant::now();
        writer.seal(epoch, batch);
        handed += sealing.elapsed();
    }
    writer.checkpoint(Some(rows / EPOCH));
    let part = part(&mut *writer, &fault)?;
    let bytes: u64 = part.runs.iter().map(|run| run.bytes).sum();
    let write = show("sealed and written", rows, bytes, began.elapsed());
    println!("  of that the worker waited {handed:?}; {} runs", part.runs.len());

    // A hundredth of the rows changes: what an incremental checkpoint costs.
    let began = Instant::now();
    let mut batch = FlatBatch::default();
    for row in 0..rows / 100 {
        word.clear();
        words::push(row * 100, &mut word);
        batch.push(word.as_bytes(), 1);
    }
    writer.seal(rows / EPOCH + 1, batch);
    writer.checkpoint(None);
    let last = self::part(&mut *writer, &fault)?;
    let written = last.runs.iter().filter(|run| !part.runs.contains(run)).map(|run| run.bytes).sum();
    show("a hundredth changed", rows / 100, written, began.elapsed());
    drop(writer);
    threads.join();
    let bytes = last.runs.iter().map(|run| run.bytes).sum();

    let began = Instant::now();
    plain_write(&folder.path().join("plain"), bytes)?;
    let plain_write = show("plain write and sync", rows, bytes, began.elapsed());
    let files: Vec<PathBuf> = last.runs.iter().map(|run| folder.path().join(&run.file)).collect();
    evict(&files)?;
    let began = Instant::now();
    last.runs.iter().try_for_each(|run| verify(&storage, run))?;
    let verify = show("verified, one thread", rows, bytes, began.elapsed());
    evict(&files)?;
    let began = Instant::now();
    files.iter().try_for_each(|file| plain_read(file))?;
    let plain_read = show("plain read and xxh3", rows, bytes, began.elapsed());
    let mut restore = 0.0;
    for workers in [2, 1] {
        evict(&files)?;
        let began = Instant::now();
        let read: Vec<Result<u64>> = std::thread::scope(|scope| {
            let restore = |worker| self::restore(&storage, &last.runs, worker, workers);
            let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || restore(worker))).collect();
            workers.into_iter().map(|worker| worker.join().expect("it doesn't panic")).collect()
        });
        let total: u64 = read.into_iter().sum::<Result<u64>>()?;
        ensure!(total >= rows, "{total} rows of {rows} came back");
        restore = show(&format!("restored, {workers} at once"), rows, bytes, began.elapsed());
    }
    evict(&files)?;
    let stand = show("restored and arranged", rows, bytes, stand(&storage, &last.runs)?);
    let restore_of_reading = stand / plain_read;
    println!("  {restore_of_reading:.2} times plain reading");
    Ok(Figures {
        words: rows,
        bytes,
        write,
        plain_write,
        verify,
        plain_read,
        restore,
        stand,
        restore_of_reading,
    })
}

fn start(
    storage: &Arc<dyn Storage>,
    start: &str,
    runs: &[SortedRun],
    worker: usize,
    workers: usize,
) -> Result<(Box<dyn StateWriter>, Threads, Fault)> {
    let fault = Fault::default();
    let collections = BTreeMap::from([("words".to_owned(), runs.to_vec())]);
    let files = RunFiles::new(Arc::clone(storage), start, Sizes::default());
    let (writers, threads) = RunStateWriters::start(files, collections, &fault)?;
    Ok((writers.writer("words", Place { worker, workers }, Sharding::by_row()), threads, fault))
}

fn restore(storage: &Arc<dyn Storage>, runs: &[SortedRun], worker: usize, workers: usize) -> Result<u64> {
    let (mut writer, ..) = start(storage, &format!("restored-{workers}-{worker}"), runs, worker, workers)?;
    let mut rows = 0;
    while writer.restore(&mut |batch| rows += batch.len() as u64) {}
    Ok(rows)
}

/// How long it takes until word-count stands on one worker.
fn stand(storage: &Arc<dyn Storage>, runs: &[SortedRun]) -> Result<Duration> {
    let (storage, runs) = (Arc::clone(storage), runs.to_vec());
    timely::execute_directly(move |worker| {
        let began = Instant::now();
        let (writer, ..) = start(&storage, "stands", &runs, 0, 1)?;
        let mut writer = Some(writer);
        let probe = Handle::<Epoch>::new();
        worker.dataflow(|scope| {
            let writers = Box::new(move |_: &str, _| writer.take().expect("one collection is persisted"));
            let persistence = Persistence { writers, barriers: empty(scope) };
            let dataflow = WordCount::default();
            let drivers = Box::new(|_: &str| -> Box<dyn Driver> { Box::new(Nothing) });
            let mut parts = Flow::build(scope, &dataflow, drivers, Some(persistence), FlowTime::default());
            let output = parts.outputs.pop().expect("word-count has an output");
            (output.changes)(false).probe_with(&probe);
        });
        // Has the system forget the peak, where it lets us.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = resident("VmRSS:")?;
        while probe.less_than(&1) {
            worker.step();
        }
        let took = began.elapsed();
        let (peak, steady) = (resident("VmHWM:")? - before, resident("VmRSS:")? - before);
        println!("  memory: {peak} MiB at most, {steady} MiB then, {:.2} times", peak as f64 / steady as f64);
        Ok(took)
    })
}

/// A figure of this process's memory, in MiB.
fn resident(name: &str) -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(name)).context("the system tells of memory")?;
    let kilobytes: i64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024)
}

/// An input that has nothing.
struct Nothing;

impl Driver for Nothing {
    fn first(&self) -> Epoch {
        1
    }
    fn attach(&mut self, _here: Activator, _anywhere: SyncActivator) {}
    fn turn(&mut self, _: &mut DecodeRecord<'_>) -> Turn {
        Turn::Done(Report::default())
    }
}

fn part(writer: &mut dyn StateWriter, fault: &Fault) -> Result<CheckpointPart> {
    loop {
        if let Some(part) = writer.finished().pop() {
            return Ok(part);
        }
        if let Some(error) = fault.take() {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn plain_write(path: &Path, mut bytes: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let block = vec![7; BLOCK];
    while bytes > 0 {
        let next = bytes.min(BLOCK as u64);
        file.write_all(&block[..next as usize])?;
        bytes -= next;
    }
    file.sync_all()?;
    Ok(())
}

/// Has the system forget what it has of the files, so that they are read from the disk.
fn evict(files: &[PathBuf]) -> Result<()> {
    for path in files {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    Ok(())
}

fn plain_read(path: &Path) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let (mut block, mut sum) = (vec![0; BLOCK], Xxh3::new());
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => sum.update(&block[..read]),
        }
    }
    std::hint::black_box(sum.digest());
    Ok(())
}

/// Prints a line, and returns the seconds.
fn show(what: &str, rows: u64, bytes: u64, took: Duration) -> f64 {
    let seconds = took.as_secs_f64();
    println!(
        "{what:<22} {rows:>11} rows  {:>7.1} MiB  {seconds:>7.3} s  {:>6.2} M rows/s  {:>6.0} MiB/s",
        bytes as f64 / 1_048_576.0,
        rows as f64 / 1e6 / seconds,
        bytes as f64 / 1_048_576.0 / seconds
    );
    seconds
}
