//! Whose state it is: what a run must have in common with those before it, or its answers would be wrong.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use cutwater_dataflows::rows::Schema;
use serde::{Deserialize, Serialize};

use super::sealed::{seal, unseal};
use super::storage::Storage;
use crate::kafka::identity::Ids;

/// The file that says it.
pub const FILE: &str = "job.json";
/// The format of the state that this program writes and reads.
pub const FORMAT: u32 = 2;

/// A job as its state knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The format of the state: [`FORMAT`].
    pub format: u32,
    /// The job's identifier: [`new_id`] when the state was made.
    pub job: String,
    /// When the state was made: microseconds since the Unix epoch.
    pub created: u64,
    /// The dataflow's name.
    pub dataflow: String,
    /// Its options, as `Debug` shows them.
    pub options: String,
    /// The persisted collections' names, in the order in which they are built.
    pub collections: Vec<String>,
    /// The schemas of their rows, by name.
    pub types: BTreeMap<String, Schema>,
    /// The inputs, with the topics that they are bound to, as typed.
    pub inputs: BTreeMap<String, Vec<String>>,
    /// How those inputs are read that a format reads: its name and the envelope's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub formats: BTreeMap<String, String>,
    /// How far behind the watermark a record may come and still count, in microseconds; `None` where all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness: Option<u64>,
    /// The cluster's identifier, where the brokers tell it.
    pub cluster: Option<String>,
    /// The topics that are read, with their identifiers where the brokers tell them.
    pub topics: Ids,
    /// The topics that are written, likewise.
    #[serde(default, skip_serializing_if = "Ids::is_empty")]
    pub outputs: Ids,
    /// The consumer group.
    pub group: String,
}

/// A new identifier of a job: 128 random bits, in hexadecimal.
pub fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

impl Identity {
    /// The identity that is stored.
    ///
    /// # Errors
    /// If it is damaged, or of another format.
    pub fn load(storage: &dyn Storage) -> Result<Option<Identity>> {
        let Some(bytes) = storage.read(FILE, None)? else { return Ok(None) };
        let damaged = |why: String| {
            anyhow!(
                "{}/{FILE} is damaged: {why}: put a copy of it back, or use another state folder",
                storage.place()
            )
        };
        let line = bytes.strip_suffix(b"\n").ok_or_else(|| damaged("its end is missing".to_owned()))?;
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = unseal(line).map_err(damaged)?;
        ensure!(
            format == FORMAT,
            "the state {} has format {format}{}, this program reads format {FORMAT}: resume it with the program that \
             wrote it, or begin with another state folder",
            storage.place(),
            if format == 1 { ", that of Cutwater 0.1" } else { "" }
        );
        unseal(line).map_err(damaged).map(Some)
    }

    /// The identity of the state, which is this one where none is stored. Topics that are new, and identifiers that
    /// were not known, are added to what is stored.
    ///
    /// # Errors
    /// If the state is of another job, see [`Identity::check`], or can't be read or written.
    pub fn adopt(self, storage: &dyn Storage) -> Result<Identity> {
        let mut stored = match Identity::load(storage)? {
            Some(stored) => stored,
            None if storage.create(FILE, &seal(&self))? => return Ok(self),
            None => Identity::load(storage)?
                .ok_or_else(|| anyhow!("{}/{FILE} was made and removed by another", storage.place()))?,
        };
        stored.check(&self, &storage.place())?;
        let before = stored.clone();
        stored.cluster = stored.cluster.or(self.cluster);
        learn(&mut stored.topics, self.topics);
        learn(&mut stored.outputs, self.outputs);
        if stored != before {
            storage.put(FILE, &seal(&stored))?;
        }
        Ok(stored)
    }

    /// Topics that join: returns when they are stored, where they are new.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn join(&mut self, topics: Ids, storage: &dyn Storage) -> Result<()> {
        if learn(&mut self.topics, topics) {
            storage.put(FILE, &seal(self))?;
        }
        Ok(())
    }

    /// Compares a run with the state at `place` that it is to resume from: this one is what is stored.
    ///
    /// # Errors
    /// Names all that differs, and what to do.
    pub fn check(&self, now: &Identity, place: &str) -> Result<()> {
        let mut wrong = Vec::new();
        if self.dataflow != now.dataflow {
            wrong.push(format!("it is of dataflow {}, this run is of {}", self.dataflow, now.dataflow));
        } else {
            let mut differs = |what: &str, stored: &dyn Debug, given: &dyn Debug| {
                let (stored, given) = (format!("{stored:?}"), format!("{given:?}"));
                if stored != given {
                    wrong.push(format!("{what} were {stored}, now {given}"));
                }
            };
            differs("the dataflow's options", &Plain(&self.options), &Plain(&now.options));
            differs("the persisted collections", &self.collections, &now.collections);
            differs("the inputs' topics", &self.inputs, &now.inputs);
            differs("the inputs' formats", &self.formats, &now.formats);
            if self.lateness != now.lateness {
                let [stored, given] = [self.lateness, now.lateness].map(|lateness| match lateness {
                    Some(micros) => humantime::format_duration(Duration::from_micros(micros)).to_string(),
                    None => "unlimited".to_owned(),
                });
                wrong.push(format!("the lateness was {stored}, now it is {given}"));
            }
            for (collection, rows) in &now.types {
                if let Some(how) = self.types.get(collection).and_then(|stored| stored.difference(rows)) {
                    wrong.push(format!("of the rows of collection {collection:?}, {how}"));
                }
            }
        }
        if self.group != now.group {
            wrong.push(format!("the consumer group was {}, now {}", self.group, now.group));
        }
        if let (Some(stored), Some(given)) = (&self.cluster, &now.cluster)
            && stored != given
        {
            wrong.push(format!("its records came from cluster {stored}, the brokers are of cluster {given}"));
        } else {
            let recreated = "was deleted and recreated";
            for (topic, stored, given) in differing(&self.topics, &now.topics) {
                wrong.push(format!(
                    "topic {topic} {recreated} (its id was {stored}, now {given}), so the offsets of the state mean \
                     other records"
                ));
            }
            for (topic, stored, given) in differing(&self.outputs, &now.outputs) {
                wrong.push(format!(
                    "output topic {topic} {recreated} (its id was {stored}, now {given}), so it lacks what the job has \
                     written before"
                ));
            }
        }
        if !wrong.is_empty() {
            bail!(
                "the state {place} doesn't fit this run: {}. Run as before, with the program of then, or start from the \
                 beginning with another state folder",
                wrong.join("; ")
            );
        }
        Ok(())
    }
}

/// Adds topics that are new, and ids that were not known. True iff there were any.
fn learn(known: &mut Ids, now: Ids) -> bool {
    let mut learned = false;
    for (topic, id) in now {
        learned |= known.get(&topic).is_none_or(|known| known.is_none() && id.is_some());
        let known = known.entry(topic).or_default();
        *known = known.take().or(id);
    }
    learned
}

/// The topics whose ids are known on both sides, and differ: with both.
fn differing<'a>(stored: &'a Ids, now: &'a Ids) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    now.iter().filter_map(|(topic, given)| {
        let (stored, given) = (stored.get(topic)?.as_deref()?, given.as_deref()?);
        (stored != given).then_some((topic.as_str(), stored, given))
    })
}

/// Text that is shown as it is.
struct Plain<'a>(&'a str);

impl Debug for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cutwater_dataflows::rows::Text;

    use super::*;
    use crate::state::storage::fake::FakeDisk;
    use crate::state::storage::files::Files;

    fn files() -> Files {
        Files::new(Arc::new(FakeDisk::new(0)))
    }

    fn identity() -> Identity {
        Identity {
            format: FORMAT,
            job: new_id(),
            created: 1,
            dataflow: "word-count".to_owned(),
            options: "WordCount { tokenizer: Unicode }".to_owned(),
            collections: vec!["words".to_owned()],
            types: BTreeMap::from([("words".to_owned(), Schema::of::<Text>())]),
            inputs: BTreeMap::from([("lines".to_owned(), vec!["^t.*".to_owned()])]),
            formats: BTreeMap::from([("lines".to_owned(), "json+append".to_owned())]),
            lateness: None,
            cluster: None,
            topics: BTreeMap::from([("t1".to_owned(), Some("id1".to_owned())), ("t2".to_owned(), None)]),
            outputs: BTreeMap::from([("o".to_owned(), Some("out1".to_owned()))]),
            group: "g".to_owned(),
        }
    }

    #[test]
    fn the_first_identity_stays_and_learns() {
        let files = files();
        let first = identity().adopt(&files).unwrap();
        assert_eq!(Identity::load(&files).unwrap().unwrap(), first);
        let mut second = identity();
        second.cluster = Some("c".to_owned());
        second.topics.insert("t2".to_owned(), Some("id2".to_owned()));
        second.topics.insert("t3".to_owned(), Some("id3".to_owned()));
        second.topics.remove("t1");
        let second = second.adopt(&files).unwrap();
        assert_eq!(second.job, first.job);
        assert_eq!(second.cluster.as_deref(), Some("c"));
        let topics: Vec<_> = second.topics.values().map(|id| id.clone().unwrap()).collect();
        assert_eq!(topics, ["id1", "id2", "id3"]);
        assert_eq!(Identity::load(&files).unwrap().unwrap(), second);
    }

    #[test]
    fn each_difference_is_named_with_both_sides() {
        type Change = fn(&mut Identity);
        let cases: [(Change, &[&str]); 11] = [
            (|now| now.dataflow = "other".into(), &["dataflow word-count", "of other"]),
            (|now| now.options = "WordCount { tokenizer: Whitespace }".into(), &["Unicode", "Whitespace"]),
            (|now| now.collections.clear(), &["collections", "[\"words\"]", "[]"]),
            (
                |now| drop(now.types.insert("words".into(), Schema::of::<(Text, i64)>())),
                &["rows of collection \"words\"", "was text, now it is (text, i64)"],
            ),
            (|now| now.inputs.clear(), &["topics", "^t.*"]),
            (
                |now| drop(now.formats.insert("lines".into(), "json+upsert".into())),
                &["formats were {\"lines\": \"json+append\"}", "now {\"lines\": \"json+upsert\"}"],
            ),
            (|now| now.lateness = Some(90_000_000), &["the lateness was unlimited, now it is 1m 30s"]),
            (|now| now.group = "h".into(), &["group was g, now h"]),
            (|now| now.cluster = Some("d".into()), &["cluster c", "cluster d"]),
            (
                |now| {
                    now.topics.insert("t1".into(), Some("id9".into()));
                },
                &["topic t1", "recreated", "id1", "id9"],
            ),
            (
                |now| {
                    now.outputs.insert("o".into(), Some("out9".into()));
                },
                &["output topic o", "recreated", "out1", "out9", "lacks"],
            ),
        ];
        let stored = Identity { cluster: Some("c".to_owned()), ..identity() };
        stored.check(&identity(), "dir").unwrap();
        for (change, texts) in cases {
            let mut now = stored.clone();
            change(&mut now);
            let error = stored.check(&now, "dir").unwrap_err().to_string();
            for text in texts.iter().chain(&["the state dir", "another state folder"]) {
                assert!(error.contains(text), "{text} in {error}");
            }
            let files = files();
            stored.clone().adopt(&files).unwrap();
            assert!(now.adopt(&files).is_err());
            assert_eq!(Identity::load(&files).unwrap().unwrap(), stored, "it is as it was");
        }
    }

    #[test]
    fn damage_is_an_error_and_so_is_another_format() {
        let files = files();
        let bytes = seal(&identity());
        let mut damaged: Vec<Vec<u8>> = (0..bytes.len()).map(|length| bytes[..length].to_vec()).collect();
        damaged.extend((0..bytes.len() * 8).map(|bit| {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        }));
        for damaged in damaged {
            files.put(FILE, &damaged).unwrap();
            let error = Identity::load(&files).unwrap_err().to_string();
            assert!(error.contains("fake/job.json is damaged"), "{error}");
        }
        for (format, text) in [(1, "format 1, that of Cutwater 0.1"), (FORMAT + 1, "format 3")] {
            files.put(FILE, &seal(&Identity { format, ..identity() })).unwrap();
            let error = Identity::load(&files).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("another state folder"), "{error}");
        }
    }
}
