//! Dead letters, and their corrections: from lines, and from a topic.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rdkafka::message::{Headers as _, Message as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::scan::each;
use crate::kafka::client::Settings;
use crate::kafka::topics;
use crate::sink::cut_letter::cut_from;
use crate::sink::kafka::LETTER_TIMESTAMP;

/// Where a record is: the identity of its dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl Place {
    /// As the header of a record that was put back has it.
    pub fn tag(&self) -> String {
        let Place { topic, partition, offset } = self;
        format!("{topic}/{partition}/{offset}")
    }

    /// Reads what [`Place::tag`] writes.
    pub fn of_tag(tag: &[u8]) -> Option<Place> {
        let mut parts = std::str::from_utf8(tag).ok()?.rsplitn(3, '/');
        let (offset, partition) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Place { topic: parts.next()?.to_owned(), partition, offset })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} partition {} offset {}", self.topic, self.partition, self.offset)
    }
}

/// A dead letter, or what is known of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// Where its record is.
    pub place: Place,
    /// The record's key, where that is known; a null key is one.
    pub key: Option<Option<Vec<u8>>>,
    /// Its value; `None` is a null value.
    pub value: Option<Vec<u8>>,
    /// False where nothing is said of the value.
    pub has_value: bool,
    /// What the letter has only the first bytes of: it is taken from the record at its place.
    pub cut: Cut,
    /// Milliseconds since the Unix epoch, where that is known.
    pub timestamp: Option<i64>,
    /// Its number among those that are put back.
    pub number: usize,
}

/// What of a record is not whole in its letter, since the sink of the letters did not take as much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Its key.
    pub key: bool,
    /// Its value.
    pub value: bool,
}

impl Cut {
    /// What the letter's reason says of these bytes.
    fn said(reason: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let is_cut = |what, bytes: Option<&[u8]>| {
            bytes.is_some_and(|bytes| reason.contains(&cut_from(what, bytes.len())))
        };
        Cut { key: is_cut("key", key), value: is_cut("value", value) }
    }
}

impl Letter {
    /// Leaves out what is cut, of what may be: its first bytes are of no use.
    fn without_cut(mut self, reason: &str, may_be: Cut) -> Letter {
        let said = Cut::said(reason, self.key.as_ref().and_then(|key| key.as_deref()), self.value.as_deref());
        self.cut = Cut { key: said.key && may_be.key, value: said.value && may_be.value };
        self.key = self.key.filter(|_| !self.cut.key);
        self.value = self.value.filter(|_| !self.cut.value);
        self
    }

    /// The letter with what a correction says.
    fn corrected(mut self, by: Letter) -> Letter {
        if by.has_value {
            (self.value, self.has_value) = (by.value, true);
            self.cut.value = by.cut.value;
        }
        self.cut.key &= by.key.is_none();
        self.key = by.key.or(self.key);
        self.timestamp = by.timestamp.or(self.timestamp);
        self
    }
}

/// A line: a dead letter's row, as sinks write it, or as people have edited it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, deserialize_with = "there")]
    key: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "there")]
    key_base64: Option<Option<String>>,
    #[serde(default, deserialize_with = "there")]
    value: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "there")]
    value_base64: Option<Option<String>>,
}

/// A row with its epoch, as `--emit changes` has it.
#[derive(Deserialize)]
struct Change {
    row: Box<RawValue>,
}

/// What is there, null included: what is missing is `None`.
fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// The bytes that a field says: text or JSON as it stands goes before base 64.
fn bytes(
    name: &str,
    text: Option<Box<RawValue>>,
    base64: Option<Option<String>>,
) -> Result<Option<Option<Vec<u8>>>> {
    Ok(match (text, base64) {
        (Some(text), _) => Some(match text.get() {
            "null" => None,
            string if string.starts_with('"') => Some(serde_json::from_str::<String>(string)?.into_bytes()),
            json => Some(json.as_bytes().to_vec()),
        }),
        (None, Some(Some(text))) => {
            let bytes = STANDARD.decode(text).map_err(|error| anyhow!("{name}_base64: {error}"))?;
            Some(Some(bytes))
        }
        (None, Some(None)) => Some(None),
        (None, None) => None,
    })
}

/// The letter that a line is.
///
/// # Errors
/// If it is none: it names the field.
pub fn read(line: &str) -> Result<Letter> {
    let row = match serde_json::from_str::<Change>(line) {
        Ok(change) => serde_json::from_str(change.row.get()),
        Err(_) => serde_json::from_str(line),
    };
    let Row { topic, partition, offset, timestamp, reason, key, key_base64, value, value_base64 } = row?;
    if partition < 0 || offset < 0 {
        bail!(
            "it is a row of an output that its sink did not take, not a record: it has no place to be put back to"
        );
    }
    let place = Place { topic, partition, offset };
    // Sinks write base 64: what is there as text, a person has written.
    let may_be_cut = Cut { key: key.is_none(), value: value.is_none() };
    let key = bytes("key", key, key_base64)?;
    let value = bytes("value", value, value_base64)?;
    let has_value = value.is_some();
    let letter = Letter { place, key, value: value.flatten(), has_value, timestamp, ..Letter::default() };
    Ok(letter.without_cut(&reason.unwrap_or_default(), may_be_cut))
}

/// The letters in lines of a file of this name. Empty lines are none.
///
/// # Errors
/// If a line is none, or two are of the same record: it names file and line.
pub fn read_all(name: &str, text: &str) -> Result<Vec<Letter>> {
    let mut letters: BTreeMap<Place, (usize, Letter)> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let letter = read(line).with_context(|| format!("{name}:{number}: this is no dead letter"))?;
        let place = letter.place.clone();
        if let Some((before, _)) = letters.insert(place.clone(), (number, letter)) {
            bail!("{name}:{number}: line {before} is of the same record, {place}");
        }
    }
    let mut letters: Vec<_> = letters.into_values().collect();
    letters.sort_by_key(|(number, _)| *number);
    Ok(letters.into_iter().map(|(_, letter)| letter).collect())
}

/// The dead letters that a topic holds, as its headers say what they are.
///
/// # Errors
/// If the cluster does not answer, or there is no such topic.
pub fn of_topic(settings: &Settings, topic: &str) -> Result<Vec<Letter>> {
    let client = settings.metadata()?;
    topics::connect(&client, settings)?;
    let all = topics::list(&client)?;
    let Some((_, partitions)) = all.iter().find(|(name, _)| name == topic) else {
        bail!("--dead-letters kafka:{topic}: {}", topics::missing(topic, &all));
    };
    let mut letters = BTreeMap::new();
    let mut others = 0u64;
    each(settings, topic, (0..*partitions).map(|partition| (partition, 0)), |record| {
        let named = |name: &str| -> Option<&str> {
            let header = record.headers()?.iter().find(|header| header.key == name)?;
            std::str::from_utf8(header.value?).ok()
        };
        let header = |name: &str| named(&format!("__streams.errors.{name}"));
        let place = || {
            let (partition, offset) = (header("partition")?.parse().ok()?, header("offset")?.parse().ok()?);
            Some(Place { topic: header("topic")?.to_owned(), partition, offset })
        };
        match place() {
            Some(place) if place.partition >= 0 => {
                let key = Some(record.key().map(<[u8]>::to_vec));
                let value = record.payload().map(<[u8]>::to_vec);
                let timestamp = named(LETTER_TIMESTAMP).and_then(|time| time.parse().ok());
                let place_of = place.clone();
                let letter = Letter { place, key, value, has_value: true, timestamp, ..Letter::default() };
                letters.insert(
                    place_of,
                    letter.without_cut(header("message").unwrap_or_default(), Cut { key: true, value: true }),
                );
            }
            _ => others += 1,
        }
    })?;
    if others > 0 {
        tracing::warn!("topic {topic}: {others} records are no dead letters of records, and are left out");
    }
    Ok(letters.into_values().collect())
}

/// The corrections, each with what its dead letter has beside; without corrections, the dead letters as they are.
///
/// # Errors
/// If a correction is of no dead letter, or says nothing of the value.
pub fn corrected(
    letters: Vec<Letter>,
    corrections: Option<Vec<Letter>>,
    source: &str,
) -> Result<Vec<Letter>> {
    let mut all: Vec<Letter> = match corrections {
        None => letters,
        Some(corrections) => {
            let mut known: BTreeMap<Place, Letter> =
                letters.into_iter().map(|letter| (letter.place.clone(), letter)).collect();
            let correct = |correction: Letter| {
                let letter = known.remove(&correction.place);
                let letter = letter.with_context(|| {
                    format!("{} is not among the dead letters of {source}", correction.place)
                })?;
                if !correction.has_value {
                    bail!("the correction of {} has neither value nor value_base64", correction.place);
                }
                Ok(letter.corrected(correction))
            };
            corrections.into_iter().map(correct).collect::<Result<_>>()?
        }
    };
    if let Some(letter) = all.iter().find(|letter| !letter.has_value) {
        bail!("the dead letter of {} has neither value nor value_base64", letter.place);
    }
    all.iter_mut().enumerate().for_each(|(number, letter)| letter.number = number);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn places_are_read_back() {
        let place = Place { topic: "a/b".into(), partition: 3, offset: 7 };
        assert_eq!(Place::of_tag(place.tag().as_bytes()), Some(place));
        for wrong in ["", "a/1", "a/x/1", "a/1/x"] {
            assert_eq!(Place::of_tag(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_is_a_row_bare_or_as_a_change_and_text_goes_before_base64() {
        let row = r#"{"topic":"t","partition":3,"offset":7,"timestamp":5,"reason":"bad","key_base64":null,"value_base64":"/wA="}"#;
        let letter = read(row).unwrap();
        assert_eq!((letter.key.clone(), letter.value.clone()), (Some(None), Some(vec![0xff, 0])));
        assert_eq!(read(&format!(r#"{{"epoch":1,"output":"x","diff":1,"row":{row}}}"#)).unwrap(), letter);
        let value = |field: &str| {
            let line = format!(r#"{{"topic":"t","partition":0,"offset":7,"value_base64":"AA==",{field}}}"#);
            text(read(&line).unwrap().value)
        };
        assert_eq!(value(r#""value":"a\nb""#).as_deref(), Some("a\nb"));
        assert_eq!(value(r#""value":{"price": 0.10}"#).as_deref(), Some(r#"{"price": 0.10}"#));
        assert_eq!(value(r#""value":null"#), None);
        for (line, says) in [
            (r#"{"topic":"t","partition":0,"offset":7,"vlaue":"x"}"#, "vlaue"),
            (r#"{"topic":"t","partition":0}"#, "offset"),
            (r#"{"topic":"t","partition":-1,"offset":-1,"value":"x"}"#, "no place"),
            (r#"{"topic":"t","partition":0,"offset":7,"value_base64":"?"}"#, "value_base64"),
        ] {
            let error = format!("{:#}", read(line).unwrap_err());
            assert!(error.contains(says), "{says} in {error}");
        }
    }

    #[test]
    fn what_is_cut_is_not_put_back_unless_a_person_says_what_it_is() {
        let line = |fields: &str| {
            let reason =
                "bad; only the first 2 of the key's 9 bytes; only the first 1 of the value's 8 bytes";
            format!(r#"{{"topic":"t","partition":0,"offset":7,"reason":"{reason}",{fields}}}"#)
        };
        let cut = line(r#""key_base64":"a2s=","value_base64":"eA==""#);
        let letters = || read_all("dead", &cut).unwrap();
        let letter = read(&cut).unwrap();
        assert_eq!((letter.cut, letter.key, letter.value), (Cut { key: true, value: true }, None, None));
        assert!(letter.has_value, "it is to be had where the record is");
        let correct = |fields: &str| {
            corrected(letters(), Some(read_all("file", &line(fields)).unwrap()), "dead").unwrap().remove(0)
        };
        let fixed = correct(r#""key_base64":"a2s=","value":"y""#);
        assert_eq!(
            (fixed.cut, fixed.key, text(fixed.value)),
            (Cut { key: true, value: false }, None, Some("y".into()))
        );
        let fixed = correct(r#""key":"k","value_base64":"eA==""#);
        assert_eq!((fixed.cut, fixed.key), (Cut { key: false, value: true }, Some(Some(b"k".to_vec()))));
        // Of other sizes than it says, they are what a person wrote.
        let fixed = correct(r#""key_base64":"aw==","value_base64":"eHg=""#);
        assert_eq!(fixed.cut, Cut::default());
    }

    #[test]
    fn corrections_take_from_the_letter_what_they_do_not_say() {
        let letters = || {
            read_all("dead", r#"{"topic":"t","partition":0,"offset":7,"timestamp":5,"key_base64":"aw==","value_base64":"eA=="}"#)
                .unwrap()
        };
        let correct = |line: &str| corrected(letters(), Some(read_all("file", line)?), "dead");
        let fixed = correct(r#"{"topic":"t","partition":0,"offset":7,"value":"y"}"#).unwrap();
        assert_eq!(fixed[0].key, Some(Some(b"k".to_vec())));
        assert_eq!((fixed[0].timestamp, text(fixed[0].value.clone())), (Some(5), Some("y".into())));
        let error = |line: &str| format!("{:#}", correct(line).unwrap_err());
        assert!(error(r#"{"topic":"t","partition":0,"offset":8,"value":"y"}"#).contains("not among"));
        assert!(error(r#"{"topic":"t","partition":0,"offset":7}"#).contains("neither value"));
        let twice = r#"{"topic":"t","partition":0,"offset":7,"value":"y"}"#;
        assert!(error(&format!("{twice}\n\n{twice}")).starts_with("file:3: line 1 is of the same record"));
        assert_eq!(corrected(letters(), None, "dead").unwrap(), letters());
    }
}
