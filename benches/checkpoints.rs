//! Checkpoints in a folder: how fast rows are written, merged, verified and restored, on this machine's disk.
//!
//! `cargo bench --bench checkpoints [-- MILLIONS]` prints a line for each; 1 million rows unless told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cutwater::fault::Fault;
use cutwater::feed::Place;
use cutwater::state::checkpoint::Keepers;
use cutwater::state::checkpoint::keeper::{RunKeepers, Threads};
use cutwater::state::checkpoint::run::{RunFiles, Sizes, verify};
use cutwater::state::storage::{self, Storage};
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::persist::{Keeper, Piece, Run};

/// Rows an epoch.
const EPOCH: u64 = 100_000;

fn main() -> Result<()> {
    let millions: u64 = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1);
    let rows = millions * 1_000_000;
    let folder = tempfile::tempdir()?;
    let (storage, _lock) = storage::claim(&folder.path().to_string_lossy())?;

    let (mut keeper, threads, fault) = start(&storage, "first", &[], 0, 1)?;
    keeper.restore(&mut |_| ());
    let mut handed = Duration::ZERO;
    let began = Instant::now();
    for epoch in 1..=rows / EPOCH {
        let mut batch = FlatBatch::default();
        for row in (epoch - 1) * EPOCH..epoch * EPOCH {
            batch.push(format!("word-{row}").as_bytes(), 1 + row as i64 % 7);
        }
        let sealing = Instant::now();
        keeper.seal(epoch, batch);
        handed += sealing.elapsed();
    }
    keeper.checkpoint(Some(rows / EPOCH));
    let piece = piece(&mut *keeper, &fault)?;
    let bytes: u64 = piece.runs.iter().map(|run| run.bytes).sum();
    show("sealed and written", rows, bytes, began.elapsed());
    println!("  of that the worker waited {handed:?}; {} runs", piece.runs.len());

    // A hundredth of the rows changes: what an incremental checkpoint costs.
    let began = Instant::now();
    let mut batch = FlatBatch::default();
    (0..rows / 100).for_each(|row| batch.push(format!("word-{}", row * 100).as_bytes(), 1));
    keeper.seal(rows / EPOCH + 1, batch);
    keeper.checkpoint(None);
    let last = self::piece(&mut *keeper, &fault)?;
    let written = last.runs.iter().filter(|run| !piece.runs.contains(run)).map(|run| run.bytes).sum();
    show("a hundredth changed", rows / 100, written, began.elapsed());
    drop(keeper);
    threads.join();

    let began = Instant::now();
    last.runs.iter().try_for_each(|run| verify(&storage, run))?;
    let bytes = last.runs.iter().map(|run| run.bytes).sum();
    show("verified, one thread", rows, bytes, began.elapsed());
    for workers in [1, 2] {
        let began = Instant::now();
        let read: Vec<Result<u64>> = std::thread::scope(|scope| {
            let restore = |worker| restore(&storage, &last.runs, worker, workers);
            let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || restore(worker))).collect();
            workers.into_iter().map(|worker| worker.join().expect("it doesn't panic")).collect()
        });
        let total: u64 = read.into_iter().sum::<Result<u64>>()?;
        ensure!(total >= rows, "{total} rows of {rows} came back");
        show(&format!("restored, {workers} at once"), rows, bytes, began.elapsed());
    }
    Ok(())
}

fn start(
    storage: &Arc<dyn Storage>,
    start: &str,
    runs: &[Run],
    worker: usize,
    workers: usize,
) -> Result<(Box<dyn Keeper>, Threads, Fault)> {
    let fault = Fault::default();
    let collections = BTreeMap::from([("words".to_owned(), runs.to_vec())]);
    let files = RunFiles::new(Arc::clone(storage), start, Sizes::default());
    let (keepers, threads) = RunKeepers::start(files, collections, &fault)?;
    Ok((keepers.keeper("words", Place { worker, workers }), threads, fault))
}

fn restore(storage: &Arc<dyn Storage>, runs: &[Run], worker: usize, workers: usize) -> Result<u64> {
    let (mut keeper, ..) = start(storage, &format!("restored-{workers}-{worker}"), runs, worker, workers)?;
    let mut rows = 0;
    keeper.restore(&mut |batch| rows += batch.len() as u64);
    Ok(rows)
}

fn piece(keeper: &mut dyn Keeper, fault: &Fault) -> Result<Piece> {
    loop {
        if let Some(piece) = keeper.finished().pop() {
            return Ok(piece);
        }
        if let Some(error) = fault.take() {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn show(what: &str, rows: u64, bytes: u64, took: Duration) {
    let seconds = took.as_secs_f64();
    println!(
        "{what:<22} {rows:>11} rows  {:>7.1} MiB  {seconds:>7.3} s  {:>6.2} M rows/s  {:>6.0} MiB/s",
        bytes as f64 / 1_048_576.0,
        rows as f64 / 1e6 / seconds,
        bytes as f64 / 1_048_576.0 / seconds
    );
}
