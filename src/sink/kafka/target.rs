//! A topic that is written to: how large a record it takes.

use anyhow::{Error, anyhow};
use rdkafka::consumer::BaseConsumer;

use crate::kafka::client::{Client, Settings};
use crate::kafka::limits::Limit;
use crate::shown::beginning;

/// Bytes that a record of a row has beside key, row and output's name.
const OVERHEAD: usize = 256;
/// The least that dead letters are cut to.
const LEAST: usize = 1000;

/// A topic that is written to.
pub(super) struct Target {
    pub(super) name: String,
    /// The output whose rows it gets; empty before the first.
    pub(super) output: String,
    /// The offsets that the epoch was read from, where its rows leave with them; else empty.
    pub(super) offsets: String,
    /// What it takes, as it said at the start.
    pub(super) limit: Limit,
    /// What dead letters are cut to, where the topic has refused some that it should have taken.
    cut: usize,
}

impl Target {
    /// A topic that is there.
    pub(super) fn find(client: &BaseConsumer<Client>, settings: &Settings, name: &str) -> Self {
        Target {
            name: name.to_owned(),
            output: String::new(),
            offsets: String::new(),
            limit: Limit::of(client, settings, name),
            cut: usize::MAX,
        }
    }

    /// The most bytes of a record, all told.
    pub(super) fn most(&self) -> usize {
        self.limit.bytes().min(self.cut)
    }

    /// The most bytes that the key and the row of a change may have together.
    pub(super) fn most_of_a_row(&self, output: &str) -> usize {
        self.most().saturating_sub(OVERHEAD + output.len() + self.offsets.len())
    }

    /// A dead letter with so many bytes of key and value was refused: cuts them to half. False if there is nothing to
    /// cut any more.
    pub(super) fn cut_below(&mut self, bytes: usize) -> bool {
        self.cut = self.most().min(bytes) / 2;
        self.cut >= LEAST
    }

    /// What to say of a row with so many bytes that was refused.
    pub(super) fn refuses(&self, settings: &Settings, key: &[u8], bytes: usize, why: &str) -> Error {
        // It may have changed since the start.
        let again = settings.metadata().map(|client| Limit::of(&client, settings, &self.name));
        let limit = again.unwrap_or(self.limit);
        let fits = limit.topic.is_some() && bytes + OVERHEAD <= limit.bytes();
        let batch = if fits { "; it was sent together with others: lower --set batch.size" } else { "" };
        anyhow!(
            "output {:?}: the row with key {}, {bytes} bytes, is larger than topic {} takes ({limit}): {why}{batch}. Raise \
             that limit, or have such rows become dead letters with --on-too-large dead-letter",
            self.output,
            beginning(key),
            self.name,
        )
    }
}
