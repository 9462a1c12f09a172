//! What a run takes place in: broker, topics, clock and files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::Message;

use super::COMMITTED;
use super::clock::Clock;
use super::group::Group;
use super::ledger::Ledger;
use super::outputs::{assert_same, changes, dead_letters, upserts};
use super::plan::Plan;
use super::quotas;
use super::recount::{Recount, Words};
use super::streams::{Stream, Written};
use super::tally::Tally;
use crate::support::broker::Broker;
use crate::support::committed::{each, epoch, settle};
use crate::support::kafka::{Kafka, Topic};
use crate::support::program::cutwater;

/// How many brokers. One alone that is killed and comes back finds itself the leader of everything, as it was, begins
/// to end transactions, and forgets to mark their records when it notices that it is not (Kafka 4.3: "these partitions are
/// likely deleted already"): the records of an aborted transaction become part of the next one.
pub const BROKERS: usize = 3;
/// The time-out of the program's transactions.
pub const TRANSACTION: Duration = Duration::from_secs(3);
/// How often the broker looks for transactions that have taken longer: its default is ten seconds.
const EXPIRY: &str = "transaction.abort.timed.out.transaction.cleanup.interval.ms=200";
/// By default the broker refuses records of a clock that is ahead by more than an hour.
const AHEAD: &str = "log.message.timestamp.after.max.ms=9223372036854775807";
/// Partitions of the input at first; it gets one more.
const PARTITIONS: i32 = 5;
/// The group that the program commits offsets to.
const GROUP: &str = "cutwater-word-count";

/// The world of a run.
pub struct World {
    /// Where all files are.
    pub folder: PathBuf,
    /// The arguments that the program gets in each life.
    pub args: Vec<String>,
    /// The wall clock of some lives.
    pub clock: Clock,
    /// The group's committed offsets.
    pub group: Group,
    seed: u64,
    broker: Arc<Mutex<Broker>>,
    /// Starts the broker again.
    returning: Option<JoinHandle<()>>,
    input: Topic,
    /// One partition, then several.
    counts: [Topic; 2],
    dead: Topic,
    streams: Vec<Stream>,
    written: Arc<Written>,
}

impl World {
    /// Starts brokers and writes to them from now on.
    pub fn start(plan: &Plan) -> World {
        let folder = tempfile::Builder::new().prefix("cutwater-kills-").tempdir();
        let folder = folder.expect("a temporary folder").keep();
        std::fs::create_dir(folder.join("logs")).expect("a folder");
        std::fs::write(folder.join("plan.txt"), format!("{plan:#?}\n")).expect("a file");
        let broker = Broker::cluster(BROKERS, &[EXPIRY, AHEAD]);
        let kafka = Kafka::at(&broker.address);
        let input = kafka.named_topic("input", PARTITIONS);
        let counts = [kafka.named_topic("counts", 1), kafka.named_topic("counts-spread", 3)];
        let dead = kafka.named_topic("dead", 1);
        let group = Group::watch(&broker.address, GROUP, &input.name, PARTITIONS + 1);
        let seed = plan.seed;
        let written = Arc::new(Written::default());
        let streams = vec![
            Stream::plain(&input, vec![0, 1, 0, 2], seed, 1500, &written),
            Stream::transactions(&input, vec![2, 3], seed + 1, 500, &written),
            // Nearly idle.
            Stream::plain(&input, vec![4], seed + 2, 1, &written),
        ];
        World {
            args: args(&broker.address, &folder),
            clock: Clock::new(&folder),
            folder,
            group,
            seed,
            broker: Arc::new(Mutex::new(broker)),
            returning: None,
            input,
            counts,
            dead,
            streams,
            written,
        }
    }

    /// The mark and the log of a life.
    pub fn life(&self, number: usize) -> (String, PathBuf) {
        let name = self.folder.file_name().expect("a folder has a name").to_string_lossy();
        (format!("{name}-{number}"), self.folder.join(format!("logs/{number:04}.log")))
    }

    /// Gives the input another partition, and writes to it.
    pub fn grow(&mut self) {
        self.await_broker();
        self.input.grow(PARTITIONS + 1);
        let stream = Stream::plain(&self.input, vec![PARTITIONS], self.seed + 3, 200, &self.written);
        self.streams.push(stream);
    }

    /// Kills a broker.
    pub fn kill_broker(&mut self, id: usize) {
        self.await_broker();
        self.broker().kill_one(id);
    }

    /// Starts it again, while other things happen.
    pub fn start_broker(&mut self) {
        let broker = Arc::clone(&self.broker);
        let start = move || broker.lock().expect("it has started before").start_again();
        self.returning = Some(std::thread::spawn(start));
    }

    fn await_broker(&mut self) {
        if let Some(returning) = self.returning.take() {
            returning.join().expect("the broker starts again");
        }
    }

    fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().expect("it has started before")
    }

    /// No more is written to the input from now on.
    pub fn finish_streams(&mut self) {
        self.await_broker();
        self.streams.drain(..).for_each(Stream::finish);
        settle(&self.input);
    }

    /// What has been written and published up to now. Nobody may be writing to the ledger meanwhile.
    pub fn so_far(&self, tally: &mut Tally) {
        self.written.tell(tally);
        tally.add(quotas::EPOCHS, self.group.seen().epoch());
        tally.add(quotas::BACK, Ledger::jumps_back_so_far(&self.folder.join("state")));
    }

    /// Checks all that has come out.
    pub fn check(&self, tally: &mut Tally) {
        let state = self.folder.join("state");
        cutwater(["ledger".as_ref(), state.as_os_str(), "--verify".as_ref()]).run().expect(0);
        let ledger = Ledger::read(&state, &self.input.name);
        let seen = self.group.next();
        let offsets = seen.positions.iter().map(|(&partition, &(offset, _))| (partition, offset)).collect();
        assert_eq!(ledger.ends(), offsets, "the last cut, and the group's offsets");
        assert_eq!(ledger.last, seen.epoch(), "the last epoch, and that of the group's offsets");

        self.counts.iter().chain([&self.dead]).for_each(settle);
        let mut words = Words::default();
        let recount = Recount::of(&self.input, &ledger, &mut words);
        for topic in &self.counts {
            let found = upserts(topic, &mut words);
            assert_same(&topic.name, &found, &recount.counts, &words);
        }
        let found = changes(&self.folder.join("changes.jsonl"), &mut words);
        assert_same("the file", &found, &recount.counts, &words);
        assert_eq!(dead_letters(&self.dead, &self.input), recount.dead, "dead letters");

        tally.add(quotas::RECORDS, recount.records);
        tally.add(quotas::DEAD, recount.dead.len() as u64);
        tally.add("rows of each output", recount.counts.len() as u64);
        tally.add(quotas::EPOCHS, ledger.last);
        tally.add("looks at the group's offsets", seen.answers);
        tally.add(quotas::BACK, ledger.jumps_back);
    }

    /// Removes all files.
    pub fn remove(&self) {
        std::fs::remove_dir_all(&self.folder).unwrap_or_else(|e| panic!("{}: {e}", self.folder.display()));
    }

    /// Something has failed: keeps what the topics hold, as far as it can be had, and the broker's data.
    pub fn keep(&mut self) {
        let topics = [&self.input, &self.counts[0], &self.counts[1], &self.dead];
        for topic in topics {
            let path = self.folder.join(format!("{}.topic", topic.name));
            let dump = std::panic::AssertUnwindSafe(|| dump(topic, &path));
            if std::panic::catch_unwind(dump).is_err() {
                println!("topic {} could not be read to its end", topic.name);
            }
        }
        self.broker().copy(&self.folder.join("broker"));
    }
}

fn args(address: &str, folder: &Path) -> Vec<String> {
    let folder = folder.display();
    let args = [
        format!("run word-count --brokers {address} --topic input"),
        format!(
            "--to kafka:counts --to kafka:counts-spread --to file:{folder}/changes.jsonl --dead-letter kafka:dead"
        ),
        format!("--state {folder}/state --checkpoint 300ms --ledger-retention 365d --epoch 10ms"),
        format!(
            "--log info,librdkafka=warn,cutwater::source=error --connect-timeout 240s --stop-timeout 240s --peer-timeout 240s --set transaction.timeout.ms={}",
            TRANSACTION.as_millis()
        ),
    ];
    args.iter().flat_map(|args| args.split(' ')).map(str::to_owned).collect()
}

/// Writes the records of a topic to a file, one a line: partition, offset, epoch, key and value.
fn dump(topic: &Topic, path: &Path) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    each(topic, COMMITTED, |message| {
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let (partition, offset) = (message.partition(), message.offset());
        let (key, value) = (text(message.key()), text(message.payload()));
        writeln!(file, "{partition} {offset} {:?} {key:?} {value:?}", epoch(message)).expect("room");
    });
}
