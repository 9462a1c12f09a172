//! Where a picture is shown: as a table on a terminal; the demo's else as a line a second on standard error.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};
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

use super::picture::{Picture, TopRow};
use super::table::{draw, millis};
use crate::log;

/// How often the table is drawn, and how often a line is written.
const DRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(1);
/// The height of the picture that stays.
const LAST: u16 = 20;

/// Where the picture is while the terminal is ours; [`NOWHERE`] else.
static TAKEN: AtomicU8 = AtomicU8::new(NOWHERE);
const NOWHERE: u8 = 0;

/// The stream that is a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    /// Standard error.
    Stderr = 1,
    /// Standard output.
    Stdout = 2,
}

impl Place {
    /// Where a picture can be drawn that rows don't run over.
    #[cfg(feature = "live")]
    pub(crate) fn find() -> Option<Place> {
        match (io::stderr().is_terminal(), io::stdout().is_terminal()) {
            (true, _) => Some(Place::Stderr),
            (false, true) => Some(Place::Stdout),
            (false, false) => None,
        }
    }

    fn stream(self) -> Box<dyn Write + Send> {
        match self {
            Place::Stderr => Box::new(io::stderr()),
            Place::Stdout => Box::new(io::stdout()),
        }
    }
}

type Out = BufWriter<Box<dyn Write + Send>>;

/// Shows pictures, and hears of keys and signals.
pub(crate) struct Screen {
    view: View,
    signals: Receiver<()>,
    /// When the next picture is to be shown.
    due: Instant,
}

enum View {
    Table(Terminal<CrosstermBackend<Out>>, Place),
    Lines,
    Nothing,
}

impl Screen {
    /// A table where standard output and standard error are a terminal, else lines; nothing if `quiet`.
    ///
    /// # Errors
    /// If the terminal can't be set up.
    pub(crate) fn open(quiet: bool, signals: Receiver<()>) -> Result<Self> {
        let view = if quiet {
            View::Nothing
        } else if io::stderr().is_terminal() && io::stdout().is_terminal() {
            table(Place::Stderr)?
        } else {
            View::Lines
        };
        let due = Instant::now() + if matches!(view, View::Lines) { LINE } else { Duration::ZERO };
        Ok(Screen { view, signals, due })
    }

    /// A table there; only keys are heard of.
    ///
    /// # Errors
    /// If the terminal can't be set up.
    #[cfg(feature = "live")]
    pub(crate) fn live(place: Place) -> Result<Self> {
        Ok(Screen { view: table(place)?, signals: crossbeam_channel::never(), due: Instant::now() })
    }

    /// True iff the picture should be redrawn by now.
    pub(crate) fn is_due(&self) -> bool {
        !matches!(self.view, View::Nothing) && Instant::now() >= self.due
    }

    /// Shows a picture.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub(crate) fn show(&mut self, picture: &Picture) -> Result<()> {
        let every = if self.is_table() { DRAW } else { LINE };
        // Lines keep to full seconds; what was missed is not made up for.
        self.due = (self.due + every).max(Instant::now());
        match &mut self.view {
            // Given back: the process is about to end.
            View::Table(..) if TAKEN.load(Ordering::Relaxed) == NOWHERE => {}
            View::Table(terminal, _) => {
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
    pub(crate) fn wait(&mut self, time: Duration) -> Result<bool> {
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
    pub(crate) fn close(self, last: &Picture) -> Result<()> {
        let place = match self.view {
            View::Table(_, place) => Some(place),
            View::Lines | View::Nothing => None,
        };
        drop(self);
        place.map_or(Ok(()), |place| leave(last, place)).context("writing to the terminal")
    }

    /// True iff a table is drawn, and left on the terminal in the end.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.view, View::Table(..))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn table(place: Place) -> Result<View> {
    let terminal = take(place).context("setting up the terminal for the live table")?;
    Ok(View::Table(terminal, place))
}

fn take(place: Place) -> io::Result<Terminal<CrosstermBackend<Out>>> {
    // A panic in any thread ends the process: its message must not be lost on the other screen.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        report(panic);
    }));
    log::hold();
    log::before_the_end(give_back);
    TAKEN.store(place as u8, Ordering::Relaxed);
    let set_up = || {
        enable_raw_mode()?;
        execute!(place.stream(), EnterAlternateScreen, Hide)?;
        Terminal::new(CrosstermBackend::new(BufWriter::new(place.stream())))
    };
    set_up().inspect_err(|_| give_back())
}

/// Gives the terminal back as it was, and lets the log through that was held meanwhile.
fn give_back() {
    let taken = TAKEN.swap(NOWHERE, Ordering::Relaxed);
    let Some(place) = [Place::Stderr, Place::Stdout].into_iter().find(|place| *place as u8 == taken) else {
        return;
    };
    // Nothing can be done about a terminal that has gone.
    let _ = disable_raw_mode();
    let _ = execute!(place.stream(), LeaveAlternateScreen, Show);
    log::release();
}

/// Writes the picture as text that scrolls away like any other.
fn leave(picture: &Picture, place: Place) -> io::Result<()> {
    let (width, height) = size()?;
    let area = Rect::new(0, 0, width, height.saturating_sub(1).min(LAST));
    let mut buffer = Buffer::empty(area);
    draw(picture, area, &mut buffer);
    let mut out = BufWriter::new(place.stream());
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
    let Picture { elapsed, now, figures, top, rows, .. } = picture;
    let at = |quantile| millis(Duration::from_micros(figures.latencies.value_at_quantile(quantile)));
    let mut line = format!(
        "{:>3} s  {} records/s  {} {rows}/s  epoch {}  latency {} (p50 {}, p99 {})  lag {}",
        elapsed.as_secs(),
        HumanCount(now.records as u64),
        HumanCount(now.rows as u64),
        figures.epoch,
        millis(figures.latency),
        at(0.5),
        at(0.99),
        HumanCount(figures.total_lag().max(0) as u64),
    );
    if let Some(TopRow { name, value, .. }) = top.rows.first() {
        line += &format!("  top: {name}, {value}");
    }
    line
}
