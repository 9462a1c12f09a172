//! A cluster of three hosts over bad links: one loses its power, two lose each other, and the run comes back by itself.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::SIGTERM;
use serde::Deserialize;

use crate::support::DEADLINE;
use crate::support::broker::real;
use crate::support::committed::{latest, read};
use crate::support::kafka::Topic;
use crate::support::link::Link;
use crate::support::program::{Program, Running, word_count};
use crate::support::rows::{Change, Counts, assert_counts, recount};

const PORT: u16 = 2101;
const HOSTS: usize = 3;

/// Three hosts that share a folder, and a broker that they reach over their links.
struct Hosts {
    link: Link,
    lines: Topic,
    counts: Topic,
    folder: tempfile::TempDir,
    /// All lines that were sent.
    sent: Vec<String>,
}

impl Hosts {
    fn make() -> Hosts {
        let (link, lines, counts) = (Link::of(HOSTS), real().topic(4), real().topic(2));
        link.reach_over_link(&lines.address);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hostfile = (0..HOSTS).map(|host| address(&link, host) + "\n").collect::<String>();
        fs::write(folder.path().join("hostfile"), hostfile).expect("a file");
        fs::write(folder.path().join("secret"), "what all of these hosts know").expect("a file");
        Hosts { link, lines, counts, folder, sent: Vec::new() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("text").to_owned()
    }

    fn job(&self) -> Program {
        word_count(&self.lines.address, &self.lines.name)
            .args(["--state", &self.path("state"), "-o", &format!("kafka:{}", self.counts.name)])
            // A transaction that a host took with it holds up readers of the topic, until the next start of the run.
            .args(["-o", "stdout", "-e", "10ms", "-X", &format!("group.id={}", self.counts.name)])
    }

    /// Starts the process of a host, supervised there.
    fn start(&self, host: usize) -> Running {
        self.job()
            .args(["-n", &HOSTS.to_string(), "-p", &host.to_string(), "--hostfile", &self.path("hostfile")])
            .args(["--cluster-secret-file", &self.path("secret")])
            // Longer than a process of a machine that is busy with other tests may be silent.
            .with("--restart on-failure --peer-timeout 5s")
            .inside(&self.link.hosts[host])
            .start()
    }

    fn send(&mut self, last: &str) {
        let mut lines: Vec<String> = (0..100).map(|n| format!("a b{} {last}", n % 7)).collect();
        lines.push(format!("{last}."));
        self.lines.send(&lines);
        self.sent.extend(lines);
    }

    /// Sends lines and waits until all are counted, as process 0 says.
    fn progress(&mut self, zero: &mut Running, last: &str) {
        self.send(last);
        counted(zero, last);
    }

    /// What readers of committed rows see, against a recount.
    fn check(&self) {
        #[derive(Deserialize)]
        struct Row {
            word: String,
            count: i64,
        }
        let row = |row: String| serde_json::from_str::<Row>(&row).expect("a row");
        let rows = latest(&read(&self.counts)).into_values().map(row);
        let counts: Counts = rows.map(|row| (row.word, row.count)).collect();
        assert_counts(&counts, &recount(&self.sent));
    }
}

fn address(link: &Link, host: usize) -> String {
    format!("{}:{PORT}", link.addresses[host])
}

/// Waits until the last word of lines is counted.
fn counted(zero: &mut Running, last: &str) {
    let wanted = format!("{last}.");
    zero.rows_until(|line| Change::parse(line).row.word == wanted);
}

/// Waits until one of them has said its text.
fn either_says(of: [(&Running, &str); 2]) {
    let deadline = Instant::now() + DEADLINE;
    while !of.iter().any(|(running, text)| running.has_said(text)) {
        if Instant::now() > deadline {
            for (running, text) in of {
                eprintln!("has not said {text:?}, but: {:#?}", running.lines_with(""));
            }
            panic!("neither has said what it should");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_host_that_dies_and_hosts_that_lose_each_other_cost_nothing_but_time() {
    let mut hosts = Hosts::make();
    let (disturbed, how) = hosts.link.disturb();
    println!("the links: {how}");
    let mut zero = hosts.start(0);
    let (one, two) = (hosts.start(1), hosts.start(2));
    hosts.progress(&mut zero, "all");

    // The host that publishes loses its power, in the middle of it.
    hosts.send("killed");
    hosts.link.kill(0);
    let lost = format!("the connection to process 0 at {}", address(&hosts.link, 0));
    // Who notices first ends, and the other may hear of that before it notices.
    either_says([(&one, &lost), (&two, &lost)]);
    one.wait_stderr("starting again in");
    two.wait_stderr("starting again in");
    hosts.send("alone");
    hosts.link.revive(0);
    drop(zero);
    let mut zero = hosts.start(0);
    counted(&mut zero, "alone");
    hosts.progress(&mut zero, "back");

    // Two hosts no longer reach each other, and both reach the third, which does not know of it.
    hosts.link.part(1, 2);
    hosts.send("parted");
    let lost = |host| format!("the connection to process {host} at {}", address(&hosts.link, host));
    either_says([(&one, &lost(2)), (&two, &lost(1))]);
    zero.wait_stderr("starting again in");
    hosts.send("unheard");
    hosts.link.join(1, 2);
    counted(&mut zero, "unheard");
    hosts.progress(&mut zero, "together");
    zero.signal(SIGTERM);
    for (host, running) in [zero, one, two].into_iter().enumerate() {
        let ended = running.wait().expect(0);
        let starts = ended.stderr.iter().filter(|line| line.contains("starting again in")).count();
        // Each loss is one, and perhaps more until all have found each other.
        assert!(starts >= if host == 0 { 1 } else { 2 }, "host {host} was started again {starts} times");
    }
    hosts.check();

    // One process of another size, without the links.
    drop(disturbed);
    hosts.send("resized");
    hosts.job().with("-w 2 --until-end").run().expect(0).says(&["resuming from the checkpoint"]);
    hosts.check();
}
