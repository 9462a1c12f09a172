//! Records into topics: each exactly once, and each acknowledged before it is over. Here lines, a record a line;
//! [`samples`] of a dataflow beside it.

pub mod lines;
pub mod pace;
mod place;
pub mod samples;
pub mod sending;

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use crossbeam_channel::{Receiver, select};
use indicatif::{DecimalBytes, HumanCount, ProgressBar};

use crate::kafka::client::Settings;
use crate::kafka::topics::{self, Making};
use crate::shown::count;
use lines::Source;
use pace::{Pace, Rate};
use place::Places;
use sending::{Outgoing, Sending, asked, find_or_make};

/// What ends the key of a line.
#[derive(Clone, Debug)]
pub struct Separator(Vec<u8>);

impl FromStr for Separator {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected what stands between key and value".to_owned()),
            r"\t" => Ok(Separator(vec![b'\t'])),
            text => Ok(Separator(text.as_bytes().to_vec())),
        }
    }
}

impl Separator {
    /// The key and the value of a line; nothing if it has no separator.
    fn split<'a>(&self, line: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let at = line.windows(self.0.len()).position(|window| window == self.0)?;
        Some((&line[..at], &line[at + self.0.len()..]))
    }
}

/// How lines become records.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where they go.
    pub topic: String,
    /// How many partitions to make it with where it is missing.
    pub partitions: Option<i32>,
    /// What ends a line's key; without it records have none.
    pub key: Option<Separator>,
    /// How many to send a second; without it as many as go.
    pub rate: Option<Rate>,
}

/// A topic that lines can be sent to.
pub struct Production {
    order: Order,
    sending: Sending,
}

/// How it went.
pub struct Outcome {
    /// Acknowledged records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// From the start to the last acknowledgement.
    pub time: Duration,
    /// The first error, of reading or of sending.
    pub result: Result<()>,
}

impl Outcome {
    /// One line for people.
    pub fn line(&self) -> String {
        let seconds = self.time.as_secs_f64().max(1e-6);
        format!(
            "{} ({}/s), {} ({:.2} MB/s) in {seconds:.2} s",
            count(self.records, "record"),
            HumanCount((self.records as f64 / seconds) as u64),
            DecimalBytes(self.bytes),
            self.bytes as f64 / 1e6 / seconds,
        )
    }
}

impl Production {
    /// Connects, and finds the topic or makes it.
    ///
    /// # Errors
    /// If no broker answers in time, or the topic is missing and is not to be made or can't be.
    pub fn open(settings: &Settings, order: Order) -> Result<Self> {
        let client = settings.metadata()?;
        topics::connect(&client, settings)?;
        let making = order.partitions.map(|partitions| Making { partitions, replication: None });
        find_or_make(&client, settings, &order.topic, making, &[], "--partitions N")?;
        let sending = Sending::open(&client, settings, std::slice::from_ref(&order.topic))?;
        Ok(Production { order, sending })
    }

    /// Sends the lines of the sources, and waits until each is acknowledged or has failed. A message on `stop` ends
    /// reading; what was sent until then is waited for.
    pub fn run(self, sources: Vec<Source>, stop: &Receiver<()>, bar: Option<&ProgressBar>) -> Outcome {
        let start = Instant::now();
        let mut places = Places::new(sources.iter().map(|source| source.name.clone()).collect());
        let mut sent = 0;
        let read = self.send_all(sources, stop, bar, &mut places, &mut sent);
        if let Some(bar) = bar {
            bar.set_message("waiting for acknowledgements");
        }
        let to = format!("topic {}", self.order.topic);
        let delivered = self.sending.finish(sent, &to, |record| places.of(record));
        let (records, bytes) = self.sending.acknowledged();
        let result = match (read, delivered) {
            (Err(read), Err(delivered)) => Err(anyhow!("{read:#}; and {delivered:#}")),
            (read, delivered) => read.and(delivered),
        };
        Outcome { records, bytes, time: start.elapsed(), result }
    }

    /// Sends until the end, until asked to stop, or until a record fails for a reason that others share.
    fn send_all(
        &self,
        sources: Vec<Source>,
        stop: &Receiver<()>,
        bar: Option<&ProgressBar>,
        places: &mut Places,
        sent: &mut u64,
    ) -> Result<()> {
        let chunks = lines::read(sources)?;
        let mut pace = self.order.rate.map(|rate| Pace::new(rate, Instant::now()));
        loop {
            let chunk = select! {
                recv(chunks) -> chunk => chunk,
                recv(stop) -> _ => return Ok(()),
            };
            let chunk = match chunk {
                Ok(Ok(chunk)) => chunk,
                Ok(Err((source, error))) => {
                    places.begin(source, *sent);
                    return Err(error).with_context(|| format!("reading {}", places.of(*sent)));
                }
                // All sources were read.
                Err(_) => return Ok(()),
            };
            places.begin(chunk.source, *sent);
            for line in lines::split(&chunk.bytes) {
                let wait = pace.as_mut().map_or(Duration::ZERO, |pace| pace.next(Instant::now()));
                if asked(stop, wait) || self.sending.hopeless() {
                    return Ok(());
                }
                let (key, value) = match &self.order.key {
                    None => (None, line),
                    Some(separator) => {
                        let (key, value) = separator.split(line).with_context(|| {
                            let separator = String::from_utf8_lossy(&separator.0);
                            format!("{}: no {separator:?} ends a key, as --key wants it", places.of(*sent))
                        })?;
                        (Some(key), value)
                    }
                };
                let record = Outgoing { topic: &self.order.topic, key, value: Some(value), timestamp: None };
                if !self.sending.send(*sent, record, stop).with_context(|| places.of(*sent))? {
                    return Ok(());
                }
                *sent += 1;
                if let Some(bar) = bar {
                    bar.inc(line.len() as u64 + 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_ends_the_key() {
        let split = |separator: &str, line: &'static str| {
            let separator: Separator = separator.parse().unwrap();
            let (key, value) = separator.split(line.as_bytes())?;
            Some((std::str::from_utf8(key).unwrap(), std::str::from_utf8(value).unwrap()))
        };
        assert_eq!(split(":", "a:b:c"), Some(("a", "b:c")));
        assert_eq!(split("::", "a:b::"), Some(("a:b", "")));
        assert_eq!(split(":", ":"), Some(("", "")));
        assert_eq!(split(r"\t", "a\tb"), Some(("a", "b")));
        assert_eq!(split(":", "ab"), None);
        assert_eq!(split("::", ""), None);
        assert!("".parse::<Separator>().is_err());
    }
}
