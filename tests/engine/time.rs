//! What depends on time is decided once: by the clock of the first run, and from the ledger after that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cutwater::epoch::EpochOptions;
use cutwater::feed::seeded::{Manner, Seeded, World};
use cutwater::job::DEAD_LETTERS;
use cutwater_dataflows::Build;
use cutwater_dataflows::lateness::with_lateness;
use cutwater_dataflows::rows::Timestamp;
use cutwater_dataflows::source::Report;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{DEADLINE, Event, OfEpoch, Published, Run, Running, eager};
use crate::resume::{SHAPES, check_again, epochs, ledger as ledger_of, resume, shape};
use crate::timed::Quiet;

/// What an output said, one string a row.
fn said(epochs: &[OfEpoch], output: &str) -> Vec<String> {
    let rows = epochs.iter().flat_map(|of| of.rows.get(output).cloned().unwrap_or_default());
    rows.map(|change| format!("{} {}", change.diff, String::from_utf8_lossy(&change.row))).collect()
}

/// True iff nothing was read in an epoch: it was closed for a timer.
fn is_empty(reports: &[Report]) -> bool {
    reports.iter().all(|report| report.records == 0 && report.moved.is_empty())
}

/// Runs a dataflow, and once more in another shape, which replays some of its epochs: with the same rows. Returns what both have
/// published, and how many epochs were replayed.
fn replayed_once(
    seed: u64,
    rng: &mut StdRng,
    dataflow: &Arc<dyn Build>,
    idle_after: impl Fn(&mut StdRng) -> Duration,
) -> (Published, Published, usize) {
    let run = |rng: &mut StdRng, resume| {
        let feeds = Seeded::new(World::random(seed, &["lines"]), Manner::default());
        let (processes, workers) = shape(rng);
        let idle_after = idle_after(rng);
        let epochs = EpochOptions { idle_after, ..epochs(rng) };
        let dataflow = Arc::clone(dataflow);
        Run { dataflow, processes, epochs, resume, ..Run::of(&feeds, workers) }.published()
    };
    let old = run(rng, None);
    let ledger = ledger_of(&old);
    let last = rng.random_range(0..=ledger.len());
    let resume = resume(&ledger, 0, last);
    let new = run(rng, Some(resume.clone()));
    check_again(&resume, &new);
    for (epoch, (old, new)) in old.epochs.iter().zip(&new.epochs).take(last).enumerate() {
        assert_eq!(old.rows, new.rows, "seed {seed}: epoch {}", epoch + 1);
    }
    (old, new, last)
}

#[test]
fn times_and_what_is_made_of_them_are_replayed_in_every_shape() {
    let (mut replayed, mut silences) = (0, 0);
    for seed in 0..120 {
        let mut rng = StdRng::seed_from_u64(seed);
        // Epochs may be shorter than the gap, or longer.
        let dataflow: Arc<dyn Build> = Arc::new(Quiet { gap: Some(200), mark: Some(500_000) });
        let idle_after =
            |rng: &mut StdRng| Duration::from_micros([0, 300, 1_000_000][rng.random_range(0..3)]);
        let (old, new, last) = replayed_once(seed, &mut rng, &dataflow, idle_after);
        // However it came there: all is read, so nothing holds the watermark back.
        let watermark = |of: &Published| ledger_of(of).last().map(|entry| entry.times.watermark);
        if let (Some(old), Some(new)) = (watermark(&old), watermark(&new)) {
            assert_eq!(old, new, "seed {seed}");
        }
        replayed += last;
        silences += said(&old.epochs[..last], "said").iter().filter(|said| said.contains("silence")).count();
    }
    assert!(replayed > 300 && silences > 20, "there were enough to tell: {replayed}, {silences}");
}

#[test]
fn late_records_are_dead_letters_and_the_same_ones_in_a_replay_in_every_shape() {
    let (mut replayed, mut late) = (0, 0);
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let lateness = Duration::from_millis(rng.random_range(0..10));
        let dataflow = with_lateness(Arc::new(Quiet::default()), Some(lateness));
        // A partition that is idle at once leaves the watermark to the others, and comes back late.
        let (old, _, last) = replayed_once(seed, &mut rng, &dataflow, |_| Duration::ZERO);
        let ledger = ledger_of(&old);
        let mut watermark = None;
        for (of, entry) in old.epochs.iter().zip(&ledger) {
            let letters = of.rows.get(DEAD_LETTERS).map_or(&[][..], Vec::as_slice);
            let counted: u64 = of.reports.iter().map(|report| report.dead_letters).sum();
            assert_eq!(counted, letters.len() as u64, "seed {seed}");
            for letter in letters.iter().map(|letter| String::from_utf8_lossy(&letter.row)) {
                if letter.contains("late: ") {
                    let watermark = Timestamp::from_micros(watermark.expect("it is known where one is late"));
                    assert!(letter.contains(&format!("behind the watermark {watermark}")), "{letter}");
                    late += 1;
                }
            }
            watermark = entry.times.watermark;
        }
        replayed += last;
    }
    assert!(replayed > 150 && late > 40, "there were enough to tell: {replayed}, {late}");
}

/// Reads until a row of `said` is committed, stops, and returns all that was published.
fn until_said(running: Running) -> Published {
    let mut events = Vec::new();
    while !events.iter().any(|event| matches!(event, Event::Rows(_, output, _) if output == "said")) {
        events.push(running.next());
    }
    running.stop();
    let (result, rest) = running.end();
    result.expect("the run ends well");
    events.extend(rest);
    Published::of(&events)
}

#[test]
fn an_epoch_closes_for_a_timer_on_an_idle_topic_and_is_replayed() {
    for (seed, (processes, workers)) in SHAPES.into_iter().enumerate() {
        let world = || World::even(seed as u64, "lines", 4, 5);
        let dataflow: Arc<dyn Build> = Arc::new(Quiet { gap: Some(50_000), mark: None });
        let feeds = Seeded::new(world(), Manner { endless: true, ..Manner::default() });
        let dataflow_of = Arc::clone(&dataflow);
        let old = Run { dataflow: dataflow_of, processes, ..Run::of(&feeds, workers) }.start();
        let old = until_said(old);
        assert_eq!(said(&old.epochs, "said").len(), 1, "it is silent once");
        let empty: Vec<bool> = old.epochs.iter().map(|of| is_empty(&of.reports)).collect();
        let (last, before) = empty.split_last().expect("there are epochs");
        assert!(*last && !before.contains(&true), "nothing but the timer closes an empty one: {empty:?}");
        let entry = ledger_of(&old).pop().expect("there are entries");
        assert!(entry.cut.is_empty() && entry.records == 0);

        let resume = resume(&ledger_of(&old), 0, old.epochs.len());
        for (processes, workers) in SHAPES {
            let feeds = Seeded::new(world(), Manner::default());
            let dataflow = Arc::clone(&dataflow);
            let new = Run { dataflow, processes, resume: Some(resume.clone()), ..Run::of(&feeds, workers) };
            let new = new.published();
            check_again(&resume, &new);
            assert_eq!(said(&new.epochs, "said"), said(&old.epochs, "said"));
        }
    }
}

#[test]
fn partitions_that_become_idle_let_the_watermark_go_where_somebody_waits_for_it() {
    for (processes, workers) in SHAPES {
        let world = World::even(7, "lines", 3, 5);
        // The time of a record is its offset, in milliseconds.
        let last = world.logs.iter().map(|log| log.records.last().expect("there are five").offset).max();
        let mark = last.map(|last| last * 1000);
        let feeds = Seeded::new(world, Manner { endless: true, ..Manner::default() });
        let epochs = EpochOptions { idle_after: Duration::from_millis(50), ..eager() };
        let dataflow: Arc<dyn Build> = Arc::new(Quiet { gap: None, mark });
        let published = until_said(Run { dataflow, processes, epochs, ..Run::of(&feeds, workers) }.start());
        let entries = ledger_of(&published);
        let watermarks: Vec<_> = entries.iter().map(|entry| entry.times.watermark).collect();
        assert!(watermarks.is_sorted(), "it does not go back: {watermarks:?}");
        assert_eq!(*watermarks.last().expect("there are epochs"), mark);
        assert!(is_empty(&published.epochs.last().expect("there are epochs").reports));
    }
}

#[test]
fn without_anybody_who_waits_no_epoch_is_empty() {
    let dataflow: Arc<dyn Build> = Arc::new(Quiet { gap: None, mark: None });
    let feeds = Seeded::new(World::even(7, "lines", 3, 5), Manner { endless: true, ..Manner::default() });
    let epochs = EpochOptions { idle_after: Duration::ZERO, ..eager() };
    let running = Run { dataflow, epochs, ..Run::of(&feeds, 2) }.start();
    feeds.wait_until(DEADLINE, |handed| handed.records == 15);
    running.stop();
    let (result, events) = running.end();
    result.expect("the run ends well");
    assert!(Published::of(&events).epochs.iter().all(|of| !is_empty(&of.reports)));
}

#[test]
fn the_clock_has_one_row_also_after_a_checkpoint() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let dataflow: Arc<dyn Build> = Arc::new(Quiet::default());
        let feeds = || Seeded::new(World::random(seed, &["lines"]), Manner::default());
        let run = Run { dataflow: Arc::clone(&dataflow), epochs: epochs(&mut rng), ..Run::of(&feeds(), 2) };
        let old = run.published();
        let ledger = ledger_of(&old);
        let checkpoint = rng.random_range(0..=ledger.len());
        let last = rng.random_range(checkpoint..=ledger.len());
        let resume = resume(&ledger, checkpoint, last);
        let run = Run { dataflow, resume: Some(resume.clone()), ..Run::of(&feeds(), 3) };
        let new = run.published();
        check_again(&resume, &new);
        let mut sum = BTreeMap::<String, i64>::new();
        let before = said(&old.epochs[..checkpoint], "clock");
        for change in before.into_iter().chain(said(&new.epochs, "clock")) {
            let (diff, row) = change.split_once(' ').expect("a difference and a row");
            let sum = sum.entry(row.to_owned()).or_default();
            *sum += diff.parse::<i64>().expect("a number");
        }
        sum.retain(|_, count| *count != 0);
        let expected = usize::from(checkpoint + new.epochs.len() > 0);
        assert!(sum.len() == expected && sum.values().all(|&count| count == 1), "seed {seed}: {sum:?}");
    }
}
