//! What clients cost the run that they ask: the latency of epochs while 200 clients ask for the most frequent words as fast as
//! they are answered, beside that of the same run while nobody asks, by turns. Word-count, on the in-process broker, at a
//! steady rate.
//!
//! `cargo bench --bench views [-- CLIENTS ROUNDS SECONDS] [--json FILE]`

#[path = "support/figures.rs"]
mod figures;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};

/// Lines a second, of ten words each.
const LINES: u32 = 2_000;
/// What the clients ask for: a look at all rows.
const ASKED: &str = "/v1/outputs/counts?by=count&top=20";
/// Seconds of a turn that are not measured: connections begin and end in them.
const SETTLE: usize = 2;

fn main() -> Result<()> {
    let given: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let number = |index: usize, usual: usize| given.get(index).copied().unwrap_or(usual);
    let (clients, rounds, seconds) = (number(0, 200), number(1, 5), number(2, 10));
    let cluster = MockCluster::new(1).map_err(|error| anyhow!("the in-process broker: {error}"))?;
    cluster.create_topic("lines", 4, 1).map_err(|error| anyhow!("making a topic: {error}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let producing = produce(&cluster.bootstrap_servers(), &stop)?;
    let run = Run::start(&cluster.bootstrap_servers())?;
    let (mut quiet, mut busy, mut answers) = (Vec::new(), Vec::new(), 0);
    run.latencies(5)?;
    for _ in 0..rounds {
        quiet.extend(run.latencies(seconds)?);
        let crowd = Crowd::start(&run.address, clients)?;
        busy.extend(run.latencies(seconds)?);
        answers += crowd.stop();
    }
    stop.store(true, Relaxed);
    producing.join().map_err(|_| anyhow!("the producer has panicked"))?;
    let (quiet, busy) = (median(quiet)?, median(busy)?);
    println!(
        "p99 of the epochs of a second, the median of all seconds: {:.1} ms while nobody asks",
        quiet * 1e3
    );
    println!("{:.1} ms while {clients} clients ask, {:.2} times as much", busy * 1e3, busy / quiet);
    println!("they had {} answers, in {} s", answers, rounds * (seconds + SETTLE));
    figures::write(&json!({ "clients": clients, "quiet_p99": quiet, "busy_p99": busy, "answers": answers }))
}

fn median(mut values: Vec<f64>) -> Result<f64> {
    ensure!(!values.is_empty(), "no epoch was published while it was measured");
    values.sort_by(f64::total_cmp);
    Ok(values[values.len() / 2])
}

/// Writes lines at a steady pace.
fn produce(brokers: &str, stop: &Arc<AtomicBool>) -> Result<JoinHandle<()>> {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "5").create()?;
    let stop = Arc::clone(stop);
    let mut random = SmallRng::seed_from_u64(1);
    let zipf = Zipf::new(50_000.0, 1.0).map_err(|error| anyhow!("{error}"))?;
    Ok(std::thread::spawn(move || {
        let (start, mut sent) = (Instant::now(), 0);
        while !stop.load(Relaxed) {
            while f64::from(sent) < start.elapsed().as_secs_f64() * f64::from(LINES) {
                let words: Vec<String> = (0..10).map(|_| format!("w{}", zipf.sample(&mut random))).collect();
                let line = words.join(" ");
                // A full queue is waited for, a little.
                if producer.send(BaseRecord::<(), String>::to("lines").payload(&line)).is_ok() {
                    sent += 1;
                } else {
                    break;
                }
            }
            producer.poll(Duration::from_millis(5));
        }
        let _ = producer.flush(Duration::from_secs(10));
    }))
}

/// The program that is asked. It is killed when this is dropped.
struct Run {
    child: Child,
    address: String,
}

impl Run {
    fn start(brokers: &str) -> Result<Run> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cutwater"))
            .args(["run", "word-count", "-b", brokers, "-t", "lines", "-o", "none", "-e", "20ms"])
            .args(["--http", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("starting cutwater")?;
        let stderr = BufReader::new(child.stderr.take().context("its standard error")?);
        let mut lines = stderr.lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("http://")?.1.trim().to_owned()));
        // What it says is to be read, or it waits.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Run { child, address: address.context("it does not say where it listens")? })
    }

    /// The p99 of the epochs of each of the next seconds.
    fn latencies(&self, seconds: usize) -> Result<Vec<f64>> {
        std::thread::sleep(Duration::from_secs((SETTLE + seconds) as u64));
        let mut stream = Asking::new(&self.address)?;
        let status: Value = serde_json::from_slice(&stream.ask("/v1/status")?)?;
        let history = status["history"].as_array().context("a history")?;
        let last = history.iter().rev().take(seconds);
        Ok(last.filter_map(|point| point["latency_p99"].as_f64()).filter(|p99| *p99 > 0.0).collect())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Fails where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that stays open.
struct Asking {
    reader: BufReader<TcpStream>,
    host: String,
}

impl Asking {
    fn new(address: &str) -> Result<Asking> {
        let stream = TcpStream::connect(address).context("connecting")?;
        Ok(Asking { reader: BufReader::new(stream), host: address.to_owned() })
    }

    /// The body of an answer.
    fn ask(&mut self, path: &str) -> Result<Vec<u8>> {
        write!(self.reader.get_mut(), "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(self.reader.read_line(&mut line)? > 0, "the connection was closed");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse()?;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(body)
    }
}

/// Clients that ask as fast as they are answered. They give way to all else on this machine, as if they were on others.
struct Crowd {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<(TcpStream, JoinHandle<()>)>,
}

impl Crowd {
    fn start(address: &str, clients: usize) -> Result<Crowd> {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |_| {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            let mut asking = Asking::new(address)?;
            let stream = asking.reader.get_ref().try_clone()?;
            let thread = std::thread::spawn(move || {
                let _ = rustix::process::nice(19);
                while !stop.load(Relaxed) && asking.ask(ASKED).is_ok() {
                    answers.fetch_add(1, Relaxed);
                }
            });
            Ok((stream, thread))
        };
        let clients = (0..clients).map(client).collect::<Result<_>>()?;
        Ok(Crowd { stop, answers, clients })
    }

    /// Ends them. Returns how many answers they had.
    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        for (stream, client) in self.clients {
            // Who waits for an answer waits no longer.
            let _ = stream.shutdown(Shutdown::Both);
            let _ = client.join();
        }
        self.answers.load(Relaxed)
    }
}
