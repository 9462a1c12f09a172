//! The same records at the same cuts give the same rows, for every number of workers and processes.

use crate::real_counts::SHAPES;
use crate::support::broker::real;
use crate::support::program::{Running, word_count};
use crate::support::rows::{Change, Replay, assert_counts, recount};
use crate::support::text::{licenses, zipf_lines};

#[test]
fn one_epoch_is_the_same_to_the_byte() {
    let topic = real().topic(4);
    topic.send(licenses());
    let mut all = SHAPES.map(|(workers, processes)| {
        word_count(&topic.address, &topic.name)
            .with("--until-end --epoch 1h --max-records 1000000000 --max-bytes 1000000000")
            .with(&format!("-w {workers} -n {processes}"))
            .rows()
    });
    let first = std::mem::take(&mut all[0]);
    let mut replay = Replay::of(&first);
    assert_counts(replay.counts(), &recount(licenses()));
    assert_eq!(replay.epoch, 1);
    for (rows, shape) in all.iter().zip(SHAPES).skip(1) {
        assert!(*rows == first, "{shape:?} workers and processes give other rows than one worker");
    }
}

/// A record that comes alone is an epoch of its own, wherever it is read: so all runs cut at the same places.
#[test]
fn many_epochs_are_the_same_to_the_byte() {
    let topic = real().topic(4);
    let mut runs: Vec<(Running, Replay)> = SHAPES
        .iter()
        .map(|(workers, processes)| {
            let program = word_count(&topic.address, &topic.name).with("--epoch 1ms");
            (program.with(&format!("-w {workers} -n {processes}")).start(), Replay::default())
        })
        .collect();
    let batches: Vec<String> = zipf_lines(4, 12_000).chunks(100).map(|lines| lines.join("\n")).collect();
    let mut written = 0;
    for (number, batch) in batches.iter().enumerate() {
        topic.send_to(number as i32 % topic.partitions, Some(batch.as_bytes()));
        written += batch.split_whitespace().count() as i64;
        for (run, replay) in &mut runs {
            run.rows_until(|line| {
                replay.apply(Change::parse(line));
                replay.total() == written
            });
            assert_eq!(replay.epoch, number as u64 + 1, "one record, one epoch");
        }
    }
    let mut first = None;
    for (run, mut replay) in runs {
        assert_counts(replay.counts(), &recount(&batches));
        run.signal(nix::sys::signal::Signal::SIGTERM);
        let rows = run.wait().expect(0).stdout;
        assert!(*first.get_or_insert_with(|| rows.clone()) == rows, "the same rows in every shape");
    }
}
