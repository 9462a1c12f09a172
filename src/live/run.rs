//! `--live`: the table of a run. It looks at the run's figures and at the view of its first output, and the run never waits for it.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::picture::{Picture, Progress, Rates, Top};
use super::screen::{Place, Screen};
use super::top::Order;
use crate::log;
use crate::serve::views::Views;
use crate::status::{Figures, Status};

/// How often it looks at the keys.
const TICK: Duration = Duration::from_millis(50);
/// Rows of which it may show as many as fit.
const ROWS: usize = 100;
/// How often it looks at the rows at most, and how many times as long it rests as that took: of many rows that takes long.
const LOOK: Duration = Duration::from_millis(500);
const REST: u32 = 20;

/// What is shown of a run.
pub(crate) struct Shown {
    /// The dataflow's name.
    pub(crate) dataflow: String,
    /// What stays the same.
    pub(crate) title: String,
    /// The run's figures.
    pub(crate) status: Status,
    /// Its outputs, of which the first is shown.
    pub(crate) views: Views,
    /// Has the run stop; once more at once.
    pub(crate) ask_to_stop: fn(),
}

/// Draws the table while it lives, and leaves the last picture on the terminal.
pub(crate) struct Live {
    ended: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If it can't be set up, or the system gives no thread.
    pub(crate) fn start(place: Place, shown: Shown) -> Result<Live> {
        let (ended, end) = bounded(0);
        let screen = Screen::live(place)?;
        let order = shown.views.outputs().first().map(Order::of);
        let started = Instant::now();
        let table = Table {
            shown,
            order,
            started,
            rates: Rates::new(started),
            top: Top::default(),
            look: started,
            asked: false,
        };
        let thread = std::thread::Builder::new()
            .name("cutwater:live".into())
            .spawn(move || {
                if let Err(error) = table.draw(screen, &end) {
                    log::end();
                    tracing::warn!("--live: {error:#}; the run goes on without it");
                }
            })
            .context("--live: starting its thread")?;
        Ok(Live { ended: Some(ended), thread: Some(thread) })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // That ends the thread.
        self.ended = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Table {
    shown: Shown,
    order: Option<Order>,
    started: Instant,
    rates: Rates,
    top: Top,
    /// When to look at the rows next.
    look: Instant,
    asked: bool,
}

impl Table {
    fn draw(mut self, mut screen: Screen, end: &Receiver<()>) -> Result<()> {
        while end.try_recv() == Err(TryRecvError::Empty) {
            self.update();
            if screen.is_due() {
                if Instant::now() >= self.look {
                    self.look();
                }
                screen.show(&self.picture())?;
            }
            if screen.wait(TICK)? {
                self.asked = true;
                (self.shown.ask_to_stop)();
            }
        }
        self.update();
        self.look();
        screen.close(&self.picture())
    }

    fn update(&mut self) {
        let Table { rates, shown, .. } = self;
        shown.status.with(|figures| rates.update(Instant::now(), figures));
    }

    /// Looks at the rows.
    fn look(&mut self) {
        let begun = Instant::now();
        if let Some(order) = &self.order
            && let Ok(snapshot) = self.shown.views.snapshot(&[0], None)
        {
            let (rows, count) = order.first(snapshot.rows(0, &[]), ROWS);
            self.top = Top { title: order.title(count, snapshot.published.epoch), rows };
        }
        self.look = Instant::now() + LOOK.max(begun.elapsed() * REST);
    }

    fn picture(&self) -> Picture {
        let Shown { dataflow, title, status, .. } = &self.shown;
        let figures = status.figures();
        Picture {
            name: "cutwater run",
            dataflow: dataflow.clone(),
            title: title.clone(),
            progress: self.progress(&figures),
            elapsed: self.started.elapsed(),
            rows: "rows",
            now: self.rates.now(),
            mean: self.rates.mean(),
            history: self.rates.history(),
            lags: ("lag, records", lags(&figures)),
            top: self.top.clone(),
            figures,
        }
    }

    fn progress(&self, figures: &Figures) -> Progress {
        let Figures { epoch, resumed_from: from, replays_through: through, .. } = *figures;
        if self.asked {
            return Progress {
                part: None,
                text: "stopping: finishing the open epoch; q once more stops at once".into(),
            };
        }
        if epoch.max(from) < through {
            let (done, of) = (epoch.saturating_sub(from), through - from);
            let part = Some(done as f64 / of as f64);
            return Progress { part, text: format!("replaying, {done} of {of} epochs") };
        }
        let running = humantime::format_duration(Duration::from_secs(self.started.elapsed().as_secs()));
        Progress { part: None, text: format!("running for {running}") }
    }
}

/// The lag of each partition, the largest first: with the topic's name, where there are several.
fn lags(figures: &Figures) -> Vec<(String, i64)> {
    let first = figures.lag.keys().next().map(|(topic, _)| topic);
    let one = figures.lag.keys().all(|(topic, _)| Some(topic) == first);
    let name = |topic: &str, partition: i32| {
        if one { partition.to_string() } else { format!("{topic}/{partition}") }
    };
    let mut lags: Vec<(String, i64)> =
        figures.lag.iter().map(|((topic, partition), &lag)| (name(topic, *partition), lag)).collect();
    if lags.len() > FEW {
        lags.sort_by_key(|(_, lag)| std::cmp::Reverse(*lag));
    }
    lags
}

/// Partitions that the table has room for: where there are more, they are those that are furthest behind.
const FEW: usize = 4;
