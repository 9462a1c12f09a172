//! A committed reader of word-count's output.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::bare::Bare;
use super::broker::Topic;
use super::latency::Seen;
use super::rows::Row;
use super::workload::Word;
use crate::kafka::client::Settings;
use crate::time::micros_since_epoch;

/// How often to look whether it is connected.
const LOOK: Duration = Duration::from_millis(2);

/// Reads the output in a thread of its own.
pub(super) struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<Vec<Seen>>>>,
}

#[derive(Default)]
struct Shared {
    /// The sum of all words' last counts.
    total: AtomicU64,
    /// It is connected.
    open: AtomicBool,
    stop: AtomicBool,
}

impl Reader {
    /// Starts to read `topic`, whose rows are of these words.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(settings: &Settings, topic: &Topic, words: Arc<Vec<String>>) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (settings, name, partitions) = (settings.clone(), topic.name.clone(), topic.partitions);
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("cutwater:reader".into())
                .spawn(move || read(&settings, &name, partitions, &words, &shared))
                .context("starting the reader's thread")?
        };
        Ok(Reader { shared, thread: Some(thread) })
    }

    /// Returns when it is connected, and has all its threads.
    ///
    /// # Errors
    /// What it met.
    pub(super) fn await_open(&mut self) -> Result<()> {
        while !self.shared.open.load(Ordering::Acquire) {
            self.check()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// How many words are counted, in the rows that are visible.
    pub(super) fn total(&self) -> u64 {
        self.shared.total.load(Ordering::Acquire)
    }

    /// Fails if reading has.
    ///
    /// # Errors
    /// What it met.
    pub(super) fn check(&mut self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join()?;
            bail!("the reader of the output has ended");
        }
        Ok(())
    }

    /// Ends reading. Returns all rows in the order in which they became visible.
    ///
    /// # Errors
    /// What it met.
    pub(super) fn end(mut self) -> Result<Vec<Seen>> {
        self.shared.stop.store(true, Ordering::Release);
        self.join()
    }

    fn join(&mut self) -> Result<Vec<Seen>> {
        let thread = self.thread.take().context("the reader of the output has ended")?;
        thread.join().map_err(|_| anyhow!("the reader of the output panicked"))?
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(
    settings: &Settings,
    topic: &str,
    partitions: i32,
    words: &[String],
    shared: &Shared,
) -> Result<Vec<Seen>> {
    let numbers: HashMap<&str, Word> =
        words.iter().enumerate().map(|(number, word)| (word.as_str(), number as Word)).collect();
    let mut bare = Bare::open(settings, topic, 0..partitions)?;
    shared.open.store(true, Ordering::Release);
    let mut counts = vec![0; words.len()];
    let (mut seen, mut total, mut wrong) = (Vec::new(), 0, None);
    while !shared.stop.load(Ordering::Acquire) {
        let mut micros = None;
        bare.read(&mut |record| {
            let micros = *micros.get_or_insert_with(|| micros_since_epoch() as i64);
            match note(record.value, &numbers, &mut counts) {
                Ok((word, count, more)) => {
                    seen.push(Seen { word, count, micros });
                    total += more;
                }
                Err(error) => wrong = wrong.take().or(Some(error)),
            }
        })?;
        if let Some(error) = wrong.take() {
            return Err(error);
        }
        shared.total.store(total, Ordering::Release);
    }
    Ok(seen)
}

/// Takes a row. Returns its word, its count, and how much more that is than the word's count before.
fn note(value: Option<&[u8]>, numbers: &HashMap<&str, Word>, counts: &mut [u64]) -> Result<(Word, u64, u64)> {
    let Row { word, count } = Row::read(value.context("a word is gone from the output")?)?;
    let &number = numbers.get(&*word).with_context(|| format!("the word {word:?} was never sent"))?;
    let before = std::mem::replace(&mut counts[number as usize], count);
    match count.checked_sub(before) {
        Some(more) if more > 0 => Ok((number, count, more)),
        _ => {
            bail!("the count of {word:?} went from {before} to {count}: an epoch came twice, or out of order")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_grow() {
        let numbers = HashMap::from([("a", 0), ("b", 1)]);
        let mut counts = [0, 0];
        let mut note =
            |row: &str| note(Some(row.as_bytes()), &numbers, &mut counts).map_err(|e| e.to_string());
        assert_eq!(note(r#"{"word":"b","count":2}"#), Ok((1, 2, 2)));
        assert_eq!(note(r#"{"word":"b","count":5}"#), Ok((1, 5, 3)));
        assert!(note(r#"{"word":"b","count":5}"#).unwrap_err().contains("from 5 to 5"));
        assert!(note(r#"{"word":"b","count":4}"#).unwrap_err().contains("from 5 to 4"));
        assert!(note(r#"{"word":"c","count":1}"#).unwrap_err().contains("never sent"));
        assert!(note("{}").unwrap_err().contains("no row"));
    }
}
