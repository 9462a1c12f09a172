//! What writes to the input all along, whether or not its broker is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer;

use super::lines::Lines;
use super::quotas;
use super::tally::Tally;
use crate::support::DEADLINE;
use crate::support::kafka::{Topic, Writer};

/// A thread that writes to some partitions of a topic until it is told to finish.
pub struct Stream {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What streams have written that is to be counted: records that are in no transaction that was aborted.
#[derive(Default)]
pub struct Written {
    records: AtomicU64,
    dead: AtomicU64,
}

impl Written {
    /// Adds that to a tally.
    pub fn tell(&self, tally: &mut Tally) {
        tally.add(quotas::RECORDS, self.records.load(Ordering::Relaxed));
        tally.add(quotas::DEAD, self.dead.load(Ordering::Relaxed));
    }

    fn add(&self, sent: Sent) {
        self.records.fetch_add(sent.records, Ordering::Relaxed);
        self.dead.fetch_add(sent.dead, Ordering::Relaxed);
    }
}

/// Records, and those of them that are no text.
#[derive(Clone, Copy, Default)]
struct Sent {
    records: u64,
    dead: u64,
}

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(10);

impl Stream {
    /// Writes lines, so many a second.
    pub fn plain(
        topic: &Topic,
        partitions: Vec<i32>,
        seed: u64,
        rate: u32,
        written: &Arc<Written>,
    ) -> Stream {
        let (writer, written) = (topic.writer(), Arc::clone(written));
        Stream::start(move |asked| {
            let mut lines = Lines::new(seed);
            let mut partitions = partitions.into_iter().cycle();
            let mut pace = Pace::new(rate);
            while !asked.load(Ordering::Relaxed) {
                let mut sent = Sent::default();
                for _ in 0..pace.due() {
                    send(&writer, &mut partitions, &mut lines, &mut sent);
                }
                written.add(sent);
                std::thread::sleep(TICK);
            }
            writer.flush();
        })
    }

    /// Writes lines, so many a second, in transactions of which some are aborted.
    pub fn transactions(
        topic: &Topic,
        partitions: Vec<i32>,
        seed: u64,
        rate: u32,
        written: &Arc<Written>,
    ) -> Stream {
        let (writer, written) = (topic.transactions(), Arc::clone(written));
        Stream::start(move |asked| {
            let mut random = StdRng::seed_from_u64(seed);
            let mut lines = Lines::new(seed);
            let mut partitions = partitions.into_iter().cycle();
            let mut pace = Pace::new(rate);
            while !asked.load(Ordering::Relaxed) {
                writer.producer.begin_transaction().expect("the one before has ended");
                let mut sent = Sent::default();
                for _ in 0..random.random_range(1..20) {
                    for _ in 0..pace.due() {
                        send(&writer, &mut partitions, &mut lines, &mut sent);
                    }
                    std::thread::sleep(TICK);
                }
                if end(&writer, random.random_bool(0.7)) {
                    written.add(sent);
                }
            }
        })
    }

    fn start(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Stream {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        Stream { stop, thread: Some(std::thread::spawn(move || work(&asked))) }
    }

    /// Writes no more; all that was written is acknowledged.
    pub fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is finished once");
        thread.join().expect("all could be written");
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(writer: &Writer, partitions: &mut impl Iterator<Item = i32>, lines: &mut Lines, sent: &mut Sent) {
    let partition = partitions.next().expect("they are repeated");
    let line = lines.next();
    sent.records += 1;
    sent.dead += u64::from(line.as_deref().is_none_or(|line| std::str::from_utf8(line).is_err()));
    writer.send(partition, line.as_deref());
}

/// Ends the open transaction: commits it, if it is asked to and that can be. Returns whether it has.
fn end(writer: &Writer, commit: bool) -> bool {
    let committed = commit && retry(|| writer.producer.commit_transaction(DEADLINE)).is_ok();
    if !committed {
        // Aborting waits for what was sent, without hearing of it.
        retry(|| writer.producer.flush(DEADLINE).and_then(|()| writer.producer.abort_transaction(DEADLINE)))
            .unwrap_or_else(|error| panic!("a transaction of the input could not be aborted: {error}"));
    }
    committed
}

/// Asks again where that is what to do.
fn retry(ask: impl Fn() -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        match ask() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            answer => return answer,
        }
    }
}

/// Spreads records over time.
struct Pace {
    rate: u32,
    last: Instant,
    /// Records that are due, with the fraction of the next one.
    due: f64,
}

impl Pace {
    fn new(rate: u32) -> Pace {
        Pace { rate, last: Instant::now(), due: 0.0 }
    }

    /// How many are to be written now.
    fn due(&mut self) -> u32 {
        let now = Instant::now();
        // What could not be written for long is not made up for.
        let past = (now - self.last).min(Duration::from_millis(200));
        self.due += past.as_secs_f64() * f64::from(self.rate);
        self.last = now;
        let whole = self.due.floor();
        self.due -= whole;
        whole as u32
    }
}
