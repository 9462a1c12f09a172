//! The lag: known at all times, whatever the sinks do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use cutwater::cluster::Cluster;
use cutwater::epoch::EpochOptions;
use cutwater::fault::Fault;
use cutwater::feed::kafka::{From, KafkaFeeds, OnDataLoss, Reading};
use cutwater::job::{self, Binding, Job, Stop, Viewing};
use cutwater::kafka::client::Settings;
use cutwater::kafka::topics::Pattern;
use cutwater::sink::Sink;
use cutwater::status::{Figures, Status};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;
use cutwater_dataflows::word_count::WordCount;

use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::program::fetch;
use crate::support::{DEADLINE, unique};

/// A sink that finishes an epoch when the test lets it.
struct Stalled {
    /// An epoch is to be finished.
    asked: Sender<Epoch>,
    /// It may be. Gone: all may be.
    allowed: Receiver<()>,
}

impl Sink for Stalled {
    fn write(&mut self, _: Epoch, _: &str, _: &[Change]) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch, _: &[Report]) -> Result<()> {
        let _ = self.asked.send(epoch);
        let _ = self.allowed.recv();
        Ok(())
    }
}

fn job(topic: &Topic, sink: Stalled, status: &Status, fault: &Fault) -> Job {
    let brokers = topic.address.clone();
    let settings = Settings { brokers, connect_timeout: DEADLINE, fetch: fetch(), ..Settings::default() };
    let reading = Reading {
        from: From::Earliest,
        until_end: false,
        on_data_loss: OnDataLoss::Fail,
        group: unique(),
        commits: false,
    };
    let inputs = BTreeMap::from([("lines".to_owned(), vec![Pattern::Name(topic.name.clone())])]);
    let feeds =
        KafkaFeeds::connect(settings, reading, inputs, Vec::new(), fault).expect("the topic is there");
    feeds.show_lag(status);
    Job {
        dataflow: Arc::new(WordCount::default()),
        feeds: Arc::new(feeds),
        epochs: EpochOptions { shortest: Duration::from_millis(1), in_flight: 1, ..EpochOptions::default() },
        outputs: vec![Binding::new(vec![Box::new(sink)])],
        dead_letters: Vec::new(),
        letters_are_kept: false,
        cuts: None,
        views: Viewing::Off,
        state: None,
        status: status.clone(),
    }
}

/// Waits until the figures are so.
#[track_caller]
fn wait(status: &Status, so: impl Fn(&Figures) -> bool) -> Figures {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let figures = status.figures();
        if so(&figures) {
            return figures;
        }
        let (lag, offsets) = (figures.total_lag(), &figures.offsets);
        assert!(Instant::now() < deadline, "the lag is {lag}, the offsets {offsets:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the lag is this.
#[track_caller]
fn wait_lag(status: &Status, lag: i64) {
    wait(status, |figures| figures.total_lag() == lag);
}

fn cluster() -> Cluster {
    Cluster {
        workers: 2,
        process: 0,
        addresses: Vec::new(),
        listener: None,
        fingerprint: 0,
        secret: None,
        timeout: DEADLINE,
        peer_timeout: DEADLINE,
    }
}

#[test]
fn the_lag_grows_while_the_sink_stalls() {
    let topic = mock().topic(3);
    topic.send(["a", "b", "c"]);
    let (status, stop, fault) = (Status::default(), Stop::default(), Fault::default());
    let ((asked, asks), (allow, allowed)) = (unbounded(), bounded(1));
    let job = job(&topic, Stalled { asked, allowed }, &status, &fault);
    let workers = cluster().connect().and_then(|connected| connected.workers()).expect("workers");
    let stopping = stop.clone();
    let run = std::thread::spawn(move || job::run(job, workers, &stopping, &fault));

    // Nothing is published yet: all of it is behind.
    asks.recv_timeout(DEADLINE).expect("an epoch is to be finished");
    wait_lag(&status, 3);
    topic.send(["d", "e"]);
    wait_lag(&status, 5);
    // Something is, and then nothing again.
    allow.send(()).expect("the sink waits");
    asks.recv_timeout(DEADLINE).expect("another epoch is to be finished");
    let left = wait(&status, |figures| figures.total_lag() < 5).total_lag();
    topic.send(["f"; 30]);
    wait_lag(&status, left + 30);

    drop(allow);
    wait_lag(&status, 0);
    stop.request();
    run.join().expect("no panic").expect("it ends well");
}

/// What is published after the end was heard is not counted off until it is heard again: until then nobody knows what has
/// come meanwhile.
#[test]
fn the_lag_is_of_the_moment_when_the_end_was_heard() {
    let topic = mock().topic(1);
    topic.send(["a"]);
    let (status, stop, fault) = (Status::default(), Stop::default(), Fault::default());
    let ((asked, asks), (allow, allowed)) = (unbounded(), bounded(1));
    let job = job(&topic, Stalled { asked, allowed }, &status, &fault);
    let workers = cluster().connect().and_then(|connected| connected.workers()).expect("workers");
    let stopping = stop.clone();
    let run = std::thread::spawn(move || job::run(job, workers, &stopping, &fault));

    let key = (topic.name.clone(), 0);
    let deadline = Instant::now() + DEADLINE;
    // Until something is published between two answers: almost at once.
    let (before, after) = loop {
        assert!(Instant::now() < deadline, "an answer came with each epoch");
        asks.recv_timeout(DEADLINE).expect("an epoch is to be finished");
        let behind = |figures: &Figures| {
            let (offset, end) = figures.offsets.get(&key).copied().unwrap_or_default();
            figures.lag_at.contains_key(&key) && figures.lag[&key] > 0 && end > offset
        };
        let before = wait(&status, behind);
        topic.send(["b"]);
        allow.send(()).expect("the sink waits");
        let after = wait(&status, |figures| figures.epoch > before.epoch);
        if after.lag_at == before.lag_at {
            break (before, after);
        }
    };
    assert!(after.next[&key] > before.offsets[&key].0, "something is published");
    assert_eq!(after.lag, before.lag);

    drop(allow);
    wait_lag(&status, 0);
    stop.request();
    run.join().expect("no panic").expect("it ends well");
}
