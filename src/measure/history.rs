//! A point a second, of the last ten minutes: what a run did lately.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::rows::Timestamp;
use serde::Serialize;

use crate::status::{Figures, Status};
use crate::time::micros_since_epoch;

/// Points that are kept.
const KEPT: usize = 600;
/// The time between two.
const EVERY: Duration = Duration::from_secs(1);

/// What a run did in a second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// When the second ended: RFC 3339.
    pub at: String,
    /// The last published epoch then.
    pub epoch: Epoch,
    /// Records that were published in it, a second.
    pub records_per_second: f64,
    /// Rows that they decoded to, a second.
    pub rows_per_second: f64,
    /// Records behind the end then, of all partitions.
    pub lag: i64,
    /// Seconds that half of its epochs took at most; none where no epoch was published.
    pub latency_p50: Option<f64>,
    /// Seconds that 99 of 100 of its epochs took at most.
    pub latency_p99: Option<f64>,
    /// Seconds that the watermark which is furthest behind was behind the clock then; none where there is no event time.
    pub watermark_lag: Option<f64>,
}

/// The last points. Clones share them.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<VecDeque<Point>>>);

impl History {
    /// The points, oldest first.
    pub fn points(&self) -> Vec<Point> {
        self.lock().iter().cloned().collect()
    }

    fn push(&self, point: Point) {
        let mut points = self.lock();
        if points.len() == KEPT {
            points.pop_front();
        }
        points.push_back(point);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Point>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that makes the points. It ends when this is dropped.
pub struct Keeper {
    end: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts it, for a run with these figures.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(status: Status) -> Result<Self> {
        let end: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let ended = Arc::clone(&end);
        let thread = std::thread::Builder::new()
            .name("cutwater:history".into())
            .spawn(move || keep(&status, &ended))
            .context("starting the thread that keeps the history")?;
        Ok(Keeper { end, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        *self.end.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.1.notify_all();
        self.thread.take().map(JoinHandle::join);
    }
}

fn keep(status: &Status, (ended, changed): &(Mutex<bool>, Condvar)) {
    let mut before = status.figures();
    before.recent.clear();
    let mut since = Instant::now();
    loop {
        let guard = ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, EVERY, |ended| !*ended);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
        let now = status.take_recent();
        status.history().push(point(&before, &now, since.elapsed()));
        (before, since) = (now, Instant::now());
    }
}

/// What happened from `before` to `now`, in so much time.
fn point(before: &Figures, now: &Figures, time: Duration) -> Point {
    let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / time.as_secs_f64().max(1e-9);
    let mut latencies = now.recent.clone();
    latencies.sort_unstable();
    let quantile = |of: f64| {
        let place = (latencies.len() as f64 * of).ceil() as usize;
        latencies.get(place.saturating_sub(1)).map(|latency| latency.as_secs_f64())
    };
    let at = micros_since_epoch() as i64;
    let watermark = now.watermarks.times().watermarks.values().min().copied();
    Point {
        at: Timestamp::from_micros(at).to_string(),
        epoch: now.epoch,
        records_per_second: per_second(now.records + now.reread, before.records + before.reread),
        rows_per_second: per_second(now.rows, before.rows),
        lag: now.total_lag(),
        latency_p50: quantile(0.5),
        latency_p99: quantile(0.99),
        watermark_lag: watermark.map(|watermark| at.saturating_sub(watermark).max(0) as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::watermark::{Times, Watermarks};

    use super::*;

    #[test]
    fn a_point_is_of_what_happened_since_the_one_before() {
        let before = Figures { records: 100, rows: 7, ..Figures::default() };
        let mut now = Figures { records: 300, rows: 17, epoch: 5, ..Figures::default() };
        now.lag.insert(("lines".into(), 0), 12);
        let quiet = point(&before, &now, Duration::from_secs(2));
        assert_eq!((quiet.records_per_second, quiet.rows_per_second), (100.0, 5.0));
        assert_eq!((quiet.epoch, quiet.lag, quiet.latency_p50), (5, 12, None));
        now.recent = (1..=100).rev().map(Duration::from_millis).collect();
        let busy = point(&before, &now, Duration::from_secs(1));
        assert_eq!((busy.latency_p50, busy.latency_p99), (Some(0.05), Some(0.099)));
        assert_eq!((quiet.watermark_lag, busy.watermark_lag), (None, None));
    }

    #[test]
    fn a_point_tells_of_the_input_that_is_furthest_behind() {
        let hour = |hours: i64| micros_since_epoch() as i64 - hours * 3_600_000_000;
        let watermarks = [("lines".into(), hour(1)), ("views".into(), hour(3))].into();
        let times = Times { watermarks, ..Times::default() };
        let now = Figures { watermarks: Watermarks::after(times), ..Figures::default() };
        let lag = point(&now, &now, EVERY).watermark_lag.unwrap();
        assert!((10_800.0..14_400.0).contains(&lag), "{lag}");
    }

    #[test]
    fn the_oldest_points_go() {
        let history = History::default();
        let figures = Figures::default();
        for epoch in 0..KEPT as u64 + 5 {
            history.push(Point { epoch, ..point(&figures, &figures, EVERY) });
        }
        let points = history.points();
        assert_eq!((points.len(), points[0].epoch), (KEPT, 5));
    }
}
