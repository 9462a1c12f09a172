//! `--restart on-failure`: the run is started again from its state, with an end, and nothing is lost or doubled by it.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::support::broker::mock;
use crate::support::family::children;
use crate::support::kafka::Topic;
use crate::support::ports::free_port;
use crate::support::program::{Program, Running, word_count};
use crate::support::rows::{Change, Replay, assert_counts, recount};

/// A run that keeps its state, and its rows in a file, in this folder.
fn job(topic: &Topic, folder: &Path) -> Program {
    let path = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    let (state, file) = (path("state"), format!("file:{}", path("rows")));
    word_count(&topic.address, &topic.name).with("-e 10ms -o stdout --state").args([&state, "-o", &file])
}

fn rows(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("rows")).expect("the rows").lines().map(str::to_owned).collect()
}

/// Waits until a word has been counted.
fn counted(run: &mut Running, word: &str) {
    run.rows_until(|line| Change::parse(line).row.word == word);
}

/// The processes of a run, once there are so many.
fn processes(run: &Running, count: usize) -> Vec<Pid> {
    let children = children(run.pid());
    assert_eq!(children.len(), count, "{children:?}");
    children
}

/// Sends lines and waits until all are counted, several times: so many that the run knows of an epoch that it has
/// published since it was started. Returns the lines.
fn progress(topic: &Topic, run: &mut Running, round: usize) -> Vec<String> {
    let mut sent = Vec::new();
    // Records that are sent while a run dies may be of an epoch that is read again; two epochs may be unfinished.
    for step in 0..4 {
        let mut lines: Vec<String> = (0..20).map(|n| format!("a b{} c{round}", n % 3)).collect();
        let last = format!("last{round}.{step}");
        lines.push(last.clone());
        topic.send(&lines);
        counted(run, &last);
        sent.extend(lines);
    }
    sent
}

#[test]
fn whichever_process_is_killed_the_run_comes_back_and_nothing_is_lost_or_doubled() {
    let (topic, folder) = (mock().topic(4), tempfile::tempdir().expect("a temporary folder"));
    let mut run = job(&topic, folder.path()).with("-n 3 --restart on-failure").start();
    let mut sent = progress(&topic, &mut run, 0);
    for (round, victim) in (1..).zip([0, 1, 2, 0]) {
        let killed = processes(&run, 3)[victim];
        kill(killed, SIGKILL).expect("it lives");
        sent.extend(progress(&topic, &mut run, round));
        let told = run.wait_stderr(&format!("process {victim} (pid {killed}) was ended by signal SIGKILL"));
        // Between two kills there was progress: each is the first failure since.
        assert!(told.contains("starting again in") && told.contains("failure 1 of 10"), "{told}");
    }
    run.signal(SIGTERM);
    run.wait().expect(0);
    assert_counts(Replay::of(&rows(folder.path())).counts(), &recount(&sent));
}

#[test]
fn a_run_of_one_process_comes_back_and_a_stop_is_its_end() {
    let (topic, folder) = (mock().topic(1), tempfile::tempdir().expect("a temporary folder"));
    topic.send(["a", "first"]);
    let mut run = job(&topic, folder.path()).with("--restart on-failure").start();
    counted(&mut run, "first");
    let killed = processes(&run, 1)[0];
    kill(killed, SIGKILL).expect("it lives");
    topic.send(["b", "second"]);
    counted(&mut run, "second");
    // Its end is well, and is passed on.
    kill(processes(&run, 1)[0], SIGTERM).expect("it lives");
    let ended = run.wait().expect(0);
    ended.says(&["process 0", "SIGKILL", "starting again in"]);
    assert!(!ended.stderr.iter().any(|line| line.contains("the other processes")), "there are none");
    assert_counts(Replay::of(&rows(folder.path())).counts(), &recount(["a b first second"]));
}

#[test]
fn a_fault_that_does_not_pass_ends_the_run_with_its_error() {
    let (topic, folder) = (mock().topic(1), tempfile::tempdir().expect("a temporary folder"));
    topic.send(["a"]);
    // Process 1 never comes.
    let hostfile = folder.path().join("hostfile");
    fs::write(&hostfile, [(); 2].map(|()| format!("127.0.0.1:{}\n", free_port())).concat()).expect("a file");
    let hostfile = hostfile.to_str().expect("text");
    let ended = job(&topic, folder.path())
        .with("-n 2 -p 0 --connect-timeout 1s --restart on-failure:3 --hostfile")
        .args([hostfile])
        .run()
        .expect(1);
    let again = ended.stderr.iter().filter(|line| line.contains("starting again in")).count();
    assert_eq!(again, 2, "{:?}", ended.stderr);
    ended.says(&[
        "giving up after 3 failures without progress",
        "process 0",
        "exit code 1",
        "did not come within",
    ]);
}

#[test]
fn wrong_usage_that_a_process_finds_is_the_end() {
    let (topic, folder) = (mock().topic(1), tempfile::tempdir().expect("a temporary folder"));
    let hostfile = folder.path().join("hostfile");
    fs::write(&hostfile, "no port\n").expect("a file");
    let hostfile = hostfile.to_str().expect("text");
    let ended = job(&topic, folder.path())
        .with("-n 2 -p 0 --restart on-failure --hostfile")
        .args([hostfile])
        .run()
        .expect(2);
    assert!(!ended.stderr.iter().any(|line| line.contains("starting again")), "{:?}", ended.stderr);
    ended.says(&["error: process 0", "line 1"]);
}

#[test]
fn a_stop_while_no_process_is_there_is_a_good_end() {
    let (topic, folder) = (mock().topic(1), tempfile::tempdir().expect("a temporary folder"));
    topic.send(["a", "first"]);
    let mut run = job(&topic, folder.path()).with("-n 2 --restart on-failure").start();
    counted(&mut run, "first");
    kill(processes(&run, 2)[1], SIGKILL).expect("it lives");
    // Whether it is heard before the next start or after it.
    run.wait_stderr("starting again in");
    run.signal(SIGTERM);
    run.wait().expect(0);
}

#[test]
fn it_needs_a_state() {
    let ended = word_count("127.0.0.1:1", "lines").with("--restart on-failure").run();
    ended.fails(2, &["--restart", "--state"]);
    let ended = word_count("127.0.0.1:1", "lines").with("--restart always").run();
    ended.expect(2).says(&["always", "on-failure:N"]);
}
