//! The worker's side: records of all partitions of a feed, as the connections hand them over.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use cutwater_dataflows::record::{Headers, Record};
use rdkafka::types::RDKafkaErrorCode;

use super::super::reader::{Handed, Kept};
use super::batch::{Raw, RawHeaders};
use super::chunk::Cursor;
use super::codecs::Codecs;
use super::parts::{Item, Parts};
use crate::kafka::native::batch::Event;

/// Reads partitions. The connections end when this is dropped.
pub(in super::super) struct Reader {
    parts: Arc<Parts>,
    /// By slot.
    names: Vec<(Arc<str>, i32)>,
    slots: HashMap<Arc<str>, HashMap<i32, usize>>,
    paused: Vec<bool>,
    /// The chunk that is read, of each slot that has one.
    cursors: Vec<Option<Reading>>,
    /// The slots with a chunk: several only where some of them rest.
    open: Vec<usize>,
    codecs: Codecs,
    /// Memory to expand into.
    spare: Vec<Vec<u8>>,
}

struct Reading {
    cursor: Cursor,
    after: i64,
    broker: i32,
}

/// What a partition has, for the length of a call.
pub(in super::super) struct Given<'a> {
    name: &'a (Arc<str>, i32),
    what: What<'a>,
    broker: i32,
    follows: bool,
}

enum What<'a> {
    Record(Raw<'a>),
    Passed(i64),
    End(i64),
    Error { code: RDKafkaErrorCode, text: String, offset: i64 },
}

impl Handed for Given<'_> {
    fn topic(&self) -> &str {
        &self.name.0
    }

    fn partition(&self) -> i32 {
        self.name.1
    }

    fn broker(&self) -> Option<i32> {
        (self.broker >= 0).then_some(self.broker)
    }

    #[inline]
    fn follows(&self) -> bool {
        self.follows
    }

    #[inline]
    fn event(&self) -> Event<'_> {
        match &self.what {
            What::Record(raw) => Event::Record(record(self.name, raw)),
            What::Passed(offset) => Event::Passed { offset: *offset },
            What::End(offset) => Event::End { offset: *offset },
            What::Error { code, text, offset } => Event::Error {
                topic: self.topic(),
                partition: self.partition(),
                offset: *offset,
                code: *code,
                text: text.clone(),
            },
        }
    }

    fn keep(self) -> Kept {
        let (raw, name) = match self.what {
            What::Record(raw) => (raw, self.name.clone()),
            _ => (
                Raw { offset: -1, timestamp: -1, key: None, value: None, headers: RawHeaders(&[]) },
                self.name.clone(),
            ),
        };
        Kept::Copied(Copied {
            name,
            offset: raw.offset,
            timestamp: raw.timestamp,
            key: raw.key.map(Into::into),
            value: raw.value.map(Into::into),
            headers: raw.headers.0.into(),
        })
    }
}

fn record<'a>((topic, partition): &'a (Arc<str>, i32), raw: &'a Raw<'a>) -> Record<'a> {
    Record {
        topic,
        partition: *partition,
        offset: raw.offset,
        timestamp: (raw.timestamp >= 0).then_some(raw.timestamp),
        key: raw.key,
        value: raw.value,
        headers: &raw.headers,
    }
}

/// A record that was copied.
pub(in super::super) struct Copied {
    name: (Arc<str>, i32),
    offset: i64,
    timestamp: i64,
    key: Option<Box<[u8]>>,
    value: Option<Box<[u8]>>,
    headers: Box<[u8]>,
}

impl Copied {
    /// What it is.
    pub(in super::super) fn event(&self) -> Event<'_> {
        Event::Record(Record {
            topic: &self.name.0,
            partition: self.name.1,
            offset: self.offset,
            timestamp: (self.timestamp >= 0).then_some(self.timestamp),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: self,
        })
    }
}

impl Headers for Copied {
    fn last(&self, name: &str) -> Option<&[u8]> {
        RawHeaders(&self.headers).find(name)
    }
}

impl Reader {
    /// Without partitions yet. Batches expand to at most so many bytes.
    ///
    /// # Errors
    /// If there is no memory.
    pub(super) fn new(parts: Arc<Parts>, most: usize) -> Result<Self> {
        Ok(Reader {
            parts,
            names: Vec::new(),
            slots: HashMap::new(),
            paused: Vec::new(),
            cursors: Vec::new(),
            open: Vec::new(),
            codecs: Codecs::new(most)?,
            spare: Vec::new(),
        })
    }

    /// Takes partitions on, from offsets; those that are there already are moved.
    pub(in super::super) fn assign<'a>(&mut self, partitions: impl Iterator<Item = (&'a str, i32, i64)>) {
        let parts = Arc::clone(&self.parts);
        let mut state = parts.lock();
        for (topic, partition, next) in partitions {
            if let Some(slot) = self.slot(topic, partition) {
                self.drop_cursor(slot);
                state.seek(slot, next);
                self.paused[slot] = false;
                state.pause(slot, false);
                continue;
            }
            let topic: Arc<str> = match self.names.last() {
                Some((last, _)) if last.as_ref() == topic => Arc::clone(last),
                _ => Arc::from(topic),
            };
            let slot = state.add(Arc::clone(&topic), partition, next);
            self.slots.entry(Arc::clone(&topic)).or_default().insert(partition, slot);
            self.names.push((topic, partition));
            self.paused.push(false);
            self.cursors.push(None);
        }
        drop(state);
        parts.changed();
    }

    fn slot(&self, topic: &str, partition: i32) -> Option<usize> {
        self.slots.get(topic)?.get(&partition).copied()
    }

    /// Has partitions rest, or go on.
    pub(in super::super) fn pause<'a>(
        &mut self,
        partitions: impl Iterator<Item = (&'a str, i32)>,
        pause: bool,
    ) {
        let mut state = self.parts.lock();
        for (topic, partition) in partitions {
            if let Some(slot) = self.slot(topic, partition) {
                self.paused[slot] = pause;
                state.pause(slot, pause);
            }
        }
        drop(state);
        self.parts.changed();
    }

    /// The end of a partition, open transactions included, as last heard from its leader; `None` before that.
    pub(in super::super) fn known_end(&self, topic: &str, partition: i32) -> Option<i64> {
        let slot = self.slot(topic, partition)?;
        self.parts.lock().high(slot)
    }

    fn drop_cursor(&mut self, slot: usize) {
        if let Some(reading) = self.cursors[slot].take() {
            self.open.retain(|open| *open != slot);
            self.spare.push(reading.cursor.into_spare());
        }
    }

    /// Gives what is there to `each`, without waiting, at most `most` records and other events. Returns how many that were:
    /// fewer than asked for means that nothing is there for now.
    ///
    /// # Errors
    /// What ends the run.
    pub(in super::super) fn poll(&mut self, most: usize, each: &mut dyn FnMut(Given<'_>)) -> Result<usize> {
        let mut given = 0;
        while given < most {
            match self.open.iter().rposition(|&slot| !self.paused[slot]) {
                Some(index) => given += self.read(self.open[index], most - given, each),
                None => match self.take(each)? {
                    Some(more) => given += more,
                    None => break,
                },
            }
        }
        Ok(given)
    }

    /// Takes what the connections have handed over; `None` if that is nothing. Returns how much was given of it.
    fn take(&mut self, each: &mut dyn FnMut(Given<'_>)) -> Result<Option<usize>> {
        let mut state = self.parts.lock();
        if let Some(fault) = state.fault.take() {
            return Err(fault);
        }
        let Some((slot, item, more)) = state.take() else { return Ok(None) };
        drop(state);
        if more {
            self.parts.changed();
        }
        let what = match item {
            Item::Chunk { chunk, after, broker } => {
                let spare = self.spare.pop().unwrap_or_default();
                self.cursors[slot] = Some(Reading { cursor: Cursor::new(chunk, spare), after, broker });
                self.open.push(slot);
                return Ok(Some(0));
            }
            Item::End(offset) => What::End(offset),
            Item::Error { code, text, offset } => What::Error { code, text, offset },
        };
        each(Given { name: &self.names[slot], what, broker: -1, follows: false });
        Ok(Some(1))
    }

    /// Gives records of the chunk of a slot, and closes it at its end.
    fn read(&mut self, slot: usize, most: usize, each: &mut dyn FnMut(Given<'_>)) -> usize {
        let Reader { cursors, codecs, names, .. } = self;
        let name = &names[slot];
        let Some(Reading { cursor, after, broker }) = &mut cursors[slot] else { return 0 };
        let broker = *broker;
        for given in 0..most {
            let what = match cursor.next(codecs) {
                Ok(Some(raw)) => What::Record(raw),
                Ok(None) => What::Passed(*after),
                Err(wrong) => What::Error { code: wrong.code, text: wrong.text, offset: cursor.place() },
            };
            let ends = !matches!(what, What::Record(_));
            each(Given { name, what, broker, follows: given > 0 });
            if ends {
                self.drop_cursor(slot);
                return given + 1;
            }
        }
        most
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.parts.lock().closed = true;
        self.parts.changed();
    }
}
