//! Logs and progress: both go to standard error, and don't break each other's lines.

mod lines;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Map;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::measure::messages::Keeping;
use crate::secrets::hidden;
use crate::shown::{self, shown_but};
use crate::usage::usage;
use lines::{Json, object};

/// All that is drawn on standard error.
static PROGRESS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
/// What is kept while a picture fills the terminal.
static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);
/// Gives the terminal back before the process ends.
static BEFORE_THE_END: OnceLock<fn()> = OnceLock::new();
/// Put before each line of a process of several.
static PREFIX: OnceLock<String> = OnceLock::new();
/// The index of a process of several.
static PROCESS: OnceLock<usize> = OnceLock::new();
/// True iff each line is a JSON object.
static JSON: AtomicBool = AtomicBool::new(false);

/// How a line of the log looks.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level and message, for people
    Text,
    /// A JSON object: time, level, target, message, fields, process
    Json,
}

/// Starts logging to standard error what passes the filter; with `payloads`, what is in records is shown.
///
/// # Errors
/// A usage error if the filter is not one.
pub fn start(filter: &str, format: LogFormat, payloads: bool) -> Result<()> {
    // What is wrong with a certificate is in the error that comes of it, and need not be said by the verifier as well.
    let filter = EnvFilter::try_new(format!("rustls_platform_verifier=off,{filter}"))
        .map_err(|error| usage(format!("--log {filter}: {error}")))?;
    if payloads {
        shown::show_payloads();
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Stderr);
    // The library's tests and embedding programs may have a subscriber of their own.
    let started = match format {
        LogFormat::Text => lines
            .with_target(false)
            .with_ansi(io::stderr().is_terminal())
            // The message says in words what the fields say to programs.
            .fmt_fields(debug_fn(|out, field, value| match field.name() {
                "message" => write!(out, "{value:?}"),
                _ => Ok(()),
            }))
            .finish()
            .with(Keeping)
            .try_init(),
        LogFormat::Json => {
            as_json();
            lines.with_ansi(false).event_format(Json).finish().with(Keeping).try_init()
        }
    };
    let _ = started;
    Ok(())
}

/// From now on, each line is a JSON object.
pub(crate) fn as_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// True iff each line is a JSON object.
pub(crate) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// True iff bars and lines that change may be drawn.
fn is_drawn() -> bool {
    io::stderr().is_terminal() && !is_json()
}

/// The index of this process, where it is one of several.
pub(crate) fn process() -> Option<usize> {
    PROCESS.get().copied()
}

/// From now on, lines of this process begin with its index.
pub fn name_process(process: usize) {
    let _ = PROCESS.set(process);
    let _ = PREFIX.set(format!("[process {process}] "));
}

/// Writes a line to standard error, above the progress. For what is neither rows nor log: the summary, and the error with
/// which the program ends.
pub fn say(line: &str) {
    let line = if is_json() {
        let line = line.strip_prefix(prefix()).unwrap_or(line);
        let (level, line) = match line.strip_prefix("error: ") {
            Some(error) => (Level::ERROR, error),
            None => (Level::INFO, line),
        };
        object(level, "cutwater", line, Map::new())
    } else {
        hidden(line).into_owned()
    };
    // Nothing can be done where standard error has gone.
    let _ = write(format!("{line}\n").as_bytes());
}

/// Keeps all lines from now on: a picture fills the terminal.
pub fn hold() {
    held().get_or_insert_default();
}

/// Writes the lines that were kept, and those that come as before.
pub fn release() {
    let lines = held().take().unwrap_or_default();
    let _ = write(&lines);
}

/// Has this be done before the process ends, however it does.
pub fn before_the_end(give_back: fn()) {
    let _ = BEFORE_THE_END.set(give_back);
}

/// The process is about to end: what was taken of the terminal is given back.
pub fn end() {
    if let Some(give_back) = BEFORE_THE_END.get() {
        give_back();
    }
}

fn held() -> MutexGuard<'static, Option<Vec<u8>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(lines: &[u8]) -> io::Result<()> {
    if let Some(held) = &mut *held() {
        held.extend_from_slice(lines);
        forget(held);
        return Ok(());
    }
    PROGRESS.suspend(|| io::stderr().write_all(lines))
}

/// Bytes of lines that are kept: a picture may stay for months.
const KEPT: usize = 1 << 20;

/// Leaves the last half of what is kept, where it is too much.
fn forget(held: &mut Vec<u8>) {
    if held.len() <= KEPT {
        return;
    }
    let from = held.len() - KEPT / 2;
    let end = held[from..].iter().position(|&byte| byte == b'\n').map_or(held.len(), |line| from + line + 1);
    held.drain(..end);
}

/// The prefix of this process's lines.
pub fn prefix() -> &'static str {
    PREFIX.get().map_or("", String::as_str)
}

/// A line on standard error that shows the state of a run.
#[must_use]
pub fn spinner() -> ProgressBar {
    let bar = PROGRESS.add(ProgressBar::new_spinner());
    // Cut at the width of the terminal: what wraps would stay there when the line is drawn again.
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is valid");
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar that shows how much of `total` bytes is done; without a total, how much is done.
#[must_use]
pub fn bytes_bar(quiet: bool, total: Option<u64>) -> Option<ProgressBar> {
    bar(
        quiet,
        total,
        "{wide_bar} {bytes}/{total_bytes} ({bytes_per_sec}, {eta} left) {msg}",
        "{spinner} {bytes} ({bytes_per_sec}) {msg}",
    )
}

/// A bar that shows how many of `total` records are done; without a total, how many are.
#[must_use]
pub fn records_bar(quiet: bool, total: Option<u64>) -> Option<ProgressBar> {
    bar(
        quiet,
        total,
        "{wide_bar} {human_pos}/{human_len} ({per_sec}, {eta} left) {msg}",
        "{spinner} {human_pos} ({per_sec}) {msg}",
    )
}

/// A bar of this style, or of the other one where there is no total.
fn bar(quiet: bool, total: Option<u64>, bounded: &str, endless: &str) -> Option<ProgressBar> {
    if quiet || !is_drawn() {
        return None;
    }
    let (bar, style) = match total {
        Some(total) => (ProgressBar::new(total), bounded),
        None => (ProgressBar::new_spinner(), endless),
    };
    bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
    Some(PROGRESS.add(bar))
}

/// Standard error, line by line.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line
    }
}

struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // What others say must not steer the terminal; the escapes of our colours may, and tracing has escaped those in
        // what is logged.
        let text = String::from_utf8_lossy(line);
        if is_json() {
            // It is all in the object, and escaped there.
            let _ = write(text.as_bytes());
            return Ok(line.len());
        }
        let text = hidden(&text);
        let text = shown_but(text.strip_suffix('\n').unwrap_or(&text), |c| c == '\u{1b}');
        // One write a line: lines of several processes must not mix.
        // A log that can't be written (a full disk, a reader that has gone) is no reason to end, and the subscriber would
        // tell the error on the same standard error, by a macro that panics.
        let _ = write(format!("{}{text}\n", prefix()).as_bytes());
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
