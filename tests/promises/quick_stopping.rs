//! One signal ends any run within `--stop-timeout`, whatever it waits for, and an error of one part ends all others.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::sys::signal::Signal::{SIGSTOP, SIGTERM};
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey::{EndTxn, OffsetFetch};
use rdkafka::types::RDKafkaRespErr::{
    RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT,
};

use crate::support::broker::mock;
use crate::support::kafka::{Kafka, Topic};
use crate::support::program::{Program, word_count};
use crate::support::rows::{Change, Replay, assert_counts, recount};
use crate::support::server::Server;
use crate::support::unique;

/// Where nobody listens: a reserved port.
const NOBODY: &str = "127.0.0.1:1";

/// A broker of the test's own.
fn broker() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, Topic) {
    let cluster = MockCluster::new(1).expect("the in-process broker starts");
    let name = unique();
    cluster.create_topic(&name, 2, 1).expect("a topic");
    let topic = Kafka::at(&cluster.bootstrap_servers()).known_topic(&name, 2);
    (cluster, topic)
}

/// A run that has a second to stop.
fn hasty(topic: &Topic) -> Program {
    word_count(&topic.address, &topic.name).with("--stop-timeout 1s")
}

/// More rows than any pipe takes.
fn many() -> Vec<String> {
    (0..40_000).map(|number| format!("word{number}")).collect()
}

fn pipe_at(path: &Path) {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).expect("a named pipe");
}

#[test]
fn a_web_server_that_is_away_does_not_hold_a_stop_and_nothing_is_lost() {
    let topic = mock().topic(2);
    topic.send(["a b", "b"]);
    let state = tempfile::tempdir().expect("a temporary folder");
    let durable = || hasty(&topic).args(["--state", state.path().to_str().expect("text")]);
    for (program, told) in [(hasty(&topic), "its offsets are not committed"), (durable(), "is not lost")] {
        let run = program.args(["-o", &format!("webhook:http://{NOBODY}")]).start();
        run.wait_stderr("trying again");
        run.signal(SIGTERM);
        let texts = ["--stop-timeout", "1s", NOBODY, "nothing of what was read is published", told];
        run.wait().fails(1, &texts);
    }
    let server = Server::start(Vec::new());
    let again = durable().args(["--until-end", "-o", &format!("webhook:http://{}", server.address)]);
    again.run().expect(0);
    let posts = server.posts();
    let rows: Vec<&str> = posts.iter().flat_map(|post| post.body.lines()).collect();
    assert_counts(Replay::of(&rows).counts(), &recount(["a b", "b"]));
}

#[test]
fn a_reader_that_does_not_read_does_not_hold_a_stop() {
    let topic = mock().topic(2);
    topic.send(many());
    for shape in ["-w 2", "-n 2"] {
        let mut run = hasty(&topic).with(shape).start_unread();
        let mut stdout = run.child.stdout.take().expect("a pipe");
        stdout.read_exact(&mut [0]).expect("a row");
        run.signal(SIGTERM);
        run.wait().expect(1).says(&[
            "error: ",
            "--stop-timeout",
            "the sink of output \"counts\" has not taken",
        ]);
    }
}

#[test]
fn a_named_pipe_does_not_hold_a_stop() {
    let topic = mock().topic(2);
    topic.send(many());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, state) = (folder.path().join("pipe"), folder.path().join("state"));
    pipe_at(&path);
    let program = |state: Option<&Path>| {
        let program = hasty(&topic).with("--log debug").args(["-o", &format!("file:{}", path.display())]);
        match state {
            Some(state) => program.args(["--state".as_ref(), state.as_os_str()]),
            None => program,
        }
    };
    for state in [None, Some(&*state)] {
        // Nobody has opened it: there is nothing to finish yet.
        let run = program(state).start();
        run.wait_stderr("nobody reads the named pipe");
        run.signal(SIGTERM);
        run.wait().expect(0);
        // Whoever has opened it does not read on.
        let run = program(state).start();
        let mut reader = File::open(&path).expect("the pipe");
        reader.read_exact(&mut [0]).expect("a row");
        run.signal(SIGTERM);
        run.wait().fails(1, &["--stop-timeout", "the sink of output \"counts\" has not taken"]);
    }
}

#[test]
fn a_broker_that_has_gone_does_not_hold_a_stop() {
    let (cluster, topic) = broker();
    topic.send(["a b", "b"]);
    let mut run = hasty(&topic).with("-w 2").start();
    let mut replay = Replay::default();
    run.rows_until(|line| {
        replay.apply(Change::parse(line));
        replay.total() == 3
    });
    drop(cluster);
    run.signal(SIGTERM);
    // All that was read is published.
    run.wait().expect(0);
}

#[test]
fn a_transaction_that_can_not_be_committed_does_not_hold_a_stop() {
    let (cluster, topic) = broker();
    let output = unique();
    cluster.create_topic(&output, 1, 1).expect("a topic");
    cluster.request_errors(EndTxn, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 10_000]);
    topic.send(["a b", "b"]);
    let run = hasty(&topic).with("--log debug").args(["-o", &format!("kafka:{output}")]).start();
    run.wait_stderr("trying again");
    run.signal(SIGTERM);
    let ended = run.wait().expect(1);
    ended.says(&[
        "error: --stop-timeout",
        "committing a transaction",
        "nothing of what was read is published",
    ]);
}

#[test]
fn committed_offsets_that_do_not_come_are_told_and_do_not_hold_a_stop() {
    let (cluster, topic) = broker();
    topic.send(["a b", "b"]);
    cluster.request_errors(OffsetFetch, &[RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT; 10_000]);
    let run = hasty(&topic).with("--from committed").start();
    run.wait_stderr("asking for the offsets of group \"cutwater-word-count\" (an open transaction");
    run.signal(SIGTERM);
    // Nothing was read.
    run.wait().expect(0);
}

#[test]
fn processes_that_do_not_obey_are_killed() {
    let topic = mock().topic(2);
    topic.send(["a b"]);
    let mut run = hasty(&topic).with("-n 2").start();
    run.rows_until(|_| true);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.pid())).expect("/proc");
    let children: Vec<i32> = children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect();
    assert_eq!(children.len(), 2);
    for child in children {
        kill(Pid::from_raw(child), SIGSTOP).expect("it runs");
    }
    run.signal(SIGTERM);
    run.wait().expect(1).says(&["--stop-timeout", "process 0", "process 1", "had to be killed"]);
}
