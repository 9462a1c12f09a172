//! The records of the open epoch, and the topics that they go to.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::operators::accumulate::END;

use rdkafka::types::RDKafkaErrorCode;

use super::kept::Kept;
use super::target::Target;
use super::writer::{Outgoing, TransactionError, Writer};
use crate::fault::Fault;
use crate::kafka::access::{Act, Refused};
use crate::kafka::client::Settings;
use crate::kafka::limits::BATCH;
use crate::kafka::topics::{self, Making};
use crate::measure::transactions::Transacted;

/// What is to be delivered. It is kept until that has happened, so that it can be sent again.
pub(super) struct Pending {
    pub(super) settings: Settings,
    /// Ends everything that waits.
    pub(super) fault: Fault,
    targets: Vec<Target>,
    /// The records.
    pub(super) kept: Kept,
    /// How many of them are sent.
    pub(super) sent: usize,
    /// What went wrong when they were sent: found out about when the epoch is committed.
    pub(super) trouble: Option<TransactionError>,
    /// How long delivering took, for those who watch.
    pub(super) transacted: Arc<Transacted>,
}

impl Pending {
    pub(super) fn new(settings: &Settings, fault: &Fault) -> Self {
        Pending {
            settings: settings.clone(),
            fault: fault.clone(),
            targets: Vec::new(),
            kept: Kept::default(),
            sent: 0,
            trouble: None,
            transacted: Arc::default(),
        }
    }

    /// Finds a topic that will be written to, or makes it; returns its number.
    ///
    /// # Errors
    /// If no broker answers in time, or the topic is not there, or can't be made.
    pub(super) fn topic(&mut self, name: &str, making: Option<Making>) -> Result<usize> {
        let settings = &self.settings;
        let probe = settings.metadata()?;
        topics::connect(&probe, settings)?;
        let there = |all: &[topics::Topic]| all.iter().any(|(topic, _)| topic == name);
        let all = topics::settled(
            &self.fault,
            || topics::list(&probe),
            |all| making.is_some() || all.as_ref().is_ok_and(|all| there(all)),
        )?;
        if !there(&all) {
            let Some(making) = making else {
                if settings.is_hidden(&probe, name) {
                    return Err(settings.denied(Act::Write(name)));
                }
                bail!(
                    "sink kafka:{name}: {} (--create-topics PARTITIONS[:REPLICATION] makes missing topics; or make it \
                     with {})",
                    topics::missing(name, &all),
                    topics::how_to_make(&settings.brokers, name)
                );
            };
            topics::create(&probe, settings, name, making, &[])?;
            tracing::info!("made topic {name}, {} partitions", making.partitions);
        }
        self.targets.push(Target::find(&probe, settings, name));
        Ok(self.targets.len() - 1)
    }

    /// An error of writing an epoch, with what was written, or with the ACL that is missing.
    pub(super) fn explained(&self, error: anyhow::Error, group: &str) -> anyhow::Error {
        let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        let names = names.join(", ");
        let acts = [
            (RDKafkaErrorCode::TopicAuthorizationFailed, Act::Write(&names)),
            (RDKafkaErrorCode::ClusterAuthorizationFailed, Act::Write(&names)),
            (RDKafkaErrorCode::GroupAuthorizationFailed, Act::Group(group)),
            (RDKafkaErrorCode::TransactionalIdAuthorizationFailed, Act::Transact("cutwater-…")),
        ];
        let shown = format!("writing to {}", self.shown_topics());
        if error.is::<Refused>() { self.settings.named(error, &acts) } else { error.context(shown) }
    }

    /// A topic that will be written to, by its number.
    pub(super) fn target(&mut self, topic: usize) -> &mut Target {
        &mut self.targets[topic]
    }

    /// The most bytes to send together to any of the topics.
    pub(super) fn most(&self) -> usize {
        self.targets.iter().map(|target| target.limit.batch()).min().unwrap_or(BATCH)
    }

    /// The topics, for people.
    pub(super) fn shown_topics(&self) -> String {
        let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        format!("{} {}", if names.len() == 1 { "topic" } else { "topics" }, names.join(", "))
    }

    /// Sends the records that are not sent yet.
    ///
    /// # Errors
    /// As the writer has it.
    pub(super) fn send(&mut self, epoch: Epoch, writer: &mut Writer) -> Result<(), TransactionError> {
        // What is sent once, after the end, belongs to no epoch.
        let number = (epoch != END).then(|| epoch.to_string());
        for record in &self.kept.records[self.sent..] {
            let target = &self.targets[record.topic];
            let (key, value) = (self.kept.key(record), self.kept.value(record));
            let fit = record.letter.as_ref().map(|letter| letter.fit(key, value, target.most()));
            let (letter, key, value) = match &fit {
                Some((letter, key, value)) => (Some(letter), *key, *value),
                None => (None, key, value),
            };
            let offsets = Some(&*target.offsets).filter(|offsets| !offsets.is_empty());
            let topic = &target.name;
            writer.send(&Outgoing { topic, key, value, epoch: number.as_deref(), offsets, letter })?;
            self.sent += 1;
        }
        Ok(())
    }

    /// Keeps what went wrong for the time when the epoch is committed.
    ///
    /// # Errors
    /// What ends the run.
    pub(super) fn note(&mut self, sent: Result<(), TransactionError>) -> Result<()> {
        match sent {
            Err(TransactionError::End(error)) => return Err(error),
            Err(trouble) => self.trouble = Some(trouble),
            Ok(()) => {}
        }
        Ok(())
    }

    /// A record, by its number, is too large for its topic. A dead letter is cut more, for the next try.
    ///
    /// # Errors
    /// If it is a row: that ends the run.
    pub(super) fn too_large(&mut self, record: usize, bytes: usize, why: &str) -> Result<()> {
        let record = self.kept.records.get(record).with_context(|| why.to_owned())?;
        let target = &mut self.targets[record.topic];
        if record.letter.is_some() && target.cut_below(bytes) {
            return Ok(());
        }
        Err(target.refuses(&self.settings, self.kept.key(record).unwrap_or_default(), bytes, why))
    }

    /// The epoch is delivered.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.sent = 0;
    }
}
