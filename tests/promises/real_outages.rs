//! Brokers that are away: at the start, and in the middle.

use std::collections::BTreeMap;

use nix::sys::signal::Signal::SIGTERM;

use crate::support::broker::Broker;
use crate::support::committed::read;
use crate::support::kafka::Kafka;
use crate::support::load::Load;
use crate::support::program::{Running, word_count};
use crate::support::rows::{Change, Replay, assert_counts, finals, recount};

#[test]
fn a_broker_that_comes_up_in_time_is_read() {
    let mut broker = Broker::start();
    let topic = Kafka::at(&broker.address).topic(2);
    topic.send(["one two", "two three"]);
    broker.stop();
    let program = word_count(&topic.address, &topic.name);
    let run = program.with("--until-end --emit final --connect-timeout 240s").start();
    run.wait_stderr("trying again");
    broker.start_again();
    let ended = run.wait().expect(0);
    assert_counts(&finals(&ended.stdout), &recount(["one two", "two three"]));
}

/// Reads rows until some records more are counted.
fn go_on(runs: &mut [(Running, Replay)]) {
    for (run, replay) in runs {
        let before = replay.total();
        run.rows_until(|line| {
            replay.apply(Change::parse(line));
            replay.total() > before + 10_000
        });
    }
}

#[test]
fn counts_stay_exact_while_the_broker_stops_and_starts_under_load() {
    let mut broker = Broker::start();
    let kafka = Kafka::at(&broker.address);
    let (topic, output) = (kafka.topic(4), kafka.topic(2));
    let load = Load::start(&topic);
    let delivered = format!("-w 2 -o stdout -o kafka:{} --delivery at-least-once", output.name);
    let mut runs: Vec<(Running, Replay)> = [&*delivered, "-w 1 -n 2"]
        .into_iter()
        .map(|shape| word_count(&topic.address, &topic.name).with("-e 50ms").with(shape).start())
        .map(|run| (run, Replay::default()))
        .collect();
    go_on(&mut runs);
    broker.stop();
    for (run, _) in &runs {
        run.wait_stderr("trying again");
    }
    broker.start_again();
    go_on(&mut runs);
    broker.kill();
    broker.start_again();
    go_on(&mut runs);

    let expected = recount(load.finish().concat());
    let total: i64 = expected.values().sum();
    for (mut run, mut replay) in runs {
        // Nothing may be missing when the last record has been read, and nothing may be there twice.
        if replay.total() < total {
            run.rows_until(|line| {
                replay.apply(Change::parse(line));
                replay.total() >= total
            });
        }
        run.signal(SIGTERM);
        let ended = run.wait().expect(0);
        // librdkafka's own lines name its threads: none of them may get past the log.
        assert!(!ended.stderr.iter().any(|line| line.contains("thrd:")), "{}", ended.stderr.join("\n"));
        assert_counts(Replay::of(&ended.stdout).counts(), &expected);
    } // Written again where it was not known to have arrived, and never lost.
    let rows: BTreeMap<_, _> =
        read(&output).into_iter().map(|record| ((record.key, record.epoch), record.value)).collect();
    let last: BTreeMap<_, _> = rows.into_iter().map(|((key, _), row)| (key, row.expect("a count"))).collect();
    assert_counts(&finals(&last.into_values().collect::<Vec<_>>()), &expected);
}
