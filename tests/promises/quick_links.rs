//! Processes on several hosts, and the link between them.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::link::Link;
use crate::support::program::{Program, Running, word_count};
use crate::support::rows::{Change, Replay, assert_counts, recount};

const PORT: u16 = 2101;

/// The two processes of a run, each on its host.
struct Hosts {
    link: Link,
    topic: Topic,
    folder: tempfile::TempDir,
}

impl Hosts {
    fn make() -> Hosts {
        let (link, topic) = (Link::make(), mock().topic(4));
        link.reach(&topic.address);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lines = [0, 1].map(|process| format!("{}\n", address(&link, process)));
        fs::write(folder.path().join("hostfile"), lines.concat()).expect("a file");
        fs::write(folder.path().join("secret"), "what both of these hosts know").expect("a file");
        Hosts { link, topic, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("text").to_owned()
    }

    fn job(&self) -> Program {
        let (state, file) = (self.path("state"), self.path("rows"));
        word_count(&self.topic.address, &self.topic.name).with("-e 10ms -o stdout").args([
            "--state",
            &state,
            "-o",
            &format!("file:{file}"),
        ])
    }

    fn process(&self, process: usize, more: &str) -> Program {
        self.stranger(process, more).args(["--cluster-secret-file", &self.path("secret")])
    }

    /// One that knows no secret.
    fn stranger(&self, process: usize, more: &str) -> Program {
        self.job()
            .args(["-n", "2", "-p", &process.to_string(), "--hostfile", &self.path("hostfile")])
            .with(more)
            .inside(&self.link.hosts[process])
    }

    /// Starts both, and waits until this word has been counted.
    fn start(&self, word: &str) -> [Running; 2] {
        let mut both = [0, 1].map(|process| self.process(process, "--peer-timeout 3s").start());
        both[0].rows_until(|line| Change::parse(line).row.word == word);
        both
    }

    /// Both end, each with the address of the other.
    fn both_lose_the_other(&self, both: [Running; 2]) {
        for (running, other) in both.into_iter().zip([1, 0]) {
            let named = format!("process {other} at {}", address(&self.link, other));
            running.wait().fails(1, &[&named, "lost"]);
        }
    }
}

fn address(link: &Link, process: usize) -> String {
    format!("{}:{PORT}", link.addresses[process])
}

fn rows(path: &str) -> Vec<String> {
    fs::read_to_string(Path::new(path)).expect("the rows").lines().map(str::to_owned).collect()
}

#[test]
fn a_link_that_is_cut_ends_both_sides_and_the_job_is_resumed_at_any_size() {
    let hosts = Hosts::make();
    let lines =
        [vec!["a b", "b c", "c d c", "first"], vec!["e b", "second", "b", "x"], vec!["y", "z", "y", "e"]];
    // While nothing is sent from one to the other.
    hosts.topic.send(&lines[0]);
    let both = hosts.start("first");
    hosts.link.cut();
    hosts.both_lose_the_other(both);
    // While much is: all partitions have records, which both read and exchange.
    hosts.link.mend();
    hosts.topic.send(&lines[1]);
    let both = hosts.start("second");
    hosts.link.cut();
    hosts.topic.send(&lines[2]);
    hosts.both_lose_the_other(both);
    // One process, without the link.
    hosts.job().with("-w 3 --until-end").run().expect(0);
    let rows = rows(&hosts.path("rows"));
    assert_counts(Replay::of(&rows).counts(), &recount(lines.concat()));
}

#[test]
fn a_link_that_is_cut_is_noticed_while_a_process_waits_for_what_another_finds_out() {
    let hosts = Hosts::make();
    hosts.topic.send(["a"]);
    let listener = hosts.link.listen(0, PORT);
    let one = hosts.stranger(1, "--peer-timeout 2s --cluster-open").start();
    // Process 0: it says who it is, and then nothing more.
    let (mut zero, _) = listener.accept().expect("process 1 comes");
    let mut greeting = [0; 57];
    zero.read_exact(&mut greeting).expect("process 1 says who it is");
    greeting[8..16].fill(0);
    zero.write_all(&greeting).expect("process 1 listens");
    // Its answer has arrived.
    let named = format!("process 0 at {}", address(&hosts.link, 0));
    hosts.link.cut();
    one.wait().fails(1, &[&named, "lost"]);
}

#[test]
fn a_host_that_answers_nothing_is_named_in_time() {
    let hosts = Hosts::make();
    hosts.topic.send(["a"]);
    hosts.link.cut();
    let ended = hosts.process(1, "--connect-timeout 1s").run();
    ended.fails(1, &["1s", &format!("process 0 at {}", address(&hosts.link, 0))]);
}

#[test]
fn hosts_do_not_run_without_a_secret_unless_told() {
    let hosts = Hosts::make();
    hosts.topic.send(["a"]);
    let ended = hosts.stranger(0, "").run();
    let first = address(&hosts.link, 0);
    ended.fails(2, &["--hostfile", "line 1", &first, "--cluster-secret-file", "--cluster-open"]);
    let both = [0, 1].map(|process| hosts.stranger(process, "--cluster-open --until-end").start());
    both.into_iter().for_each(|running| drop(running.wait().expect(0)));
}

#[test]
fn a_silence_that_is_too_short_to_notice_is_refused() {
    let ended = word_count("127.0.0.1:1", "lines").with("--peer-timeout 100ms").run();
    ended.fails(2, &["--peer-timeout", "2s"]);
}
