//! Samples of a dataflow into topics, files or standard output.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use crossbeam_channel::Receiver;
use cutwater_dataflows::Samples;
use cutwater_dataflows::testing::{Sample, write_record};
use indicatif::ProgressBar;

use super::Outcome;
use super::pace::{Pace, Rate};
use super::sending::{Outgoing, Sending, asked, find_or_make};
use crate::kafka::client::Settings;
use crate::kafka::topics::{self, Making};
use crate::time::micros_since_epoch;

/// How many samples, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// So many; without it, until it is stopped.
    pub records: Option<u64>,
    /// So many a second; without it, as many as go.
    pub rate: Option<Rate>,
}

/// Where samples go.
pub trait Destination {
    /// Takes a record of an input. False if it has to stop.
    ///
    /// # Errors
    /// If it can't be taken, for a reason that others share.
    fn take(&mut self, number: u64, input: &str, sample: &Sample, stop: &Receiver<()>) -> Result<bool>;

    /// Waits until all that was taken is where it belongs: how many records, and how many bytes.
    ///
    /// # Errors
    /// If not all of it is.
    fn finish(&mut self, taken: u64) -> (u64, u64, Result<()>);
}

/// Hands samples to where they go. A message on `stop` ends it; what was taken until then is waited for.
pub fn run(
    samples: Samples,
    amount: Amount,
    to: &mut dyn Destination,
    stop: &Receiver<()>,
    bar: Option<&ProgressBar>,
) -> Outcome {
    let start = Instant::now();
    let mut pace = amount.rate.map(|rate| Pace::new(rate, start));
    let mut taken = 0;
    let mut result = Ok(());
    for (input, sample) in samples.take(amount.records.map_or(usize::MAX, |records| records as usize)) {
        let wait = pace.as_mut().map_or(Duration::ZERO, |pace| pace.next(Instant::now()));
        if asked(stop, wait) {
            break;
        }
        match to.take(taken, input, &sample, stop) {
            Ok(true) => taken += 1,
            Ok(false) => break,
            Err(error) => {
                result = Err(error.context(format!("sample {}, of input {input}", taken + 1)));
                break;
            }
        }
        if let Some(bar) = bar {
            bar.inc(1);
        }
    }
    let (records, bytes, finished) = to.finish(taken);
    let result = match (result, finished) {
        (Err(taking), Err(finishing)) => Err(anyhow!("{taking:#}; and {finishing:#}")),
        (taking, finishing) => taking.and(finishing),
    };
    Outcome { records, bytes, time: start.elapsed(), result }
}

/// A topic for each input.
pub struct Topics {
    /// By input.
    topics: BTreeMap<String, String>,
    sending: Sending,
}

/// The times of samples are those of a fixed day: a topic that keeps records for a week would drop them at once.
const KEPT: [(&str, &str); 1] = [("retention.ms", "-1")];

impl Topics {
    /// Connects, and finds or makes the topics, which are those of the inputs.
    ///
    /// # Errors
    /// If no broker answers in time, or a topic is missing and is not to be made or can't be.
    pub fn open(
        settings: &Settings,
        topics: BTreeMap<String, String>,
        making: Option<Making>,
    ) -> Result<Self> {
        let client = settings.metadata()?;
        topics::connect(&client, settings)?;
        for topic in topics.values() {
            find_or_make(&client, settings, topic, making, &KEPT, "--create-topics PARTITIONS")?;
        }
        let names: Vec<String> = topics.values().cloned().collect();
        Ok(Topics { sending: Sending::open(&client, settings, &names)?, topics })
    }
}

impl Destination for Topics {
    fn take(&mut self, number: u64, input: &str, sample: &Sample, stop: &Receiver<()>) -> Result<bool> {
        if self.sending.hopeless() {
            return Ok(false);
        }
        let Some(topic) = self.topics.get(input) else { bail!("the dataflow has no such input") };
        let Sample { key, value, timestamp } = sample;
        let (key, value) = (key.as_deref(), value.as_deref());
        // Brokers refuse what is an hour ahead of their clock and more. What samples say of their time stays as it is.
        let timestamp = timestamp.map(|millis| millis.min((micros_since_epoch() / 1000) as i64));
        self.sending.send(number, Outgoing { topic, key, value, timestamp }, stop)
    }

    fn finish(&mut self, taken: u64) -> (u64, u64, Result<()>) {
        let finished = self.sending.finish(taken, "its topic", |record| format!("sample {}", record + 1));
        let (records, bytes) = self.sending.acknowledged();
        (records, bytes, finished)
    }
}

/// Lines, as fixtures have them.
pub struct Lines<W: Write> {
    /// By input.
    files: BTreeMap<String, Kept<W>>,
    written: (u64, u64),
}

struct Kept<W> {
    to: W,
    /// Where it is, for messages.
    name: String,
    keyed: bool,
}

impl<W: Write> Lines<W> {
    /// Writers of inputs, each with its name, and whether lines begin with a key.
    pub fn new(files: impl IntoIterator<Item = (String, W, String, bool)>) -> Self {
        let kept = |(input, to, name, keyed)| (input, Kept { to, name, keyed });
        Lines { files: files.into_iter().map(kept).collect(), written: (0, 0) }
    }
}

impl Lines<BufWriter<File>> {
    /// New files in a folder, `INPUT.jsonl` each.
    ///
    /// # Errors
    /// If one is there already or can't be made.
    pub fn in_folder(folder: &PathBuf, inputs: &[(String, bool)]) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
        let open = |(input, keyed): &(String, bool)| {
            let path = folder.join(format!("{input}.jsonl"));
            let name = path.display().to_string();
            let file = File::options().write(true).create_new(true).open(&path);
            let file = file.with_context(|| format!("making the file {name}"))?;
            Ok((input.clone(), BufWriter::new(file), name, *keyed))
        };
        Ok(Lines::new(inputs.iter().map(open).collect::<Result<Vec<_>>>()?))
    }
}

impl<W: Write> Destination for Lines<W> {
    fn take(&mut self, _: u64, input: &str, sample: &Sample, _: &Receiver<()>) -> Result<bool> {
        let Some(file) = self.files.get_mut(input) else { bail!("the dataflow has no such input") };
        let line = write_record(sample, file.keyed).map_err(|why| anyhow!("it can't be a line: {why}"))?;
        file.to.write_all(&line).with_context(|| format!("writing {}", file.name))?;
        self.written.0 += 1;
        self.written.1 += line.len() as u64;
        Ok(true)
    }

    fn finish(&mut self, _: u64) -> (u64, u64, Result<()>) {
        let flush = |file: &mut Kept<W>| file.to.flush().with_context(|| format!("writing {}", file.name));
        let flushed = self.files.values_mut().try_for_each(flush);
        (self.written.0, self.written.1, flushed)
    }
}
