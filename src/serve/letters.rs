//! `GET /v1/dead-letters`: the newest dead letters, and how many there were for which reason.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Json;
use axum::extract::{RawQuery, State};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::reasons::Reasons;
use serde::{Deserialize, Serialize};

use super::Service;
use super::answer::{Failed, Params};
use crate::kafka::topics::Pattern;
use crate::sink::{Change, Report, Sink};

/// Dead letters that are held.
const HELD: usize = 1000;
/// Bytes of a value, and of a key, that are held: multiples of three, which base 64 ends with.
const VALUE: usize = 4095;
const KEY: usize = 1023;
/// Characters of a reason that are held.
const REASON: usize = 500;
/// How many are shown unasked.
const SHOWN: u64 = 100;

/// The dead letters of a run, as far as they are held. Clones share them.
#[derive(Clone)]
pub struct Letters {
    inputs: Arc<BTreeMap<String, Vec<Pattern>>>,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    reasons: Reasons,
    /// The newest last.
    newest: VecDeque<Letter>,
}

/// A record that could not be decoded, or a row that its sink did not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Letter {
    epoch: Epoch,
    /// The input that reads its topic; null where that is none, or not one alone.
    input: Option<String>,
    topic: String,
    partition: i64,
    offset: i64,
    reason: String,
    /// Key and value in base 64; null where the record's are.
    key: Option<String>,
    bytes: Option<String>,
    /// There is more of them than what is held.
    truncated: bool,
}

/// A dead letter's row.
#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    partition: i64,
    offset: i64,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value_base64: Option<Cow<'a, str>>,
}

impl Letters {
    /// Of a run that reads these topics, by input.
    pub fn of(inputs: BTreeMap<String, Vec<Pattern>>) -> Self {
        Letters { inputs: Arc::new(inputs), held: Arc::default() }
    }

    /// A sink that holds the dead letters that it gets.
    pub fn sink(&self) -> Box<dyn Sink> {
        Box::new(Tap { letters: self.clone(), open: Held::default() })
    }

    /// The input that reads a topic, where it is one.
    fn input(&self, topic: &str) -> Option<String> {
        let mut reading = self.inputs.iter().filter(|(_, all)| all.iter().any(|one| one.matches(topic)));
        match (reading.next(), reading.next()) {
            (Some((input, _)), None) => Some(input.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn letter(&self, epoch: Epoch, row: Row<'_>) -> Letter {
        let (key, key_is_cut) = beginning(row.key_base64, KEY);
        let (bytes, value_is_cut) = beginning(row.value_base64, VALUE);
        Letter {
            epoch,
            input: self.input(&row.topic),
            topic: row.topic.into_owned(),
            partition: row.partition,
            offset: row.offset,
            reason: short(&row.reason).to_owned(),
            key,
            bytes,
            truncated: key_is_cut || value_is_cut,
        }
    }
}

impl Held {
    fn hold(&mut self, letter: Letter) {
        if self.newest.len() == HELD {
            self.newest.pop_front();
        }
        self.newest.push_back(letter);
    }
}

/// The beginning of a reason.
fn short(reason: &str) -> &str {
    reason.char_indices().nth(REASON).map_or(reason, |(end, _)| &reason[..end])
}

/// The first `most` bytes, in base 64, and whether there are more.
fn beginning(base64: Option<Cow<'_, str>>, most: usize) -> (Option<String>, bool) {
    let room = most / 3 * 4;
    match base64 {
        Some(text) if text.len() > room => (Some(text[..room].to_owned()), true),
        text => (text.map(Cow::into_owned), false),
    }
}

/// Holds dead letters of epochs once they are published.
struct Tap {
    letters: Letters,
    /// Those of the open epoch.
    open: Held,
}

impl Sink for Tap {
    fn write(&mut self, epoch: Epoch, _output: &str, changes: &[Change]) -> Result<()> {
        for (left, change) in (0..changes.len()).rev().zip(changes) {
            let row: Row<'_> = serde_json::from_slice(&change.row).context("a dead letter's row")?;
            self.open.reasons.add(&row.reason, change.diff.unsigned_abs());
            // Of a flood, the last ones.
            if left < HELD {
                self.open.hold(self.letters.letter(epoch, row));
            }
        }
        Ok(())
    }

    fn commit(&mut self, _epoch: Epoch, _reports: &[Report]) -> Result<()> {
        if self.open.newest.is_empty() {
            return Ok(());
        }
        let Held { reasons, newest } = std::mem::take(&mut self.open);
        let mut held = self.letters.lock();
        held.reasons.add_all(&reasons);
        newest.into_iter().for_each(|letter| held.hold(letter));
        Ok(())
    }
}

/// What is answered.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    total: u64,
    by_reason: Vec<Counted>,
    dead_letters: Vec<Letter>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Counted {
    reason: String,
    count: u64,
}

/// `GET /v1/dead-letters`.
pub(super) async fn answer(
    State(service): State<Service>,
    RawQuery(query): RawQuery,
) -> Result<Json<Answer>, Failed> {
    let params = Params::read(query.as_deref(), &["limit"])?;
    let limit = params.number("limit", 1, HELD as u64)?.unwrap_or(SHOWN) as usize;
    let held = service.letters().lock();
    let counted = |(reason, count): (&str, u64)| Counted { reason: reason.to_owned(), count };
    let mut by_reason: Vec<Counted> = held.reasons.iter().map(counted).collect();
    by_reason.sort_by_key(|counted| std::cmp::Reverse(counted.count));
    let dead_letters = held.newest.iter().rev().take(limit).cloned().collect();
    Ok(Json(Answer { total: held.reasons.total(), by_reason, dead_letters }))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn change(offset: usize, reason: &str, value: &[u8]) -> Change {
        let value = STANDARD.encode(value);
        let row = format!(
            r#"{{"topic":"t","partition":0,"offset":{offset},"timestamp":5,"reason":"{reason}","key_base64":null,"value_base64":"{value}"}}"#
        );
        Change { key: String::new().into(), row: row.into(), diff: 1 }
    }

    fn letters() -> Letters {
        let pattern = |text: &str| vec![Pattern::parse(text).unwrap()];
        Letters::of(BTreeMap::from([
            ("lines".to_owned(), pattern("^t.*")),
            ("other".to_owned(), pattern("u")),
        ]))
    }

    #[test]
    fn the_newest_are_held_once_their_epoch_is_published() {
        let letters = letters();
        let mut sink = letters.sink();
        let flood: Vec<Change> = (0..HELD + 5).map(|offset| change(offset, "bad", b"\xff")).collect();
        sink.write(3, "dead-letters", &flood).unwrap();
        assert_eq!(letters.lock().reasons.total(), 0);
        sink.commit(3, &[]).unwrap();
        sink.write(4, "dead-letters", &[change(9, "worse", &[7; VALUE + 1])]).unwrap();
        sink.commit(4, &[]).unwrap();
        let held = letters.lock();
        assert_eq!((held.reasons.total(), held.newest.len()), (HELD as u64 + 6, HELD));
        assert_eq!(short(&"ä".repeat(REASON + 1)).chars().count(), REASON);
        assert_eq!(held.newest.front().map(|letter| letter.offset), Some(6));
        let last = held.newest.back().unwrap();
        assert_eq!((last.epoch, last.offset, last.truncated), (4, 9, true));
        assert_eq!(last.input.as_deref(), Some("lines"));
        assert_eq!(STANDARD.decode(last.bytes.as_ref().unwrap()).unwrap(), [7; VALUE]);
        assert_eq!(held.newest[0].bytes.as_deref(), Some("/w=="));
    }

    #[test]
    fn a_topic_that_several_inputs_read_is_of_none_alone() {
        let pattern = |text: &str| vec![Pattern::parse(text).unwrap()];
        let letters =
            Letters::of(BTreeMap::from([("a".to_owned(), pattern("t")), ("b".to_owned(), pattern("^t"))]));
        assert_eq!((letters.input("t"), letters.input("u")), (None, None));
    }
}
