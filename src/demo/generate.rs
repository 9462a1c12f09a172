//! The demo's generator: writes text to a topic, no faster than it is read, and counts each word as it is drawn.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::text::Text;
use crate::kafka::client::Settings;
use crate::kafka::deliveries::Deliveries;
use crate::status::Status;

/// Bytes that may be unread, in all partitions together: the in-process broker keeps 5 MB of each partition, and
/// all of them may be in one, where one worker reads more slowly than the other.
const UNREAD: u64 = 4 << 20;
/// What a record takes in the broker's log beside its value, at most.
const OVERHEAD: u64 = 16;
/// Lines between two looks at what has been read.
const BATCH: u64 = 512;
/// How long to wait for reports of deliveries, and for the reader, at a time.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the last deliveries may take.
const FLUSH: Duration = Duration::from_secs(30);

/// A topic and its partitions.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// Its name.
    pub(super) name: String,
    /// How many partitions it has.
    pub(super) partitions: i32,
}

impl Topic {
    /// The lines of each partition, when so many have been generated: they go to each in turn.
    pub(super) fn lines_of(&self, lines: u64) -> impl Iterator<Item = (i32, u64)> + use<> {
        let partitions = self.partitions as u64;
        (0..partitions)
            .map(move |partition| (partition as i32, (lines + partitions - 1 - partition) / partitions))
    }
}

/// The generator's thread.
pub(super) struct Generator {
    stop: Arc<AtomicBool>,
    lines: Arc<AtomicU64>,
    thread: JoinHandle<Result<Recount>>,
}

/// What was generated, counted without a tokenizer or a dataflow.
pub(super) struct Recount {
    text: Text,
    /// For each word of the vocabulary, how often it was drawn.
    drawn: Vec<u64>,
    /// Lines, each of which is a record.
    pub(super) lines: u64,
    /// Bytes of the lines.
    bytes: u64,
}

impl Recount {
    fn new(seed: u64) -> Self {
        let text = Text::new(seed);
        let drawn = vec![0; text.words().len()];
        Recount { text, drawn, lines: 0, bytes: 0 }
    }

    /// That of the first `lines` lines of `seed`.
    #[cfg(test)]
    pub(super) fn of(seed: u64, lines: u64) -> Self {
        let mut recount = Recount::new(seed);
        let mut line = String::new();
        (0..lines).for_each(|_| recount.draw(&mut line));
        recount
    }

    /// Draws the next line, and counts it.
    fn draw(&mut self, line: &mut String) {
        let Recount { text, drawn, lines, bytes } = self;
        text.line(line, |word| drawn[word] += 1);
        *lines += 1;
        *bytes += line.len() as u64;
    }

    /// How often each word that was drawn at all was drawn.
    pub(super) fn words(&self) -> HashMap<&str, u64> {
        let words = self.text.words().iter().map(String::as_str);
        words.zip(self.drawn.iter().copied()).filter(|&(_, drawn)| drawn > 0).collect()
    }

    /// Words in all.
    pub(super) fn total(&self) -> u64 {
        self.drawn.iter().sum()
    }
}

impl Generator {
    /// Starts to generate the text of `seed`, at most `rate` lines a second where one is given, and no faster than
    /// `status` says that it is read.
    ///
    /// # Errors
    /// If the producer or the thread can't be made.
    pub(super) fn start(
        seed: u64,
        rate: Option<u32>,
        topic: Topic,
        settings: &Settings,
        status: Status,
    ) -> Result<Self> {
        let mut config = settings.producer()?;
        // That broker hands out one batch of a partition at a time: large ones make it fast.
        config.set("linger.ms", "20");
        let producer = config.create_with_context(Deliveries::default()).context("making a producer")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let lines = Arc::new(AtomicU64::new(0));
        let generated = Arc::clone(&lines);
        let thread = std::thread::Builder::new()
            .name("cutwater:generate".into())
            .spawn(move || {
                let recount = Recount::new(seed);
                Run { producer, topic, status, rate, recount, generated }.run(&stopped)
            })
            .context("starting the generator's thread")?;
        Ok(Generator { stop, lines, thread })
    }

    /// Has it stop after the line it is at.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How many lines it has generated so far. Shared, for who outlives it.
    pub(super) fn lines(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lines)
    }

    /// True once it has ended: all was delivered, or it has failed.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If a record was not delivered.
    pub(super) fn join(self) -> Result<Recount> {
        self.thread.join().map_err(|_| anyhow!("the generator panicked"))?
    }
}

struct Run {
    producer: BaseProducer<Deliveries>,
    topic: Topic,
    status: Status,
    rate: Option<u32>,
    recount: Recount,
    /// The lines of `recount`, for others.
    generated: Arc<AtomicU64>,
}

impl Run {
    fn run(mut self, stop: &AtomicBool) -> Result<Recount> {
        let start = Instant::now();
        let mut line = String::new();
        while !stop.load(Ordering::Relaxed) {
            let read = self.status.figures();
            let due = match self.rate {
                Some(rate) => (start.elapsed().as_secs_f64() * f64::from(rate)) as u64,
                None => u64::MAX,
            };
            let until = due.min(self.recount.lines + BATCH);
            let before = self.recount.lines;
            while self.recount.lines < until && self.unread(read.records, read.bytes) < UNREAD {
                self.send(&mut line)?;
            }
            let paused = self.recount.lines == before;
            self.generated.store(self.recount.lines, Ordering::Relaxed);
            self.producer.poll(if paused { PAUSE } else { Duration::ZERO });
            check(self.producer.context())?;
            if paused {
                // The poll returns at once where there are reports.
                std::thread::sleep(PAUSE);
            }
        }
        self.producer.flush(FLUSH).context("waiting for the last deliveries")?;
        let deliveries = self.producer.context();
        check(deliveries)?;
        let ((delivered, _), lines) = (deliveries.acknowledged(), self.recount.lines);
        ensure!(delivered == lines, "{lines} lines were generated, but {delivered} delivered");
        Ok(self.recount)
    }

    /// What the partitions hold at most, in bytes, of what has not been read when so much has been.
    fn unread(&self, records: u64, bytes: u64) -> u64 {
        (self.recount.bytes - bytes) + OVERHEAD * (self.recount.lines - records)
    }

    fn send(&mut self, line: &mut String) -> Result<()> {
        let partition = (self.recount.lines % self.topic.partitions as u64) as i32;
        let number = self.recount.lines as usize;
        self.recount.draw(line);
        let mut record = BaseRecord::<(), str, usize>::with_opaque_to(&self.topic.name, number)
            .payload(line.as_str())
            .partition(partition);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(PAUSE);
                    check(self.producer.context())?;
                    record = back;
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("writing to topic {}", self.topic.name));
                }
            }
        }
    }
}

/// The first failed delivery, as an error.
fn check(deliveries: &Deliveries) -> Result<()> {
    match deliveries.first_failure() {
        Some(failure) => bail!("a generated record was not delivered: {}", failure.reason()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::source::Report;
    use rdkafka::consumer::Consumer;
    use rdkafka::mocking::MockCluster;

    use super::*;

    const SEED: u64 = 5;

    /// Adds lines of `text` to a report until they are what may be unread.
    fn fill(text: &mut Text) -> Report {
        let (mut report, mut line) = (Report::default(), String::new());
        while report.bytes + OVERHEAD * report.records < UNREAD {
            text.line(&mut line, |_| {});
            report.records += 1;
            report.bytes += line.len() as u64;
        }
        report
    }

    #[test]
    fn lines_go_to_each_partition_in_turn() {
        let topic = Topic { name: "t".into(), partitions: 3 };
        let of = |lines| topic.lines_of(lines).map(|(_, lines)| lines).collect::<Vec<_>>();
        assert_eq!((of(0), of(1), of(5)), (vec![0, 0, 0], vec![1, 0, 0], vec![2, 2, 1]));
    }

    #[test]
    fn it_waits_for_the_reader_and_loses_nothing() {
        let broker = MockCluster::new(1).unwrap();
        broker.create_topic("t", 4, 1).unwrap();
        let settings = Settings {
            brokers: broker.bootstrap_servers(),
            properties: Vec::new(),
            files: Vec::new(),
            connect_timeout: Duration::from_secs(120),
            ..Settings::default()
        };
        let client = settings.metadata().unwrap();
        let wait_for = |records: u64| {
            let deadline = Instant::now() + Duration::from_secs(300);
            loop {
                let written: i64 = (0..4)
                    .map(|partition| {
                        client.fetch_watermarks("t", partition, Duration::from_secs(120)).unwrap().1
                    })
                    .sum();
                if written as u64 >= records {
                    return;
                }
                assert!(Instant::now() < deadline, "{written} of {records} records written");
                std::thread::sleep(PAUSE);
            }
        };

        let mut text = Text::new(SEED);
        let status = Status::default();
        let topic = Topic { name: "t".into(), partitions: 4 };
        let generator = Generator::start(SEED, None, topic, &settings, status.clone()).unwrap();
        let first = fill(&mut text);
        wait_for(first.records);
        status.published(1, std::slice::from_ref(&first), 0);
        let second = fill(&mut text);
        wait_for(first.records + second.records);
        generator.stop();
        let recount = generator.join().unwrap();
        assert_eq!(recount.lines, first.records + second.records, "no line more than may be unread");
        assert_eq!(recount.bytes, first.bytes + second.bytes);
        assert_eq!(recount.words().values().sum::<u64>(), recount.total());
    }

    #[test]
    fn a_broker_that_is_away_is_an_error() {
        let settings = Settings {
            // Nobody listens at port 1.
            brokers: "127.0.0.1:1".into(),
            properties: vec![("message.timeout.ms".into(), "1000".into())],
            files: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            ..Settings::default()
        };
        let topic = Topic { name: "t".into(), partitions: 4 };
        let generator = Generator::start(SEED, None, topic, &settings, Status::default()).unwrap();
        let error = generator.join().err().expect("nothing can be delivered").to_string();
        assert!(error.contains("not delivered"), "{error}");
    }
}
