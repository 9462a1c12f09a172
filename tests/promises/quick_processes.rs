//! Many processes: one command, one end.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal::{self, SIGKILL, SIGSTOP, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::support::broker::mock;
use crate::support::family::{children, is_gone, wait_gone};
#[cfg(feature = "http")]
use crate::support::http::Http;
use crate::support::kafka::Topic;
use crate::support::ports::free_port;
use crate::support::program::{Program, Running, word_count};
use crate::support::rows::{Change, Replay, assert_counts, finals, recount};

const LINES: [&str; 3] = ["a b", "b c", "c d c"];

fn sample() -> Topic {
    let topic = mock().topic(3);
    topic.send(LINES);
    topic
}

/// Starts two processes and waits until they count.
fn counting(topic: &Topic) -> (Running, Vec<Pid>) {
    let mut run = word_count(&topic.address, &topic.name).with("-w 2 -n 2 -e 10ms").start();
    let mut replay = Replay::default();
    run.rows_until(|line| {
        replay.apply(Change::parse(line));
        replay.total() == 7
    });
    let children = children(run.pid());
    assert_eq!(children.len(), 2, "{children:?}");
    (run, children)
}

fn kill_one(victim: usize, signal: Signal) {
    let topic = sample();
    let (run, children) = counting(&topic);
    kill(children[victim], signal).expect("it lives");
    let ended = run.wait().expect(1);
    ended.says(&["error: ", &format!("process {victim} (pid {})", children[victim]), signal.as_str()]);
    assert!(children.iter().all(|&pid| is_gone(pid)), "the supervisor has left a process behind");
}

#[test]
fn the_death_of_process_0_ends_all_and_names_it() {
    kill_one(0, SIGKILL);
}

#[test]
fn the_death_of_process_1_ends_all_and_names_it() {
    kill_one(1, SIGKILL);
}

/// One that can't notice the death of another, nor a signal that asks, is ended as well.
#[test]
fn a_process_that_hangs_is_ended_with_the_others() {
    let topic = sample();
    let (run, children) = counting(&topic);
    kill(children[0], SIGSTOP).expect("it lives");
    kill(children[1], SIGKILL).expect("it lives");
    run.wait().expect(1).says(&["error: ", "process 1", "SIGKILL"]);
    assert!(children.iter().all(|&pid| is_gone(pid)), "the supervisor has left a process behind");
}

#[test]
fn the_death_of_the_supervisor_ends_all() {
    let topic = sample();
    let (run, children) = counting(&topic);
    run.signal(SIGKILL);
    wait_gone(&children);
}

#[test]
fn a_process_whose_supervisor_died_before_it_looked_ends() {
    let topic = sample();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let own = listener.local_addr().expect("an address");
    // Its peer never comes, and its parent is this test.
    // A supervisor hands over a secret as well.
    let ended = Command::new("sh")
        .args(["-c", r#"exec 9</dev/null; exec "$0" "$@""#, env!("CARGO_BIN_EXE_cutwater")])
        .args(["run", "word-count", "-b", &topic.address, "-t", &topic.name, "-n", "2", "--process", "0"])
        .args(["--connect-timeout", "240s"])
        .env("CUTWATER_PEERS", format!("{own},{own}"))
        .env("CUTWATER_SUPERVISOR", "1")
        .env("CUTWATER_SECRET_FD", "9")
        .stdin(OwnedFd::from(listener))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("the supervisor has gone"), "{said}");
}

#[test]
fn lines_say_which_process_they_are_of() {
    let topic = sample();
    let ended = word_count(&topic.address, &topic.name).with("-n 3 --until-end").run().expect(0);
    for process in 0..3 {
        ended.says(&[&format!("[process {process}] "), "input lines"]);
    }
    assert_eq!(ended.stderr.iter().filter(|line| line.contains("done: ")).count(), 1, "one summary");
}

/// A host file of two ports that nobody else takes.
fn hostfile(folder: &Path) -> (String, [String; 2]) {
    let addresses = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let path = folder.join("hostfile");
    fs::write(&path, format!("# two\n{}\n\n{} # the second\n", addresses[0], addresses[1])).expect("a file");
    (path.to_str().expect("text").to_owned(), addresses)
}

fn by_hand(topic: &Topic, process: usize, hostfile: &str) -> Program {
    let process = process.to_string();
    word_count(&topic.address, &topic.name).args([
        "--until-end",
        "--emit",
        "final",
        "-w",
        "2",
        "-n",
        "2",
        "-p",
        &process,
        "--hostfile",
        hostfile,
    ])
}

#[test]
fn processes_are_started_by_hand_and_say_for_whom_they_wait() {
    let topic = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (hostfile, addresses) = hostfile(folder.path());
    let zero = by_hand(&topic, 0, &hostfile).start();
    zero.wait_stderr(&format!("waits for process 1 ({})", addresses[1]));
    let one = by_hand(&topic, 1, &hostfile).run().expect(0);
    let zero = zero.wait().expect(0);
    assert_counts(&finals(&zero.stdout), &recount(LINES));
    assert!(one.stdout.is_empty(), "all rows leave through process 0");
}

#[test]
fn processes_with_other_options_are_refused_by_both_sides() {
    let topic = sample();
    for other in ["--tokenizer unicode", "-t lines", "--from latest"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (hostfile, _) = hostfile(folder.path());
        let zero = by_hand(&topic, 0, &hostfile).start();
        let name = &topic.name;
        // A second topic is another input, though it is there for both.
        let other = if other == "-t lines" { format!("-t {name}") } else { other.to_owned() };
        let one = by_hand(&topic, 1, &hostfile).with(&other).start();
        one.wait().fails(1, &["process 0", "options"]);
        zero.wait().fails(1, &["process 1", "options"]);
    }
}

#[cfg(feature = "http")]
#[test]
fn each_process_on_its_own_host_says_whether_it_is_well() {
    let topic = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hostfile = folder.path().join("hostfile");
    // Two hosts, as far as addresses tell.
    let hosts = format!("127.0.0.1:{}\n127.0.0.2:{}\n", free_port(), free_port());
    fs::write(&hostfile, hosts).expect("a file");
    let start = |process: &str| {
        let program = word_count(&topic.address, &topic.name).with("-n 2 -o none --http 127.0.0.1:0");
        program.args(["-p", process, "--hostfile"]).args([&hostfile]).start()
    };
    let one = start("1");
    let at = Http::of(&one);
    // It is well, and waits for its peer.
    assert_eq!(at.get("/healthz").status, 200);
    assert_eq!(at.get("/readyz").status, 503);
    let zero = start("0");
    at.until("/readyz", |_| true);
    at.get("/v1/status").fails(404, &["/v1/status", "process 0"]);
    Http::of(&zero).until("/readyz", |_| true);
    zero.signal(SIGTERM);
    zero.wait().expect(0);
    one.wait().expect(0);
}

#[test]
fn a_process_that_does_not_come_is_named() {
    let topic = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (hostfile, addresses) = hostfile(folder.path());
    let ended = by_hand(&topic, 0, &hostfile).with("--connect-timeout 3s").run();
    ended.fails(1, &["3s", &format!("1 ({})", addresses[1])]);
    let ended = by_hand(&topic, 1, &hostfile).with("--connect-timeout 3s").run();
    ended.fails(1, &["3s", &format!("process 0 at {}", addresses[0])]);
}

#[test]
fn the_death_of_a_process_started_by_hand_ends_the_other() {
    let topic = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (hostfile, _) = hostfile(folder.path());
    let program = |process: &str| {
        word_count(&topic.address, &topic.name).args(["-n", "2", "-p", process, "--hostfile", &hostfile])
    };
    let mut zero = program("0").start();
    let one = program("1").start();
    zero.rows_until(|line| line.contains("\"d\""));
    one.signal(SIGKILL);
    zero.wait().fails(1, &["process 1", "lost"]);
    one.wait();
    // The other way round, and with a signal that asks: both end well.
    let mut zero = program("0").start();
    let one = program("1").start();
    zero.rows_until(|line| line.contains("\"d\""));
    one.signal(SIGTERM);
    one.wait().expect(0);
    zero.wait().expect(0);
}

/// A process by hand that knows this secret, if it knows one.
fn knowing(topic: &Topic, process: usize, hostfile: &str, secret: Option<&str>) -> Program {
    let program = by_hand(topic, process, hostfile);
    let Some(secret) = secret else { return program };
    let path = format!("{hostfile}.secret-{process}");
    fs::write(&path, secret).expect("a file");
    program.args(["--cluster-secret-file", &path])
}

#[test]
fn processes_that_know_the_secret_find_each_other_among_strangers() {
    let topic = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (hostfile, addresses) = hostfile(folder.path());
    let secret = Some("nobody guesses this one");
    let zero = knowing(&topic, 0, &hostfile, secret).start();
    zero.wait_stderr("waits for process 1");
    let silent = TcpStream::connect(&addresses[0]).expect("process 0 listens");
    let mut garbage = TcpStream::connect(&addresses[0]).expect("process 0 listens");
    garbage.write_all(&[b'!'; 1000]).expect("process 0 takes it");
    let from = garbage.local_addr().expect("an address").to_string();
    zero.wait_stderr(&format!("a connection from {from} is refused: it does not speak the protocol"));
    // It gives up before the silent one has been given up.
    knowing(&topic, 1, &hostfile, secret).run().expect(0);
    let zero = zero.wait().expect(0);
    assert_counts(&finals(&zero.stdout), &recount(LINES));
    drop(silent);
}

#[test]
fn a_process_that_does_not_know_the_secret_is_refused_and_named_on_both_sides() {
    let topic = sample();
    for (zero, one, says) in [
        (Some("nobody guesses this one"), Some("nor is this one guessed"), "another secret"),
        (Some("nobody guesses this one"), None, "has no secret"),
        (None, Some("nor is this one guessed"), "has a secret"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (hostfile, addresses) = hostfile(folder.path());
        let zero = knowing(&topic, 0, &hostfile, zero).with("--connect-timeout 3s").start();
        let one = knowing(&topic, 1, &hostfile, one).with("--connect-timeout 3s").run();
        let named = format!("process 0 at {} is refused", addresses[0]);
        let one = one.fails(1, &[&named, "--cluster-secret-file"]);
        let zero = zero.wait().fails(1, &["1 (", "from 127.0.0.1 was refused", says]);
        zero.says(&["WARN", "a connection from 127.0.0.1:", "is refused", "process 1"]);
        for said in one.stderr.iter().chain(&zero.stderr) {
            assert!(!said.contains("guesse"), "{said}");
        }
    }
}

#[test]
fn what_a_cluster_lets_in_is_asked_for_in_one_way() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hosts = folder.path().join("hostfile");
    let path = hosts.display();
    let short = folder.path().join("short");
    fs::write(&short, "guess me\n").expect("a file");
    let short = short.display();
    for (text, args, says) in [
        ("127.0.0.1:1\n10.1.2.3:1\n", "", "line 2: 10.1.2.3:1 is not of this machine alone"),
        ("localhost:1\nno-such-host.invalid:1\n", "", "line 2: no-such-host.invalid:1"),
        ("[::1]:1\n127.9.9.9:1\n", &*format!("--cluster-secret-file {short}"), "fewer than 16 characters"),
        ("[::1]:1\n[::1]:2\n", &*format!("--cluster-open --cluster-secret-file {short}"), "choose one"),
    ] {
        fs::write(&hosts, text).expect("a file");
        let job = word_count("127.0.0.1:1", "lines").with(&format!("-n 2 -p 0 --hostfile {path} {args}"));
        let ended = job.run().fails(2, &[says]);
        assert!(!ended.stderr.concat().contains("guess me"));
    }
    let alone = word_count("127.0.0.1:1", "lines").with(&format!("--cluster-secret-file {short}")).run();
    alone.fails(2, &["--cluster-secret-file", "--processes"]);
    word_count("127.0.0.1:1", "lines")
        .with("-n 2 --cluster-open")
        .run()
        .fails(2, &["--cluster-open", "--hostfile"]);
}
