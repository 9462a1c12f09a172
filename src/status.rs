//! What a run has done so far, for progress, the summary and the demo's table.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cutwater_dataflows::Epoch;
use cutwater_dataflows::reasons::Reasons;
use cutwater_dataflows::source::{Moved, Report, times};
use cutwater_dataflows::watermark::Watermarks;
use hdrhistogram::Histogram;
use indicatif::{HumanBytes, HumanCount};

use crate::measure::buckets::{AGES, Buckets, LATENCIES, RECORDS};
use crate::measure::history::History;
use crate::measure::operators::Operators;
use crate::measure::stopwatch::Stopwatch;
use crate::measure::transactions::Transacted;
use crate::shown::count;
use crate::state::checkpoint::{Checkpoints, Made};
use crate::state::resume::Resume;
use crate::time::micros_since_epoch;

/// Figures of a run, over all processes, as of the last published epoch. Clones share them.
#[derive(Clone, Default)]
pub struct Status {
    figures: Arc<Mutex<Figures>>,
    /// Are operators measured?
    measured: Arc<AtomicBool>,
    operators: Operators,
    history: History,
    followed: Arc<Mutex<Followed>>,
}

/// Who knows more.
#[derive(Default)]
struct Followed {
    checkpoints: Option<Arc<dyn Checkpoints>>,
    transactions: Option<Arc<Transacted>>,
}

/// The figures.
#[derive(Clone)]
pub struct Figures {
    /// When the run began to read.
    pub started: Instant,
    /// The last published epoch; before the first of the run that which it resumes from, or 0.
    pub epoch: Epoch,
    /// Published epochs, without those that were read again.
    pub epochs: u64,
    /// Records read, without those that were read again; the figures below likewise.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Rows they decoded to, equal ones counted each time.
    pub rows: u64,
    /// Records that became dead letters.
    pub dead_letters: u64,
    /// Why they did.
    pub reasons: Reasons,
    /// Rows that were too large for their sinks, and became dead letters.
    pub too_large: u64,
    /// Changes handed to sinks, those included that are made of records that were read again.
    pub changes: u64,
    /// The same by output, where there were any.
    pub changes_of: BTreeMap<String, u64>,
    /// Records that a run before had read, and that were read again.
    pub reread: u64,
    /// The epochs of which they are.
    pub reread_epochs: u64,
    /// The epoch of the checkpoint that the run resumes from; 0 where there is none.
    pub resumed_from: Epoch,
    /// The last epoch that a run before has read; 0 where there is none.
    pub replays_through: Epoch,
    /// The latency of the last epoch: from its first record being read to its publication.
    pub latency: Duration,
    /// The latencies of all epochs, in microseconds.
    pub latencies: Histogram<u64>,
    /// Records behind the end, by topic and partition: those between what was published and the partition's end when the
    /// broker last said where that is. What is published since is not counted off: what has come since is not known either,
    /// and a lag of this moment's position and that moment's end would be too low by as much.
    pub lag: BTreeMap<(String, i32), i64>,
    /// When that was, in microseconds since the Unix epoch.
    pub lag_at: BTreeMap<(String, i32), i64>,
    /// The offset up to which all is published, by topic and partition.
    pub next: BTreeMap<(String, i32), i64>,
    /// The offset after the last published record, and the end as far as it is known.
    pub offsets: BTreeMap<(String, i32), (i64, i64)>,
    /// The latencies of epochs as Prometheus has them, in seconds.
    pub epoch_latency: Buckets,
    /// The records of each epoch.
    pub epoch_records: Buckets,
    /// How old the oldest record of each epoch was when that was published, by its timestamp.
    pub end_to_end: Buckets,
    /// The latencies of the epochs since the last point of the history, where one is kept.
    pub recent: Vec<Duration>,
    /// The times of the last published epoch.
    pub watermarks: Watermarks,
    /// How long epochs have waited for sinks.
    pub in_sinks: Stopwatch,
    /// How long epochs have waited for the ledger.
    pub in_ledger: Stopwatch,
    /// Published epochs that are in no checkpoint, where checkpoints are made: about one a second, and when that was.
    pub uncovered: BTreeMap<Epoch, Instant>,
}

/// What there was at a time.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    at: Instant,
    records: u64,
    rows: u64,
}

/// What there was lately.
#[derive(Default)]
pub struct Lately(VecDeque<Mark>);

impl Lately {
    /// Notes what there is at `now`. Returns what there was five seconds before, or at the first note if that is later.
    pub fn note(&mut self, now: Mark) -> Mark {
        self.0.push_back(now);
        while self.0.get(1).is_some_and(|mark| now.at.saturating_duration_since(mark.at) >= LATELY) {
            self.0.pop_front();
        }
        self.0[0]
    }
}

/// The time of which a line that is drawn again and again tells the rate.
const LATELY: Duration = Duration::from_secs(5);

/// Latencies that are kept for a point of the history.
const RECENT: usize = 10_000;
/// Published epochs are noted for the age of checkpoints at most so often.
const NOTED: Duration = Duration::from_secs(1);

impl Default for Figures {
    fn default() -> Self {
        Figures {
            started: Instant::now(),
            epoch: 0,
            epochs: 0,
            records: 0,
            bytes: 0,
            rows: 0,
            dead_letters: 0,
            too_large: 0,
            changes: 0,
            reread: 0,
            reread_epochs: 0,
            resumed_from: 0,
            replays_through: 0,
            latency: Duration::ZERO,
            // Two digits of an hour in microseconds; longer ones count as an hour.
            latencies: Histogram::new_with_max(3_600_000_000, 2).expect("the bounds are valid"),
            lag: BTreeMap::new(),
            lag_at: BTreeMap::new(),
            next: BTreeMap::new(),
            offsets: BTreeMap::new(),
            reasons: Reasons::default(),
            changes_of: BTreeMap::new(),
            epoch_latency: Buckets::new(LATENCIES),
            epoch_records: Buckets::new(RECORDS),
            end_to_end: Buckets::new(AGES),
            recent: Vec::new(),
            watermarks: Watermarks::default(),
            in_sinks: Stopwatch::default(),
            in_ledger: Stopwatch::default(),
            uncovered: BTreeMap::new(),
        }
    }
}

impl Status {
    /// A copy of the figures.
    pub fn figures(&self) -> Figures {
        self.lock().clone()
    }

    /// Looks at the figures without copying them. Nothing may be waited for there: publishing waits for it.
    pub fn with<T>(&self, look: impl FnOnce(&Figures) -> T) -> T {
        look(&self.lock())
    }

    /// The run resumes from the checkpoint of an epoch, and replays what a run before has read up to another one. What
    /// the checkpoint holds is published.
    pub fn resumes(&self, from: &Resume) {
        let there = from.cut.by_topic().into_iter().filter(|(topic, _)| !from.gone.contains(topic));
        let next = there.flat_map(|(topic, partitions)| {
            partitions.into_iter().map(move |(partition, next)| ((topic.clone(), partition), next))
        });
        let mut figures = self.lock();
        (figures.resumed_from, figures.replays_through) = (from.checkpoint, from.last());
        figures.epoch = from.checkpoint;
        figures.next = next.collect();
        figures.watermarks = Watermarks::after(from.times.clone());
    }

    /// From now on, the operators of dataflows that are built are measured. In all processes, or in none.
    pub fn measure(&self) {
        self.measured.store(true, Ordering::Relaxed);
    }

    /// True iff operators are measured.
    pub fn is_measured(&self) -> bool {
        self.measured.load(Ordering::Relaxed)
    }

    /// What operators have done, on all workers.
    pub fn operators(&self) -> &Operators {
        &self.operators
    }

    /// The last ten minutes, where they are kept.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The figures, with the latencies since this was called before.
    pub(crate) fn take_recent(&self) -> Figures {
        let mut figures = self.lock();
        let taken = figures.clone();
        figures.recent.clear();
        taken
    }

    /// Who makes the checkpoints.
    pub fn follow_checkpoints(&self, checkpoints: Arc<dyn Checkpoints>) {
        self.followed().checkpoints = Some(checkpoints);
    }

    /// Who measures transactions.
    pub fn follow_transactions(&self, transactions: Arc<Transacted>) {
        self.followed().transactions = Some(transactions);
    }

    /// The checkpoints that were made; none where the run makes none.
    pub fn checkpoints(&self) -> Option<Made> {
        self.followed().checkpoints.as_ref().map(|checkpoints| checkpoints.made())
    }

    /// For how long something that is published has been in no checkpoint, by `now`; none where the run makes none.
    pub fn checkpoint_age(&self, now: Instant) -> Option<Duration> {
        let made = self.checkpoints()?;
        let mut figures = self.lock();
        figures.cover(made.epoch);
        let first = figures.uncovered.first_key_value().map(|(_, &at)| at);
        Some(first.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)))
    }

    /// Notes when an epoch was published that is in no checkpoint yet, and drops those that are: whether or not somebody
    /// asks for the age, no more is kept than since the last checkpoint.
    fn note_uncovered(&self, epoch: Epoch) {
        let now = Instant::now();
        let noted = self.with(|figures| figures.uncovered.last_key_value().map(|(_, &at)| at));
        if noted.is_some_and(|at| now.saturating_duration_since(at) < NOTED) {
            return;
        }
        if let Some(made) = self.checkpoints() {
            let mut figures = self.lock();
            figures.cover(made.epoch);
            figures.uncovered.insert(epoch, now);
        }
    }

    /// The transactions of Kafka sinks; none where there is no such sink.
    pub fn transactions(&self) -> Option<Arc<Transacted>> {
        self.followed().transactions.clone()
    }

    /// An epoch begins to wait for its sinks, or has been taken by them.
    pub fn in_sinks(&self, begins: bool) {
        switch(&mut self.lock().in_sinks, begins);
    }

    /// Epochs begin to wait for the ledger, or are in it.
    pub fn in_ledger(&self, begins: bool) {
        switch(&mut self.lock().in_ledger, begins);
    }

    /// The run begins to read.
    pub fn start(&self) {
        self.lock().started = Instant::now();
    }

    /// An output has changed by so much.
    pub fn changed(&self, output: &str, changes: u64) {
        let mut figures = self.lock();
        match figures.changes_of.get_mut(output) {
            Some(sum) => *sum += changes,
            None => drop(figures.changes_of.insert(output.to_owned(), changes)),
        }
    }

    /// An epoch is published.
    pub fn published(&self, epoch: Epoch, reports: &[Report], changes: u64) {
        self.note_uncovered(epoch);
        let mut figures = self.lock();
        if epoch == figures.replays_through {
            let from = figures.resumed_from + 1;
            tracing::info!(from, through = epoch, "replayed epochs {from} to {epoch}: what comes now is new");
        }
        figures.epoch = epoch;
        figures.changes += changes;
        figures.watermarks.advance(times(reports));
        for Moved { topic, partition, next, end, .. } in reports.iter().flat_map(|report| &report.moved) {
            figures.move_on((topic, *partition), *next, *end);
            figures.next.insert((topic.clone(), *partition), *next);
        }
        // An epoch is read again by all workers, or by none.
        if reports.iter().any(|report| report.again) {
            figures.reread_epochs += 1;
            figures.reread += reports.iter().map(|report| report.records).sum::<u64>();
            return;
        }
        figures.epochs += 1;
        for report in reports {
            figures.records += report.records;
            figures.bytes += report.bytes;
            figures.rows += report.rows;
            figures.dead_letters += report.dead_letters;
            figures.reasons.add_all(&report.reasons);
        }
        figures.epoch_records.observe(reports.iter().map(|report| report.records).sum::<u64>() as f64);
        if let Some(oldest) = reports.iter().filter_map(|report| report.oldest).min() {
            let age = micros_since_epoch() as i64 - oldest.saturating_mul(1000);
            figures.end_to_end.observe(age.max(0) as f64 / 1e6);
        }
        if let Some(first) = reports.iter().filter(|r| r.records > 0).map(|r| r.first_read).min() {
            figures.latency = Duration::from_micros(micros_since_epoch().saturating_sub(first));
            let micros = figures.latency.as_micros() as u64;
            figures.latencies.saturating_record(micros);
            let latency = figures.latency;
            figures.epoch_latency.took(latency);
            if self.is_measured() && figures.recent.len() < RECENT {
                figures.recent.push(latency);
            }
        }
    }

    /// Rows were too large for their sinks.
    pub fn too_large(&self, rows: u64) {
        self.lock().too_large += rows;
    }

    /// Partitions end there, as the brokers say. `begun`: where reading of them began, for those of which nothing is
    /// published yet.
    pub fn ends(&self, ends: &BTreeMap<(String, i32), i64>, begun: &BTreeMap<(String, i32), i64>) {
        let mut figures = self.lock();
        let now = micros_since_epoch() as i64;
        for (key, &end) in ends {
            let (next, _) = figures.offsets.get(key).copied().unzip();
            if let Some(next) = next.or_else(|| begun.get(key).copied()) {
                figures.offsets.insert(key.clone(), (next, end));
                // An answer may be older than what was read since.
                figures.lag.insert(key.clone(), (end - next).max(0));
                figures.lag_at.insert(key.clone(), now);
            }
        }
    }

    /// Nothing more will be published: the lag is what is left, up to the ends as they were heard last.
    pub fn rests(&self) {
        let mut figures = self.lock();
        figures.lag =
            figures.offsets.iter().map(|(key, (next, end))| (key.clone(), (end - next).max(0))).collect();
    }

    /// What was accumulated until the end is published.
    pub fn ended(&self, changes: u64) {
        self.lock().changes += changes;
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn switch(watch: &mut Stopwatch, begins: bool) {
    let now = Instant::now();
    if begins { watch.begin(now) } else { watch.end(now) }
}

/// How many a second, from `then` at `since` to `now`.
fn per_second(now: u64, then: u64, since: Instant) -> HumanCount {
    HumanCount((now.saturating_sub(then) as f64 / since.elapsed().as_secs_f64().max(1e-6)) as u64)
}

impl Figures {
    /// Epochs up to this one are in a checkpoint.
    fn cover(&mut self, epoch: Epoch) {
        self.uncovered = self.uncovered.split_off(&(epoch + 1));
    }

    /// All of a partition below `next` is published. The client that has read it knows the end as of its last fetch.
    fn move_on(&mut self, (topic, partition): (&str, i32), next: i64, end: i64) {
        let key = (topic.to_owned(), partition);
        // Who asks for it may know more.
        let end = self.offsets.get(&key).map_or(end, |&(_, before)| end.max(before));
        self.offsets.insert(key.clone(), (next, end));
        if !self.lag_at.contains_key(&key) {
            self.lag.insert(key, (end - next).max(0));
        }
    }

    /// Records behind the end, of all partitions.
    pub fn total_lag(&self) -> i64 {
        self.lag.values().sum()
    }

    /// One line for people: what was read, how fast on the whole, and how far behind.
    pub fn line(&self) -> String {
        self.line_since(Mark { at: self.started, records: 0, rows: 0 })
    }

    /// Where it is now.
    pub fn mark(&self) -> Mark {
        Mark { at: Instant::now(), records: self.records, rows: self.rows }
    }

    /// As [`Figures::line`], with how fast it was since then.
    pub fn line_since(&self, since: Mark) -> String {
        let rate = |now: u64, then: u64| per_second(now, then, since.at);
        let mut line = format!(
            "{} ({}/s), {}, {} ({}/s), {}, lag {}",
            count(self.records, "record"),
            rate(self.records, since.records),
            HumanBytes(self.bytes),
            count(self.rows, "row"),
            rate(self.rows, since.rows),
            count(self.epochs, "epoch"),
            HumanCount(self.total_lag().max(0) as u64),
        );
        if self.reread_epochs > 0 {
            let (records, epochs) = (count(self.reread, "record"), count(self.reread_epochs, "epoch"));
            line += &format!(", re-read {records} of {epochs}");
        }
        if !self.latencies.is_empty() {
            line +=
                &format!(", epoch latency p50 {:.1} ms p99 {:.1} ms", self.millis(0.5), self.millis(0.99));
        }
        if self.dead_letters > 0 {
            line += &format!(", {}", count(self.dead_letters, "dead letter"));
        }
        if self.too_large > 0 {
            line += &format!(
                ", {} row{} too large for a sink",
                HumanCount(self.too_large),
                if self.too_large == 1 { "" } else { "s" }
            );
        }
        line
    }

    /// The same in at most `width` columns: as much of it as fits, what matters most first.
    pub fn short(&self, since: Mark, width: usize) -> String {
        let mut parts = vec![
            format!(
                "{} ({}/s)",
                count(self.records, "record"),
                per_second(self.records, since.records, since.at)
            ),
            format!("lag {}", HumanCount(self.total_lag().max(0) as u64)),
        ];
        if self.dead_letters > 0 {
            parts.push(count(self.dead_letters, "dead letter"));
        }
        if self.reread_epochs > 0 {
            parts.push(format!("re-read {}", count(self.reread, "record")));
        }
        if !self.latencies.is_empty() {
            parts.push(format!("p50 {:.1} ms", self.millis(0.5)));
            parts.push(format!("p99 {:.1} ms", self.millis(0.99)));
        }
        parts.push(count(self.epochs, "epoch"));
        parts.push(HumanBytes(self.bytes).to_string());
        let mut line = String::new();
        for part in parts {
            let gap = if line.is_empty() { "" } else { ", " };
            if line.len() + gap.len() + part.len() <= width {
                line = line + gap + &part;
            }
        }
        line
    }

    /// A quantile of the latencies.
    fn millis(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_checkpoint_will_cover_is_not_noted() {
        let status = Status::default();
        status.published(1, &[], 0);
        assert_eq!(status.with(|figures| figures.uncovered.len()), 0);
    }

    #[test]
    fn the_lag_is_of_when_the_end_was_heard() {
        let status = Status::default();
        let key = || ("lines".to_owned(), 0);
        let publish = |epoch, next, end| {
            let moved = vec![Moved { topic: key().0, partition: 0, start: None, id: None, next, end }];
            status.published(epoch, &[Report { moved, ..Report::default() }], 0);
            status.with(|figures| (figures.total_lag(), figures.offsets[&key()]))
        };
        let hear = |end| {
            status.ends(&[(key(), end)].into(), &[(key(), 10)].into());
            status.with(|figures| (figures.total_lag(), figures.offsets[&key()]))
        };
        // Of nothing published, from where reading begins.
        assert_eq!(hear(100), (90, (10, 100)));
        // 60 records are published, and nobody knows how many have come meanwhile: whoever fetches has heard of some.
        assert_eq!(publish(1, 70, 70), (90, (70, 100)));
        assert_eq!(publish(2, 100, 120), (90, (100, 120)));
        let before = status.with(|figures| figures.lag_at[&key()]);
        assert_eq!(hear(190), (90, (100, 190)));
        assert!(status.with(|figures| figures.lag_at[&key()]) >= before);
        // At the end nothing moves any more but the end itself.
        publish(3, 180, 185);
        status.rests();
        assert_eq!(status.with(Figures::total_lag), 10);
    }

    #[test]
    fn what_nobody_asks_for_lags_behind_what_its_reader_knows() {
        let status = Status::default();
        let moved =
            vec![Moved { topic: "lines".into(), partition: 0, start: None, id: None, next: 3, end: 5 }];
        status.published(1, &[Report { moved, ..Report::default() }], 0);
        assert_eq!(status.with(|figures| (figures.total_lag(), figures.lag_at.len())), (2, 0));
    }

    #[test]
    fn rates_are_of_the_time_since_a_mark() {
        let minute_ago = Instant::now() - Duration::from_secs(60);
        let figures = Figures { started: minute_ago, records: 60_000, rows: 120_000, ..Figures::default() };
        assert!(figures.line().starts_with("60,000 records (99"), "{}", figures.line());
        let line = figures.line_since(figures.mark());
        assert!(line.starts_with("60,000 records (0/s), 0 B, 120,000 rows (0/s)"), "{line}");
        let half = Mark { at: minute_ago, records: 30_000, rows: 0 };
        assert!(figures.line_since(half).contains("records (49"), "{}", figures.line_since(half));
    }

    #[test]
    fn the_short_line_tells_the_rate_of_the_last_seconds() {
        let now = Instant::now();
        let ago = |seconds| now - Duration::from_secs(seconds);
        let mut lately = Lately::default();
        // A thousand a second for a minute, and then nothing for ten seconds.
        let at = |seconds: u64| Mark { at: ago(seconds), records: (70 - seconds).min(60) * 1000, rows: 0 };
        assert_eq!(lately.note(at(70)).records, 0);
        assert_eq!(lately.note(at(69)).records, 0, "of the time that there is");
        for seconds in (10..69).rev() {
            assert_eq!(lately.note(at(seconds)).records, at((seconds + 5).min(70)).records);
        }
        for seconds in (1..10).rev() {
            lately.note(at(seconds));
        }
        let figures = Figures { started: ago(70), records: 60_000, ..Figures::default() };
        let short = figures.short(lately.note(figures.mark()), 80);
        assert!(short.starts_with("60,000 records (0/s)"), "{short}");
        assert!(figures.line().starts_with("60,000 records (85"), "on the whole: {}", figures.line());
    }

    #[test]
    fn the_short_line_fits_and_has_what_matters_most() {
        let mut figures = Figures { records: 12_345_678_901, rows: 99, epochs: 1, ..Figures::default() };
        figures.dead_letters = 1;
        figures.latencies.record(1_234_567).unwrap();
        figures.lag.insert(("lines".into(), 0), 9_876_543);
        let short = |width| figures.short(figures.mark(), width);
        for width in 0..200 {
            assert!(short(width).len() <= width, "{}", short(width));
        }
        let line = short(80);
        for wanted in ["12,345,678,901 records (", "lag 9,876,543", "1 dead letter"] {
            assert!(line.contains(wanted), "{line}");
        }
        assert!(short(200).ends_with(", 1 epoch, 0 B"), "{}", short(200));
    }
}
