//! Corrected dead letters, put back into the topics that they came from: each once.
//!
//! A record that is put back carries a header that says of which record it is the correction: topic, partition, offset. It goes
//! to the partition of that record, so whoever reads the partition on from there finds all of them. They are written in
//! transactions of one transactional id. Whoever takes the id ends what another has left open, and only then looks for what is
//! back already: so of two that run at once, or of one that crashed and one that runs after it, no letter is put back twice.
//!
//! - [`letter`]: dead letters and corrections, read from lines and from a topic
//! - `scan`: what a topic holds of them

pub mod letter;
mod scan;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use crate::crash;
use crate::kafka::client::{Settings, refused};
use crate::kafka::deliveries::Deliveries;
use crate::kafka::limits::{BATCH, Limit};
use crate::kafka::topics;
use crate::shown::count;
use letter::{Cut, Letter, Place};
use scan::{Found, scan};

/// The header of a record that was put back: `TOPIC/PARTITION/OFFSET` of the record that it corrects.
pub const HEADER: &str = "__cutwater.reinjected";

/// The transactional id of all that is put back: one at a time.
const ID: &str = "cutwater-reinject";
/// Records of a transaction at most: it has to end within its time.
const TOGETHER: usize = 10_000;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(60);
/// How long to wait for room in the producer's queue at a time.
const ROOM: Duration = Duration::from_millis(5);

/// What to do about letters that need not, or must not, be put back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Leaves out those that were put back before, which is an error without this.
    pub skip: bool,
    /// Leaves out those whose key has a newer record.
    pub table: bool,
    /// Only looks.
    pub dry_run: bool,
}

/// What became of the letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Put back, or to be.
    pub back: u64,
    /// Left out: put back before.
    pub before: u64,
    /// Left out: their key has a newer record.
    pub newer: u64,
}

/// Puts letters back, each of which has a place of its own.
///
/// # Errors
/// If one was put back before and is not to be skipped, its topic or partition is not there, or the cluster does not answer or
/// refuses. What was put back until then is not put back once more by another call.
pub fn run(settings: &Settings, letters: Vec<Letter>, options: Options) -> Result<Outcome> {
    let client = settings.metadata()?;
    topics::connect(&client, settings)?;
    let mut by_topic: BTreeMap<String, Vec<Letter>> = BTreeMap::new();
    for letter in letters {
        by_topic.entry(letter.place.topic.clone()).or_default().push(letter);
    }
    let there = topics::list(&client)?;
    for (topic, letters) in &by_topic {
        let Some((_, partitions)) = there.iter().find(|(name, _)| name == topic) else {
            bail!("{}, from which a dead letter is", topics::missing(topic, &there));
        };
        if let Some(Letter { place, .. }) =
            letters.iter().find(|letter| letter.place.partition >= *partitions)
        {
            bail!("{place}: the topic has {}", count(partitions.unsigned_abs().into(), "partition"));
        }
    }
    let limits = by_topic.keys().map(|topic| Limit::of(&client, settings, topic).batch());
    let most = limits.min().unwrap_or(BATCH);
    // From here on no other puts anything back, and what others have left open has ended.
    let writer = if options.dry_run { None } else { Some(Writer::start(settings, most)?) };
    let (mut outcome, mut returning) = (Outcome::default(), Vec::new());
    for (topic, letters) in by_topic {
        let found = scan(settings, &topic, &letters)?;
        sort_out(letters, found, options, &mut outcome, &mut returning)?;
    }
    outcome.back = returning.len() as u64;
    if let Some(writer) = writer {
        returning.chunks(TOGETHER).try_for_each(|letters| writer.put_back(letters))?;
    }
    Ok(outcome)
}

/// A letter that is to be put back, with what its record was beside key and value.
struct Returning {
    letter: Letter,
    headers: OwnedHeaders,
}

/// Decides what is put back of a topic's letters.
fn sort_out(
    letters: Vec<Letter>,
    mut found: Found,
    options: Options,
    outcome: &mut Outcome,
    returning: &mut Vec<Returning>,
) -> Result<()> {
    if let (Some((place, offset)), false) = (found.back.first_key_value(), options.skip) {
        bail!(
            "{place} was put back before, at offset {offset}{}; nothing is put back now. --skip leaves those out",
            match found.back.len() as u64 - 1 {
                0 => String::new(),
                others => format!(", and {} with it", count(others, "other")),
            }
        );
    }
    let (mut timeless, mut superseded, mut broker_time) = (0, 0, 0);
    for mut letter in letters {
        if found.back.contains_key(&letter.place) {
            outcome.before += 1;
            continue;
        }
        if found.newer.contains(&letter.place) {
            if options.table {
                outcome.newer += 1;
                continue;
            }
            superseded += 1;
        }
        let was = found.records.remove(&letter.place);
        if was.is_none() {
            is_whole(&letter)?;
        }
        let was = was.unwrap_or_default();
        if letter.cut.value {
            letter.value = was.value;
        }
        broker_time += u64::from(was.is_broker_time);
        letter.timestamp = letter.timestamp.or(was.timestamp);
        letter.key = letter.key.or(Some(was.key));
        timeless += u64::from(letter.timestamp.is_none());
        let mut headers = was.headers;
        headers = headers.insert(Header { key: HEADER, value: Some(letter.place.tag().as_bytes()) });
        returning.push(Returning { letter, headers });
    }
    if timeless > 0 {
        tracing::warn!(
            "{}: when they were is not known, and they get the present time",
            count(timeless, "dead letter")
        );
    }
    if broker_time > 0 {
        tracing::warn!(
            "{}: the topic says itself when its records are (message.timestamp.type=LogAppendTime): those that are put back \
             are of the time at which they are, and not of the one at which they were",
            count(broker_time, "dead letter")
        );
    }
    if superseded > 0 {
        tracing::warn!(
            "{}: a newer record has the key. Where the input is a table, put back with --table, which leaves them out",
            count(superseded, "dead letter")
        );
    }
    Ok(())
}

/// An error if the letter of a record that is gone has only the first bytes of what was in it.
fn is_whole(letter: &Letter) -> Result<()> {
    let what = match letter.cut {
        Cut { value: true, .. } => "value",
        Cut { key: true, .. } => "key",
        Cut { key: false, value: false } => return Ok(()),
    };
    bail!(
        "{}: the dead letter has only the first bytes of the {what}, and the record is no longer there; nothing is put back \
         now. Say in FILE what its {what} was, in {what} or {what}_base64",
        letter.place
    )
}

/// The headers of a record, but for the one that says what it corrects.
fn kept(headers: &impl rdkafka::message::Headers) -> OwnedHeaders {
    let others = headers.iter().filter(|header| header.key != HEADER);
    others.fold(OwnedHeaders::new(), |all, Header { key, value }| all.insert(Header { key, value }))
}

/// Writes transactions.
struct Writer(ThreadedProducer<Deliveries>);

impl Writer {
    fn start(settings: &Settings, most: usize) -> Result<Self> {
        let mut config = settings.transactions(ID, most)?;
        // Each has the partition that it came from.
        config.remove("partitioner");
        let producer: ThreadedProducer<Deliveries> = config
            .create_with_context(Deliveries::default())
            .map_err(refused)
            .context("making a producer")?;
        producer.init_transactions(CALL).with_context(|| format!("starting transactions of {ID:?}"))?;
        Ok(Writer(producer))
    }

    /// Puts letters back, all or none.
    fn put_back(&self, letters: &[Returning]) -> Result<()> {
        self.0.begin_transaction().context("beginning a transaction")?;
        for returning in letters {
            self.send(returning).with_context(|| format!("putting {} back", returning.letter.place))?;
        }
        self.0.flush(CALL).context("waiting for acknowledgements")?;
        if let Some(failure) = self.0.context().first_failure() {
            let of = letters.get(failure.record).map_or_else(String::new, |of| of.letter.place.to_string());
            bail!("putting {of} back: {}; of this transaction, nothing is put back", failure.reason());
        }
        crash::point("reinject-sent");
        self.0.commit_transaction(CALL).context(
            "committing what was put back; it may be back, or not: the same command, once more, says so and puts back the rest",
        )?;
        crash::point("reinject-committed");
        Ok(())
    }

    fn send(&self, Returning { letter, headers }: &Returning) -> Result<()> {
        let Letter { place: Place { topic, partition, .. }, key, value, timestamp, number, .. } = letter;
        let mut record =
            BaseRecord::with_opaque_to(topic, *number).partition(*partition).headers(headers.clone());
        record.payload = value.as_deref();
        record.key = key.as_ref().and_then(|key| key.as_deref());
        record.timestamp = *timestamp;
        loop {
            match self.0.send::<[u8], [u8]>(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) if error.rdkafka_error_code() == Some(FULL) => {
                    std::thread::sleep(ROOM);
                    record = back;
                }
                Err((error, _)) => bail!("{}", crate::kafka::deliveries::reason(&error)),
            }
        }
    }
}

const FULL: rdkafka::error::RDKafkaErrorCode = rdkafka::error::RDKafkaErrorCode::QueueFull;
