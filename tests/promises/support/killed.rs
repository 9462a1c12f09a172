//! A job that is killed with `kill -9` while records come, and resumed in another shape.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionListElem;

use super::family::{children, wait_gone};
use super::kafka::Topic;
use super::program::{Ended, Program, Running};
use super::{DEADLINE, unique};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two questions.
const TICK: Duration = Duration::from_millis(20);

/// How far a job has come: what its group has committed, with the rows of it.
pub struct Progress {
    consumer: BaseConsumer,
    list: TopicPartitionList,
}

impl Progress {
    /// Of the job of this group, over these topics.
    pub fn of(group: &str, topics: &[&Topic]) -> Progress {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &topics[0].address).set("group.id", group);
        // Else there is no answer as long as a transaction is open that was left behind by who was killed.
        config.set("isolation.level", "read_uncommitted");
        let consumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for topic in topics {
            list.add_partition_range(&topic.name, 0, topic.partitions - 1);
        }
        Progress { consumer, list }
    }

    /// Records of which all that comes is committed.
    pub fn records(&self) -> i64 {
        let deadline = Instant::now() + DEADLINE;
        // The broker may have begun a moment ago to keep what groups commit, and say so.
        let committed = loop {
            match self.consumer.committed_offsets(self.list.clone(), ANSWER) {
                Ok(committed) => break committed,
                Err(error) => assert!(Instant::now() < deadline, "what the group has committed: {error}"),
            }
            std::thread::sleep(TICK);
        };
        let offset = |element: &TopicPartitionListElem<'_>| element.offset().to_raw().unwrap_or(0).max(0);
        committed.elements().iter().map(offset).sum()
    }

    /// Waits until there are so many.
    #[track_caller]
    pub fn wait(&self, records: i64, run: &mut Running) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = self.records();
            if now >= records {
                return;
            }
            if run.child.try_wait().expect("it is our child").is_some() {
                run.fail(&format!("it has ended at {now} of {records} records"));
            }
            if Instant::now() > deadline {
                run.fail(&format!("after {DEADLINE:?} it is at {now} of {records} records"));
            }
            std::thread::sleep(TICK);
        }
    }
}

/// Kills one process of a run, and waits until all others have ended by that. `which` counts the processes that work, and
/// after them their supervisor; then it begins with the first.
pub fn kill_one(run: Running, which: usize) -> Ended {
    let mut processes = children(run.pid());
    let workers = processes.clone();
    processes.push(run.pid());
    kill(processes[which % processes.len()], Signal::SIGKILL).expect("it runs");
    let ended = run.wait();
    if ended.status.success() {
        ended.fail("it was killed, and says that all is well");
    }
    wait_gone(&workers);
    ended
}

/// A job of a test: what it reads, and its command line but for shape and state.
pub struct Job<'a> {
    pub inputs: Vec<&'a Topic>,
    pub program: &'a dyn Fn() -> Program,
}

impl Job<'_> {
    /// Has records written, in four parts, each in one go: `send(part)` returns how many there are then. The job is killed
    /// twice within a part, in two shapes, and a third reads to the end.
    pub fn killed_and_resumed(&self, mut send: impl FnMut(usize) -> i64) -> Ended {
        let (group, state) = (unique(), tempfile::tempdir().expect("a folder"));
        let state = state.path().to_str().expect("text");
        let progress = Progress::of(&group, &self.inputs);
        let start = |shape: &str| {
            let set = format!("group.id={group}");
            let program = (self.program)().args(["-X", &set, "--state", state]);
            program.with("-e 20ms --checkpoint 200ms").with(shape).start()
        };
        let mut sent = send(0);
        for (part, shape) in [(1, "-w 2 -n 2"), (2, "-w 1 -n 3")] {
            let mut run = start(shape);
            progress.wait(sent, &mut run);
            let before = sent;
            sent = send(part);
            progress.wait(before + 1, &mut run);
            kill_one(run, part);
        }
        let all = send(3);
        let ended = start("-w 3 -n 1 --until-end").wait().expect(0);
        assert_eq!(progress.records(), all, "all is read and committed");
        ended
    }
}
