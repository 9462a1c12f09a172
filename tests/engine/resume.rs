//! A run that resumes from a ledger reads its epochs again, exactly and in any shape, and then goes on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use cutwater::epoch::EpochOptions;
use cutwater::feed::seeded::{Cut, Manner, Seeded, World};
use cutwater::job::DEAD_LETTERS;
use cutwater::state::resume::{Entry, Resume};
use cutwater::status::Status;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::source::times;
use cutwater_dataflows::watermark::Watermarks;
use cutwater_dataflows::word_count::Tokenizer;
use cutwater_dataflows::{Build, Epoch};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{DEADLINE, Event, Published, Rows, Run, Trouble, eager, recount};
use crate::inputs::{Together, together};

/// Hands out the words of both sides: what an epoch's records are made of, and nothing of those before
#[derive(clap::Args, Debug)]
struct Words {}

impl Dataflow for Words {
    const NAME: &'static str = "words";
    fn build(&self, flow: &Flow<'_>) {
        let left = flow.input("left").decode(Tokenizer::Whitespace);
        let right = flow.input("right").decode(Tokenizer::Whitespace);
        left.concat(right).output("words", &["word"], &[]);
    }
}

fn words(world: &World, cut: &Cut) -> BTreeMap<String, Rows> {
    let mut words = Rows::new();
    for (_, record) in world.below(cut) {
        let text = record.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
        for word in text.unwrap_or("").split_whitespace() {
            let word = serde_json::to_string(word).expect("text is JSON");
            *words.entry(format!(r#"{{"word":{word}}}"#)).or_default() += 1;
        }
    }
    let dead = recount(world, cut).remove(DEAD_LETTERS).expect("they are counted");
    BTreeMap::from([("words".to_owned(), words), (DEAD_LETTERS.to_owned(), dead)])
}

/// The ledger of a run from the start.
pub(crate) fn ledger(published: &Published) -> Vec<Entry> {
    entries(&Resume::default(), published)
}

/// The entries of a run that has resumed so.
fn entries(resume: &Resume, published: &Published) -> Vec<Entry> {
    let mut watermarks = Watermarks::after(resume.times.clone());
    (resume.checkpoint + 1..)
        .zip(&published.epochs)
        .map(|(epoch, of)| Entry::new(epoch, &of.reports, watermarks.advance(times(&of.reports)), 0, 0))
        .collect()
}

/// What a run resumes from that has a checkpoint as of one epoch and a ledger up to another.
pub(crate) fn resume(ledger: &[Entry], checkpoint: usize, last: usize) -> Resume {
    let mut resume = Resume { checkpoint: checkpoint as Epoch, ..Resume::default() };
    resume.published = resume.checkpoint;
    ledger[..checkpoint].iter().for_each(|entry| resume.cut.advance(&entry.cut));
    resume.times = ledger[..checkpoint].last().map(|entry| entry.times.clone()).unwrap_or_default();
    resume.replay = ledger[checkpoint..last].to_vec();
    resume
}

/// Checks that the epochs that were read again are those of the ledger, and that those after are new.
pub(crate) fn check_again(resume: &Resume, published: &Published) {
    assert!(published.epochs.len() >= resume.replay.len(), "all epochs of the ledger are there");
    let mut known = resume.cut.clone();
    for (index, (of, entry)) in published.epochs.iter().zip(entries(resume, published)).enumerate() {
        let epoch = entry.epoch;
        match resume.replay.get(index) {
            Some(old) => {
                let starts = Default::default();
                assert_eq!(entry, Entry { starts, ..old.clone() }, "epoch {epoch} is the same again");
                known.advance(&old.starts);
            }
            None => {
                for (input, topic, partition, _) in entry.cut.iter() {
                    let (known, start) =
                        (known.get(input, topic, partition), entry.starts.get(input, topic, partition));
                    assert!(known.is_some() != start.is_some(), "{topic} {partition}: a start is told once");
                }
                known.advance(&entry.starts);
            }
        }
        let again = index < resume.replay.len();
        assert!(of.reports.iter().all(|report| report.again == again), "epoch {epoch}");
    }
}

/// Seeds that are run at least.
const SEEDS: u64 = 150;
/// How many epochs there must have been of each kind. How many a seed comes to is a matter of the machine's speed.
const EPOCHS: usize = 500;

/// All that may be run to come to so many epochs.
fn seeds() -> Range<u64> {
    0..10 * SEEDS
}

pub(crate) const SHAPES: [(usize, usize); 5] = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)];

pub(crate) fn shape(rng: &mut StdRng) -> (usize, usize) {
    SHAPES[rng.random_range(0..SHAPES.len())]
}

/// Epochs of all sizes.
pub(crate) fn epochs(rng: &mut StdRng) -> EpochOptions {
    EpochOptions {
        shortest: Duration::from_micros([0, 100, 2000][rng.random_range(0..3)]),
        max_records: [usize::MAX, 7, 1][rng.random_range(0..3)],
        max_bytes: [usize::MAX, 100][rng.random_range(0..2)],
        in_flight: rng.random_range(1..4),
        ..EpochOptions::default()
    }
}

/// Runs the dataflow to its end, in a random shape.
fn first(rng: &mut StdRng, seed: u64, dataflow: &Arc<dyn Build>) -> Published {
    let feeds = Seeded::new(World::random(seed, &["left", "right"]), Manner::default());
    let (processes, workers) = shape(rng);
    Run { dataflow: Arc::clone(dataflow), processes, epochs: epochs(rng), ..Run::of(&feeds, workers) }
        .published()
}

/// Goes on from there to the end, in another shape. Returns the feeds as well, and how many records were read again.
fn again(
    rng: &mut StdRng,
    seed: u64,
    dataflow: &Arc<dyn Build>,
    resume: &Resume,
) -> (Published, Seeded, Status) {
    let feeds = Seeded::new(World::random(seed, &["left", "right"]), Manner::default());
    let (processes, workers) = shape(rng);
    let status = Status::default();
    let published = Run {
        dataflow: Arc::clone(dataflow),
        processes,
        epochs: epochs(rng),
        resume: Some(resume.clone()),
        status: status.clone(),
        ..Run::of(&feeds, workers)
    }
    .published();
    (published, feeds, status)
}

#[test]
fn the_same_ledger_gives_the_same_rows_in_every_shape() {
    let dataflow: Arc<dyn Build> = Arc::new(Together {});
    let mut reread = 0;
    for seed in seeds() {
        if seed >= SEEDS && reread > EPOCHS {
            break;
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let old = first(&mut rng, seed, &dataflow);
        let ledger = ledger(&old);
        let last = rng.random_range(0..=ledger.len());
        let resume = resume(&ledger, 0, last);
        let (new, feeds, status) = again(&mut rng, seed, &dataflow, &resume);
        check_again(&resume, &new);
        for (epoch, (old, new)) in old.epochs.iter().zip(&new.epochs).take(last).enumerate() {
            assert_eq!(old.rows, new.rows, "seed {seed}: epoch {}", epoch + 1);
        }
        assert_eq!(new.check(feeds.world(), together), feeds.handed().cut, "seed {seed}");
        assert_eq!(feeds.handed().records, feeds.world().records(), "seed {seed}: all was read");
        let figures = status.figures();
        assert_eq!(figures.reread_epochs, last as u64);
        assert_eq!(figures.reread, resume.replay.iter().map(|entry| entry.records).sum::<u64>());
        assert_eq!(figures.reread + figures.records, feeds.world().records() as u64, "none is counted twice");
        reread += last;
    }
    assert!(reread > EPOCHS, "there were enough epochs to tell: {reread}");
}

#[test]
fn what_a_checkpoint_holds_is_not_read_again() {
    let dataflow: Arc<dyn Build> = Arc::new(Words {});
    let (mut held, mut reread) = (0, 0);
    for seed in seeds() {
        if seed >= SEEDS && held > EPOCHS && reread > EPOCHS {
            break;
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let mut old = first(&mut rng, seed, &dataflow);
        let ledger = ledger(&old);
        let checkpoint = rng.random_range(0..=ledger.len());
        let last = rng.random_range(checkpoint..=ledger.len());
        let resume = resume(&ledger, checkpoint, last);
        let (new, feeds, _) = again(&mut rng, seed, &dataflow, &resume);
        check_again(&resume, &new);
        for (epoch, (old, new)) in old.epochs[checkpoint..last].iter().zip(&new.epochs).enumerate() {
            assert_eq!(old.rows, new.rows, "seed {seed}: epoch {}", checkpoint + 1 + epoch);
        }
        old.epochs.truncate(checkpoint);
        let before: u64 = ledger[..checkpoint].iter().map(|entry| entry.records).sum();
        assert_eq!(feeds.handed().records as u64 + before, feeds.world().records() as u64, "seed {seed}");
        // What the checkpoint holds and what comes after it are all there is.
        old.epochs.extend(new.epochs);
        let cut = old.check(feeds.world(), words);
        feeds.handed().cut.iter().for_each(|(key, next)| assert_eq!(cut.get(key), Some(next), "seed {seed}"));
        held += checkpoint;
        reread += last - checkpoint;
    }
    assert!(held > EPOCHS && reread > EPOCHS, "there were enough epochs to tell: {held}, {reread}");
}

/// A run of a few epochs of a few records each, and the ledger of it.
fn small(workers: usize) -> Vec<Entry> {
    let feeds = Seeded::new(World::even(3, "lines", 4, 20), Manner::default());
    let mut run = Run::of(&feeds, workers);
    run.epochs.max_records = 5;
    ledger(&run.published())
}

#[test]
fn a_stop_waits_until_all_is_read_again() {
    for (seed, (processes, workers)) in SHAPES.into_iter().enumerate() {
        let ledger = small(1 + seed % 2);
        let last = ledger.len() / 2;
        let resume = resume(&ledger, 0, last);
        let feeds = Seeded::new(World::even(3, "lines", 4, 20), Manner::default());
        let (open, gate) = crossbeam_channel::unbounded();
        // Nothing but the ledger closes an epoch.
        let epochs = EpochOptions { shortest: Duration::from_secs(3600), ..eager() };
        let running = Run {
            processes,
            epochs,
            trouble: Trouble::Gate(gate),
            resume: Some(resume.clone()),
            ..Run::of(&feeds, workers)
        }
        .start();
        // The first epochs wait at the gate when it is told to stop.
        feeds.wait_until(DEADLINE, |handed| handed.workers.values().any(|worker| worker.closed > 0));
        running.stop();
        drop(open);
        let (result, events) = running.end();
        result.expect("the run ends well");
        let published = Published::of(&events);
        check_again(&resume, &published);
        assert!(published.epochs.len() <= last + 1, "after that it stops");
        let rest = published.epochs.get(last).map_or(0, |of| of.reports.iter().map(|r| r.records).sum());
        let read: u64 = resume.replay.iter().map(|entry| entry.records).sum();
        assert_eq!(feeds.handed().records as u64, read + rest);
        assert_eq!(published.check(feeds.world(), recount), feeds.handed().cut);
    }
}

#[test]
fn epochs_that_are_read_again_are_bounded_in_flight() {
    for in_flight in 1..=3 {
        for workers in 1..=3 {
            let ledger = small(2);
            let resume = resume(&ledger, 0, ledger.len());
            let feeds = Seeded::new(World::even(3, "lines", 4, 20), Manner::default());
            let (open, gate) = crossbeam_channel::unbounded();
            let running = Run {
                epochs: EpochOptions { in_flight, ..eager() },
                trouble: Trouble::Gate(gate),
                resume: Some(resume.clone()),
                ..Run::of(&feeds, workers)
            }
            .start();
            // While the gate is shut, they read one more than may be unfinished, and no further.
            let most: u64 = ledger[..=in_flight].iter().map(|entry| entry.records).sum();
            feeds.wait_until(DEADLINE, |handed| handed.records as u64 == most);
            assert!(feeds.handed().workers.values().all(|worker| worker.closed <= in_flight));
            drop(open);
            let (result, events) = running.end();
            result.expect("the run ends well");
            check_again(&resume, &Published::of(&events));
        }
    }
}

#[test]
fn a_ledger_that_does_not_fit_is_an_error() {
    let ledger = small(1);
    let world = |change: &dyn Fn(&mut World)| {
        let mut world = World::even(3, "lines", 4, 20);
        change(&mut world);
        Seeded::new(world, Manner::default())
    };
    let gone = world(&|world| drop(world.logs.pop()));
    let shorter = world(&|world| {
        for log in &mut world.logs {
            log.records.truncate(10);
            log.end = log.records.last().expect("there are ten").offset + 1;
        }
    });
    for (feeds, words) in [(gone, "there is no partition"), (shorter, "is not within")] {
        for workers in 1..=3 {
            let resume = Some(resume(&ledger, 0, ledger.len()));
            let (result, events) = Run { resume, ..Run::of(&feeds, workers) }.start().end();
            let error = format!("{:#}", result.expect_err("the ledger is another's"));
            assert!(error.contains(words), "{error}");
            assert!(
                !events
                    .iter()
                    .any(|event| matches!(event, Event::Cut(epoch, _) if *epoch as usize == ledger.len()))
            );
        }
    }
}
