//! Brokers: a real one that all tests share, real ones of a test's own, and librdkafka's in-process one.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

use rdkafka::mocking::MockCluster;

use super::kafka::{Kafka, Topic};
use super::unique;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");

/// The real broker that tests share. It ends with this process.
pub fn real() -> &'static Kafka {
    static SHARED: OnceLock<(Broker, Kafka)> = OnceLock::new();
    let (_, kafka) = SHARED.get_or_init(|| {
        let broker = Broker::start();
        let kafka = Kafka::at(&broker.address);
        (broker, kafka)
    });
    kafka
}

/// A real broker, or several that are a cluster. They are killed, and their data removed, when this is dropped or this
/// process ends, however it does.
pub struct Broker {
    /// The bootstrap address.
    pub address: String,
    dir: PathBuf,
    keeper: Child,
}

impl Broker {
    /// Starts one.
    pub fn start() -> Broker {
        Broker::cluster(1, &[])
    }

    /// Starts so many with these properties, each `key=value`. Their ids count from 1.
    pub fn cluster(brokers: usize, properties: &[&str]) -> Broker {
        let dir =
            tempfile::Builder::new().prefix("cutwater-kafka-").tempdir().expect("a temporary folder").keep();
        // Waits for the end of its standard input, which only this process holds.
        let keeper = Command::new("sh")
            .args(["-c", r#"cat >/dev/null; "$1" stop --kill --dir "$2"; rm -rf "$2""#, "keeper", SCRIPT])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal is not for it.
            .process_group(0)
            .spawn()
            .expect("starting sh");
        let mut broker = Broker { address: String::new(), dir, keeper };
        let brokers = brokers.to_string();
        let mut args = vec!["--brokers", &brokers];
        args.extend(properties.iter().flat_map(|property| ["--property", *property]));
        broker.start_as(&args);
        broker
    }

    /// Starts those that don't run again, on their old ports and with their old data.
    pub fn start_again(&mut self) {
        self.start_as(&[]);
    }

    fn start_as(&mut self, args: &[&str]) {
        self.address = self.script("start", args).trim().to_owned();
    }

    /// Stops it as an administrator does.
    pub fn stop(&self) {
        self.script("stop", &[]);
    }

    /// Stops it as a power cut does.
    pub fn kill(&self) {
        self.script("stop", &["--kill"]);
    }

    /// Stops one of several as a power cut does.
    pub fn kill_one(&self, id: usize) {
        self.script("stop", &["--kill", "--broker", &id.to_string()]);
    }

    /// Copies its data and logs to a new folder, as they are now.
    pub fn copy(&self, to: &Path) {
        let copied = Command::new("cp").arg("-a").arg(&self.dir).arg(to).status().expect("starting cp");
        assert!(copied.success(), "copying {} failed", self.dir.display());
    }

    fn script(&self, command: &str, args: &[&str]) -> String {
        let output = Command::new(SCRIPT)
            .arg(command)
            .arg("--dir")
            .arg(&self.dir)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("starting scripts/kafka");
        assert!(
            output.status.success(),
            "scripts/kafka {command} failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("an address is text")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
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
