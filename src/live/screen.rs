//! Where the demo shows its picture, on standard error: a table on a terminal, else a line a second.

use std::io::{self, BufWriter, IsTerminal, Stderr, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use crossbeam_channel::Receiver;
use indicatif::HumanCount;
use ratatui::Terminal;
use ratatui::backend::{CrosstermBackend, IntoCrossterm};
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::style::{PrintStyledContent, StyledContent};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::Rect;

use super::picture::Picture;
use super::table::{draw, millis};
use crate::cli::log;

/// How often the table is drawn, and how often a line is written.
const DRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(1);
/// The height of the picture that stays.
const LAST: u16 = 20;

/// True while the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Shows pictures, and hears of keys and signals.
pub(super) struct Screen {
    view: View,
    signals: Receiver<()>,
    /// When the next picture is to be shown.
    due: Instant,
}

enum View {
    Table(Terminal<CrosstermBackend<BufWriter<Stderr>>>),
    Lines,
    Nothing,
}

impl Screen {
    /// A table where standard output and standard error are a terminal, else lines; nothing if `quiet`.
    ///
    /// # Errors
    /// If the terminal can't be set up.
    pub(super) fn open(quiet: bool, signals: Receiver<()>) -> Result<Self> {
        let view = if quiet {
            View::Nothing
        } else if io::stderr().is_terminal() && io::stdout().is_terminal() {
            View::Table(take().context("setting up the terminal for the live table")?)
        } else {
            View::Lines
        };
        let due = Instant::now() + if matches!(view, View::Lines) { LINE } else { Duration::ZERO };
        Ok(Screen { view, signals, due })
    }

    /// True iff the picture should be redrawn by now.
    pub(super) fn is_due(&self) -> bool {
        !matches!(self.view, View::Nothing) && Instant::now() >= self.due
    }

    /// Shows a picture.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub(super) fn show(&mut self, picture: &Picture) -> Result<()> {
        let every = if self.is_table() { DRAW } else { LINE };
        // Lines keep to full seconds; what was missed is not made up for.
        self.due = (self.due + every).max(Instant::now());
        match &mut self.view {
            View::Table(terminal) => {
                terminal
                    .draw(|frame| {
                        let area = frame.area();
                        draw(picture, area, frame.buffer_mut());
                    })
                    .context("drawing the live table")?;
            }
            View::Lines => log::say(&line(picture)),
            View::Nothing => {}
        }
        Ok(())
    }

    /// Waits for up to `time`; true iff somebody asked to stop, by a signal or a key.
    ///
    /// # Errors
    /// If the terminal can't be read.
    pub(super) fn wait(&mut self, time: Duration) -> Result<bool> {
        if !self.is_table() {
            return Ok(self.signals.recv_timeout(time).is_ok());
        }
        if self.signals.try_recv().is_ok() {
            return Ok(true);
        }
        if !event::poll(time).context("reading the terminal")? {
            return Ok(false);
        }
        match event::read().context("reading the terminal")? {
            Event::Key(key) if key.kind == KeyEventKind::Press => Ok(match key.code {
                KeyCode::Char('q') => true,
                KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
                _ => false,
            }),
            Event::Resize(..) => {
                self.due = Instant::now();
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Gives the terminal back, with the last picture left on it.
    ///
    /// # Errors
    /// If it can't be written to.
    pub(super) fn close(self, last: &Picture) -> Result<()> {
        let table = self.is_table();
        drop(self);
        if table { leave(last).context("writing to the terminal") } else { Ok(()) }
    }

    /// True iff a table is drawn, and left on the terminal in the end.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.view, View::Table(_))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<Terminal<CrosstermBackend<BufWriter<Stderr>>>> {
    // A panic in any thread ends the process: its message must not be lost on the other screen.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        report(panic);
    }));
    log::hold();
    TAKEN.store(true, Ordering::Relaxed);
    let set_up = || {
        enable_raw_mode()?;
        execute!(io::stderr(), EnterAlternateScreen, Hide)?;
        Terminal::new(CrosstermBackend::new(BufWriter::new(io::stderr())))
    };
    set_up().inspect_err(|_| give_back())
}

/// Gives the terminal back as it was, and lets the log through that was held meanwhile.
fn give_back() {
    if !TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    // Nothing can be done about a terminal that has gone.
    let _ = disable_raw_mode();
    let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
    log::release();
}

/// Writes the picture as text that scrolls away like any other.
fn leave(picture: &Picture) -> io::Result<()> {
    let (width, height) = size()?;
    let area = Rect::new(0, 0, width, height.saturating_sub(1).min(LAST));
    let mut buffer = Buffer::empty(area);
    draw(picture, area, &mut buffer);
    let mut out = BufWriter::new(io::stderr());
    for row in buffer.content().chunks(usize::from(width).max(1)) {
        let end = row.iter().rposition(|cell| cell.symbol() != " ").map_or(0, |last| last + 1);
        for cell in &row[..end] {
            queue!(
                out,
                PrintStyledContent(StyledContent::new(cell.style().into_crossterm(), cell.symbol()))
            )?;
        }
        writeln!(out)?;
    }
    out.flush()
}

/// A picture in one line.
fn line(picture: &Picture) -> String {
    let Picture { elapsed, now, figures, top, .. } = picture;
    let at = |quantile| millis(Duration::from_micros(figures.latencies.value_at_quantile(quantile)));
    let mut line = format!(
        "{:>3} s  {} records/s  {} words/s  epoch {}  latency {} (p50 {}, p99 {})  lag {}",
        elapsed.as_secs(),
        HumanCount(now.records as u64),
        HumanCount(now.words as u64),
        figures.epoch,
        millis(figures.latency),
        at(0.5),
        at(0.99),
        HumanCount(figures.total_lag().max(0) as u64),
    );
    if let Some((word, count)) = top.words.first() {
        line += &format!("  top word: {word}, {}", HumanCount(u64::try_from(*count).unwrap_or(0)));
    }
    line
}
