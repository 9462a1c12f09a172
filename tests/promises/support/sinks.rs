//! Sinks of a job, driven by the test in place of the publisher.

use cutwater::fault::Fault;
use cutwater::kafka::client::Settings;
use cutwater::sink::{Delivery, Emit, Opener, Sink, Target, WEBHOOK_MAX_BYTES};
use cutwater::state::cut::Cut;
use cutwater::state::resume::{Entry, Resume};
use cutwater_dataflows::dead_letter::{batch, of_row, renderer};
use cutwater_dataflows::render::{Change, merge, rendered};
use cutwater_dataflows::source::{Moved, Report};

use super::DEADLINE;
use super::kafka::Topic;
use super::text::noise;

/// How to reach the cluster, with librdkafka properties.
pub fn settings(address: &str, properties: &[(&str, &str)]) -> Settings {
    Settings {
        brokers: address.to_owned(),
        properties: properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        files: Vec::new(),
        connect_timeout: DEADLINE,
        ..Settings::default()
    }
}

/// A run of a job: it reads partition 0 of `input`, three records an epoch, and writes to some topics.
pub struct Run<'a> {
    sinks: Vec<Box<dyn Sink>>,
    input: &'a Topic,
}

impl<'a> Run<'a> {
    /// Opens a sink to each of `outputs`; the job goes on with them.
    pub fn open(settings: &Settings, group: &str, input: &'a Topic, outputs: &[&Topic]) -> Run<'a> {
        Run::open_delivering(settings, Delivery::ExactlyOnce, group, input, outputs)
    }

    /// As [`Run::open`], delivered in this way.
    pub fn open_delivering(
        settings: &Settings,
        delivery: Delivery,
        group: &str,
        input: &'a Topic,
        outputs: &[&Topic],
    ) -> Run<'a> {
        let fault = Fault::default();
        let mut opener = Opener::new(settings, group, true, WEBHOOK_MAX_BYTES, &fault).delivering(delivery);
        let open = |topic: &&Topic| {
            let target = Target::Kafka(topic.name.clone());
            opener.open(&target, Emit::Upserts).expect("it opens").expect("a sink")
        };
        Run { sinks: outputs.iter().map(open).collect(), input }
    }

    /// As [`Run::open`], with a sink for dead letters alone.
    pub fn open_dead_letters(settings: &Settings, input: &'a Topic, output: &Topic) -> Run<'a> {
        let fault = Fault::default();
        let mut opener = Opener::new(settings, "letters", true, WEBHOOK_MAX_BYTES, &fault);
        let target = Target::Kafka(output.name.clone());
        Run { sinks: vec![opener.open_dead_letters(&target).expect("it opens").expect("a sink")], input }
    }

    /// Writes a dead letter with a value of so many bytes.
    pub fn write_dead_letter(&mut self, epoch: u64, bytes: usize) -> anyhow::Result<()> {
        let letter = of_row("source", b"key", noise(bytes).as_bytes(), "bad");
        let changes = merge(vec![rendered(&*renderer(), &[batch([letter])])]);
        self.sinks.iter_mut().try_for_each(|sink| sink.write(epoch, "dead-letters", &changes))
    }

    /// The ledger of this job from its first epoch on, with no checkpoint.
    pub fn ledger(&self, job: &str, published: u64, last: u64) -> Resume {
        let entry = |epoch| {
            let (mut cut, mut starts) = (Cut::default(), Cut::default());
            cut.set("lines", &self.input.name, 0, offset(epoch));
            if epoch == 1 {
                starts.set("lines", &self.input.name, 0, 0);
            }
            Entry { epoch, cut, starts, ..Entry::default() }
        };
        Resume {
            job: job.to_owned(),
            published,
            replay: (1..=last).map(entry).collect(),
            ..Resume::default()
        }
    }

    /// The job goes on; all sinks are to say the same.
    pub fn resume(&mut self, from: &Resume) -> anyhow::Result<u64> {
        let held: anyhow::Result<Vec<u64>> = self.sinks.iter_mut().map(|sink| sink.resume(from)).collect();
        let held = held?;
        assert!(held.iter().all(|epoch| *epoch == held[0]), "{held:?}");
        Ok(held[0])
    }

    /// Writes the rows of an epoch to all topics.
    pub fn write(&mut self, epoch: u64, rows: usize) -> anyhow::Result<()> {
        let changes: Vec<Change> = (0..rows)
            .map(|key| Change {
                key: format!("{{\"k\":{key}}}").into_bytes().into(),
                row: format!("{{\"k\":{key},\"v\":{epoch}}}").into_bytes().into(),
                diff: 1,
            })
            .collect();
        self.sinks.iter_mut().try_for_each(|sink| sink.write(epoch, "out", &changes))
    }

    /// Writes a row of about so many bytes to all topics, however well it is compressed.
    pub fn write_large(&mut self, epoch: u64, bytes: usize) -> anyhow::Result<()> {
        let text = noise(bytes);
        let row = format!("{{\"k\":0,\"v\":\"{text}\"}}").into_bytes();
        let changes = [Change { key: b"{\"k\":0}".as_slice().into(), row: row.into(), diff: 1 }];
        self.sinks.iter_mut().try_for_each(|sink| sink.write(epoch, "out", &changes))
    }

    /// Commits an epoch.
    pub fn commit(&mut self, epoch: u64) -> anyhow::Result<()> {
        let next = offset(epoch);
        let moved =
            Moved { topic: self.input.name.clone(), partition: 0, start: None, id: None, next, end: next };
        let report = Report { input: "lines".into(), moved: vec![moved], records: 3, ..Report::default() };
        self.sinks.iter_mut().try_for_each(|sink| sink.commit(epoch, std::slice::from_ref(&report)))
    }

    /// Writes and commits an epoch.
    pub fn publish(&mut self, epoch: u64, rows: usize) -> anyhow::Result<()> {
        self.write(epoch, rows)?;
        self.commit(epoch)
    }
}

/// The next offset of the input's partition 0 at an epoch.
pub fn offset(epoch: u64) -> i64 {
    epoch as i64 * 3
}
