//! Brokers: a real one that all tests share, real ones of a test's own, and librdkafka's in-process one.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::mocking::MockCluster;

use super::kafka::{Kafka, Topic};
use super::keeper::Keeper;
use super::unique;

/// The real broker that tests share. It ends with this process.
pub fn real() -> &'static Kafka {
    &shared().1
}

/// Changes a byte of what the real broker has on disk of a partition: the last one of `text`, which must be there once.
pub fn damage(topic: &Topic, partition: i32, text: &[u8]) {
    let folder = format!("broker-1/data/{}-{partition}/00000000000000000000.log", topic.name);
    let log = shared().0.keeper.dir().join(folder);
    let bytes = std::fs::read(&log).expect("the partition's log");
    let places: Vec<usize> =
        (0..bytes.len() - text.len()).filter(|&place| bytes[place..].starts_with(text)).collect();
    assert_eq!(places.len(), 1, "{} is there as often", text.escape_ascii());
    let place = places[0] + text.len() - 1;
    // In its place, so that the broker, which has it open, sees it.
    let file = OpenOptions::new().write(true).open(&log).expect("the partition's log");
    file.write_all_at(&[bytes[place] ^ 1], place as u64).expect("a byte is written");
}

fn shared() -> &'static (Broker, Kafka) {
    static SHARED: OnceLock<(Broker, Kafka)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let broker = Broker::start();
        let kafka = Kafka::at(&broker.address);
        (broker, kafka)
    })
}

/// A listener of a broker, for clients.
pub struct Listener {
    pub name: &'static str,
    pub protocol: &'static str,
}

/// A real broker, or several that are a cluster. They are killed, and their data removed, when this is dropped or this
/// process ends, however it does.
pub struct Broker {
    /// The bootstrap address.
    pub address: String,
    keeper: Keeper,
}

impl Broker {
    /// Starts one.
    pub fn start() -> Broker {
        Broker::cluster(1, &[])
    }

    /// Starts so many with these properties, each `key=value`. Their ids count from 1.
    pub fn cluster(brokers: usize, properties: &[&str]) -> Broker {
        let mut broker = Broker { address: String::new(), keeper: Keeper::of("kafka") };
        let brokers = brokers.to_string();
        let mut args = vec!["--brokers", &brokers];
        args.extend(properties.iter().flat_map(|property| ["--property", *property]));
        broker.start_as(&args);
        broker
    }

    /// Starts one that has these listeners as well. `properties` are told its folder, where they may put what they name.
    pub fn with_listeners(listeners: &[Listener], properties: impl FnOnce(&Path) -> Vec<String>) -> Broker {
        let mut broker = Broker { address: String::new(), keeper: Keeper::of("kafka") };
        let properties = properties(broker.dir());
        let listeners: Vec<String> = listeners.iter().map(|l| format!("{}={}", l.name, l.protocol)).collect();
        let mut args = Vec::new();
        args.extend(listeners.iter().flat_map(|listener| ["--listener", listener]));
        args.extend(properties.iter().flat_map(|property| ["--property", property]));
        broker.start_as(&args);
        broker
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.keeper.dir()
    }

    /// The bootstrap address of one of its other listeners.
    pub fn listener(&self, name: &str) -> String {
        self.keeper.run("address", &["--listener", name]).trim().to_owned()
    }

    /// Starts those that don't run again, on their old ports and with their old data.
    pub fn start_again(&mut self) {
        self.start_as(&[]);
    }

    fn start_as(&mut self, args: &[&str]) {
        self.address = self.keeper.run("start", args).trim().to_owned();
    }

    /// Stops it as an administrator does.
    pub fn stop(&self) {
        self.keeper.run("stop", &[]);
    }

    /// Stops it as a power cut does.
    pub fn kill(&self) {
        self.keeper.run("stop", &["--kill"]);
    }

    /// Stops one of several as a power cut does.
    pub fn kill_one(&self, id: usize) {
        self.keeper.run("stop", &["--kill", "--broker", &id.to_string()]);
    }

    /// Sends one of several a signal.
    pub fn signal_one(&self, id: usize, signal: Signal) {
        let status = self.keeper.run("status", &[]);
        let line = status.lines().nth(id - 1).expect("a line for each broker");
        let pid = line.split_whitespace().nth(1).expect("the broker's id, then its process id");
        kill(Pid::from_raw(pid.parse().expect("it runs")), signal).expect("it runs");
    }

    /// Copies its data and logs to a new folder, as they are now.
    pub fn copy(&self, to: &Path) {
        let dir = self.keeper.dir();
        let copied = Command::new("cp").arg("-a").arg(dir).arg(to).status().expect("starting cp");
        assert!(copied.success(), "copying {} failed", dir.display());
    }
}

/// Librdkafka's in-process broker, shared by all tests. It has no admin API, and keeps 5 MB or 100,000 records a
/// partition.
pub fn mock() -> &'static Mock {
    static SHARED: OnceLock<Mock> = OnceLock::new();
    SHARED.get_or_init(Mock::start)
}

/// The in-process broker. Its handle may be used by one thread only, so one thread holds it.
pub struct Mock {
    kafka: Kafka,
    orders: Mutex<Sender<Order>>,
}

/// A topic to be made, its partitions, and whom to tell.
type Order = (String, i32, Sender<()>);

impl Mock {
    fn start() -> Mock {
        let (orders, inbox) = channel::<Order>();
        let (ready, address) = channel();
        std::thread::spawn(move || {
            let cluster = MockCluster::new(1).expect("the in-process broker starts");
            ready.send(cluster.bootstrap_servers()).expect("somebody waits for the address");
            for (topic, partitions, done) in inbox {
                cluster.create_topic(&topic, partitions, 1).expect("the in-process broker makes topics");
                done.send(()).expect("somebody waits for the topic");
            }
        });
        let address = address.recv().expect("the in-process broker has an address");
        Mock { kafka: Kafka::at(&address), orders: Mutex::new(orders) }
    }

    /// Makes a topic for this test.
    pub fn topic(&self, partitions: i32) -> Topic {
        let (done, ready) = channel();
        let name = unique();
        let orders = self.orders.lock().expect("no test panics while it holds this").clone();
        orders.send((name.clone(), partitions, done)).expect("the thread lives");
        ready.recv().expect("the topic is made");
        self.kafka.known_topic(&name, partitions)
    }
}
