use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::render::{Encoded, rendered};
use cutwater_dataflows::rows::{Schema, Text};
use cutwater_dataflows::source::{Moved, Report};
use cutwater_dataflows::{Diff, Epoch, OutputShape, Unique};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{CHUNK, History, NotHeld, Views};
use crate::state::resume::Resume;

/// Rows, each with how often it is there.
type Rows = BTreeMap<Vec<u8>, Diff>;

const FOREVER: History = History { time: Duration::from_secs(3600), bytes: usize::MAX };

fn shape(name: &str, appends: bool) -> OutputShape {
    let schema = Schema::of::<Text>();
    OutputShape {
        name: name.into(),
        schema,
        restorable: !appends,
        unique: Unique::Unknown,
        appends,
        with_offsets: false,
    }
}

/// As workers send them: in several batches, each in order.
fn batches(changes: &[(Vec<u8>, Diff)], workers: usize) -> Vec<FlatBatch> {
    let of = |worker: usize| {
        let mut batch = FlatBatch::default();
        for (row, diff) in changes.iter().skip(worker).step_by(workers) {
            batch.push(row, *diff);
        }
        rendered(&Encoded, &[batch])
    };
    (0..workers).map(of).collect()
}

/// The report of an epoch that moves a partition there.
fn moved(next: i64) -> Vec<Report> {
    let moved = Moved { topic: "lines".into(), partition: 0, start: None, id: None, next, end: next };
    vec![Report { input: "lines".into(), moved: vec![moved], records: 1, ..Report::default() }]
}

/// Adds changes to rows, as a plain recount does.
fn count(rows: &mut Rows, changes: &[(Vec<u8>, Diff)]) {
    for (row, diff) in changes {
        *rows.entry(row.clone()).or_default() += diff;
    }
    rows.retain(|_, count| *count != 0);
}

fn at(views: &Views, output: usize, epoch: Option<Epoch>) -> Result<(Epoch, Rows), NotHeld> {
    let snapshot = views.snapshot(&[output], epoch)?;
    let rows: Vec<(Vec<u8>, Diff)> =
        snapshot.rows(0, &[]).map(|(row, count)| (row.to_vec(), count)).collect();
    assert!(rows.is_sorted_by(|a, b| a.0 < b.0));
    Ok((snapshot.published.epoch, rows.into_iter().collect()))
}

/// Bytes of all that is held of an output, what is held in two places once.
fn taken(views: &Views, output: usize) -> usize {
    let held = views.0.now.load();
    let epochs = (0..held.epochs.len()).filter_map(|at| held.epochs.get(at)?.changes.get(&output));
    let all = held.views[output].runs.iter().chain(epochs);
    let each: BTreeMap<_, usize> = all.map(|sorted| (Arc::as_ptr(sorted), sorted.size())).collect();
    each.values().sum()
}

fn random_row(rng: &mut StdRng, of: u32) -> Vec<u8> {
    let number = rng.random_range(0..of);
    format!("{number:0width$}", width = rng.random_range(1..4)).into_bytes()
}

#[test]
fn every_epoch_that_is_held_has_the_rows_of_a_plain_recount() {
    for seed in 0..12 {
        let mut rng = StdRng::seed_from_u64(seed);
        let views = Views::new(vec![shape("a", false), shape("b", false)]);
        let few = History { bytes: rng.random_range(3_000..200_000), ..FOREVER };
        let history = if seed % 3 == 0 { FOREVER } else { few };
        let mut publisher = views.fill(history, None).unwrap();
        publisher.restored();
        assert_eq!(at(&views, 0, None), Err(NotHeld::NotYet));
        let mut rows = [Rows::new(), Rows::new()];
        let mut all: Vec<[Rows; 2]> = vec![rows.clone()];
        let mut all_changes: Vec<[Rows; 2]> = vec![rows.clone()];
        let (size, of) = (rng.random_range(1..200), rng.random_range(5..3000));
        let mut oldest = 1;
        for epoch in 1..=rng.random_range(1..200) {
            let mut sent = BTreeMap::new();
            let mut changes = [Rows::new(), Rows::new()];
            for output in 0..2 {
                let made: Vec<(Vec<u8>, Diff)> = (0..rng.random_range(0..size))
                    .map(|_| (random_row(&mut rng, of), rng.random_range(-2..=2)))
                    .collect();
                count(&mut rows[output], &made);
                count(&mut changes[output], &made);
                let workers = rng.random_range(1..4);
                sent.insert(output, batches(&made, workers));
            }
            publisher.publish(epoch, sent, &moved(epoch as i64));
            all.push(rows.clone());
            all_changes.push(changes);
            let asked = rng.random_range(oldest..=epoch);
            let output = rng.random_range(0..2);
            match at(&views, output, Some(asked)) {
                Ok(found) => {
                    assert_eq!(found, (asked, all[asked as usize][output].clone()), "{seed}");
                    // A reader of changes comes from there to the newest.
                    let mut reached = all[asked as usize - 1][output].clone();
                    for published in views.changes_after(asked - 1, usize::MAX).unwrap() {
                        let changed: Rows =
                            published.changes(output).map(|(row, d)| (row.to_vec(), d)).collect();
                        assert_eq!(changed, all_changes[published.epoch as usize][output], "{seed}");
                        count(&mut reached, &changed.into_iter().collect::<Vec<_>>());
                    }
                    assert_eq!(reached, rows[output], "{seed}");
                }
                Err(NotHeld::Gone { oldest: is }) => {
                    assert!(seed % 3 > 0 && asked < is, "{seed}");
                    oldest = is;
                }
                Err(other) => panic!("{seed}: {other:?}"),
            }
            assert_eq!(at(&views, output, None).unwrap(), (epoch, rows[output].clone()), "{seed}");
            assert_eq!(at(&views, 0, Some(epoch + 1)), Err(NotHeld::Coming { newest: epoch }));
            let sizes = views.extent().unwrap().sizes;
            assert_eq!(sizes[output].rows, rows[output].values().sum::<Diff>(), "{seed}");
            assert_eq!(
                (sizes[output].bytes, views.bytes()[output]),
                (taken(&views, output), taken(&views, output))
            );
        }
    }
}

#[test]
fn large_runs_are_merged_beside_and_a_reader_keeps_what_it_has() {
    let views = Views::new(vec![shape("a", false)]);
    let mut publisher = views.fill(FOREVER, None).unwrap();
    publisher.restored();
    let mut rows = Rows::new();
    let mut rng = StdRng::seed_from_u64(1);
    let mut kept = None;
    for epoch in 1..=40 {
        let changes: Vec<(Vec<u8>, Diff)> =
            (0..3_000).map(|_| (rng.random_range(0..1_000_000_000u32).to_be_bytes().to_vec(), 1)).collect();
        count(&mut rows, &changes);
        publisher.publish(epoch, BTreeMap::from([(0, batches(&changes, 2))]), &moved(1));
        if epoch == 20 {
            kept = Some((views.snapshot(&[0], None).unwrap(), rows.clone()));
        }
    }
    // What is merged is taken at the next epoch: it comes to few runs in the end.
    let mut epoch = 40;
    while views.0.now.load().views[0].runs.len() > 8 {
        epoch += 1;
        publisher.publish(epoch, BTreeMap::new(), &moved(1));
        std::thread::yield_now();
    }
    assert_eq!(at(&views, 0, None).unwrap(), (epoch, rows));
    let (snapshot, rows) = kept.unwrap();
    assert!(snapshot.rows(0, &[]).eq(rows.iter().map(|(row, count)| (&row[..], *count))));
}

#[test]
fn epochs_go_when_they_are_too_old_and_their_changes_with_them() {
    let views = Views::new(vec![shape("a", false)]);
    let mut publisher = views.fill(History { time: Duration::ZERO, ..FOREVER }, None).unwrap();
    publisher.restored();
    for epoch in 1..=3 * CHUNK as Epoch {
        // One row, that is another one in each epoch.
        let row = |epoch: Epoch| format!("{epoch}").into_bytes();
        let changes = [(row(epoch), 1), (row(epoch - 1), -Diff::from(epoch > 1))];
        publisher.publish(epoch, BTreeMap::from([(0, batches(&changes, 1))]), &moved(1));
        assert_eq!(at(&views, 0, None).unwrap(), (epoch, Rows::from([(row(epoch), 1)])));
        if epoch > 1 {
            assert_eq!(at(&views, 0, Some(epoch - 1)), Err(NotHeld::Gone { oldest: epoch }));
        }
    }
    let changes: usize = views.0.now.load().views[0].runs.iter().map(|run| run.weight()).sum();
    assert!(changes < 10, "{changes} changes are held for one row");
}

#[test]
fn rows_that_are_only_added_are_held_as_long_as_their_epochs() {
    let views = Views::new(vec![shape("a", true)]);
    let mut publisher = views.fill(History { bytes: 20_000, ..FOREVER }, None).unwrap();
    publisher.restored();
    for epoch in 1..=1000u64 {
        let row = epoch.to_be_bytes().to_vec();
        publisher.publish(epoch, BTreeMap::from([(0, batches(&[(row, 1)], 1))]), &moved(1));
        let extent = views.extent().unwrap();
        let (oldest, size) = (extent.oldest.epoch, extent.sizes[0]);
        assert_eq!(size.since, (oldest > 1).then(|| oldest - 1));
        let rows: Rows = (oldest..=epoch).map(|epoch| (epoch.to_be_bytes().to_vec(), 1)).collect();
        assert_eq!(size.rows, rows.len() as Diff);
        assert_eq!(at(&views, 0, None).unwrap(), (epoch, rows));
    }
    assert!(views.extent().unwrap().oldest.epoch > 500);
}

#[test]
fn what_precedes_the_first_epoch_is_there_at_once_or_after_the_replay() {
    let row = |text: &str| (text.as_bytes().to_vec(), 1);
    let restore = |replay: Epoch| {
        let mut resume = Resume { checkpoint: 7, published: 7, ..Resume::default() };
        resume.cut.set("lines", "lines", 0, 70);
        resume.replay = (8..8 + replay)
            .map(|epoch| crate::state::resume::Entry { epoch, ..Default::default() })
            .collect();
        let views = Views::new(vec![shape("a", false), shape("added", true)]);
        let mut publisher = views.fill(FOREVER, Some(&resume)).unwrap();
        publisher.restore(0, batches(&[row("b")], 1));
        publisher.restore(0, batches(&[row("a")], 1));
        assert!(at(&views, 0, None).is_err());
        publisher.restored();
        (views, publisher)
    };
    let (views, mut publisher) = restore(0);
    assert_eq!(at(&views, 0, None).unwrap(), (7, Rows::from([row("a"), row("b")])));
    assert_eq!(views.extent().unwrap().newest.cut, r#"{"lines":{"0":70}}"#);
    assert!(views.has("lines", 0, 69) && !views.has("lines", 0, 70) && !views.has("line", 0, 0));
    assert_eq!(views.extent().unwrap().sizes[1].since, Some(7));
    publisher.publish(8, BTreeMap::from([(0, batches(&[row("c")], 1))]), &moved(71));
    assert!(views.has("lines", 0, 70));
    assert!(matches!(views.changes_after(6, 1), Err(NotHeld::Gone { .. })));
    assert_eq!(views.changes_after(7, 9).unwrap().len(), 1);
    assert_eq!(at(&views, 0, Some(7)).unwrap(), (7, Rows::from([row("a"), row("b")])));

    let (views, mut publisher) = restore(2);
    assert_eq!(at(&views, 0, None), Err(NotHeld::NotYet));
    publisher.publish(8, BTreeMap::new(), &moved(71));
    assert_eq!(at(&views, 0, None), Err(NotHeld::NotYet));
    publisher.publish(9, BTreeMap::new(), &moved(72));
    assert_eq!(at(&views, 0, None).unwrap(), (9, Rows::from([row("a"), row("b")])));
}
