//! `cutwater ledger`.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};
use clap::builder::NonEmptyStringValueParser;
use cutwater_dataflows::rows::Timestamp;

use crate::log;
use crate::out::{self, Closed};
use crate::shown::count;
use crate::state::cut::Cut;
use crate::state::identity::Identity;
use crate::state::ledger::{FOLDER, Found, Reading, Verified, verify};
use crate::state::resume::Entry;
use crate::state::storage::{self, Storage};

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Show the ledger of a state: the cut of every epoch\n\n\
     A line an epoch, the newest last: when it closed, its watermark, how many records it has, and the partitions that \
     moved, from which offset to which. A partition at the offset 120 has been read up to 119. Where there are several \
     inputs, the watermark of each follows; then the digest of what each output changed by: an epoch that is replayed must \
     come to the same ones.\n\n\
     It changes nothing, and can be used while a run writes the ledger.";

/// The options of `cutwater ledger`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct LedgerArgs {
    /// The folder of the state
    #[arg(value_name = "DIR", value_parser = NonEmptyStringValueParser::new())]
    pub state: String,
    /// Check all of it instead, and tell every problem, with file and line; exit code 1 if there is one
    #[arg(long)]
    pub verify: bool,
}

/// Shows or verifies a ledger.
///
/// # Errors
/// If it can't be read, or is damaged.
pub(super) fn ledger(args: &LedgerArgs) -> Result<()> {
    let storage = storage::open(&args.state)?;
    ensure!(!storage.list(FOLDER)?.is_empty(), "there is no ledger in {}", args.state);
    if !args.verify {
        return out::print(|out| show(&*storage, out));
    }
    let mut problems = 0;
    match out::print(|out| check(&*storage, out, &mut problems)) {
        // Whoever read it has seen enough; damage is told by the exit code all the same.
        Err(error) if error.is::<Closed>() => {}
        checked => checked?,
    }
    ensure!(problems == 0, "the ledger in {} is damaged: {}", storage.place(), count(problems, "problem"));
    Ok(())
}

fn show(storage: &dyn Storage, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{:>10}  {:<24}  {:<24}  {:>10}  moved", "epoch", "closed", "watermark", "records")?;
    for found in Reading::all(storage, None)? {
        match found? {
            Found::Segment(..) => {}
            Found::Entry { entry, before } => {
                writeln!(out, "{}", line(&entry, &before).trim_end())?;
            }
            Found::Damage(problem) => {
                out.flush()?;
                bail!("the ledger is damaged: {problem}; --verify tells of all that is wrong");
            }
            Found::Torn(problem) => {
                out.flush()?;
                tracing::info!("{problem}: it is being written, or what a crash has left of it");
            }
        }
    }
    Ok(())
}

fn line(entry: &Entry, before: &Cut) -> String {
    let Entry { epoch, records, times, .. } = entry;
    let watermark = times.watermark.map_or_else(|| "-".to_owned(), time);
    let mut line = format!("{epoch:>10}  {:<24}  {watermark:<24}  {records:>10}  ", time(times.closed));
    line += &entry.moved(before);
    if times.watermarks.len() > 1 {
        let of = times.watermarks.iter().map(|(input, &watermark)| format!("{input} {}", time(watermark)));
        let _ = write!(line, "; watermarks {}", of.collect::<Vec<_>>().join(", "));
    }
    if !entry.digests.is_empty() {
        let of = entry.digests.iter().map(|(output, digest)| format!("{output} {digest}"));
        let _ = write!(line, "; digests {}", of.collect::<Vec<_>>().join(", "));
    }
    line
}

/// A time as people read it.
fn time(micros: i64) -> String {
    let mut shown = String::new();
    let since = u64::try_from(micros).ok().map(Duration::from_micros);
    match since.and_then(|since| UNIX_EPOCH.checked_add(since)) {
        Some(time) if write!(shown, "{}", humantime::format_rfc3339_millis(time)).is_ok() => shown,
        // It is before 1970, or beyond the year 9999.
        _ => Timestamp::from_micros(micros).to_string(),
    }
}

/// Writes every problem, and counts them. One that can't be written is counted as well.
fn check(storage: &dyn Storage, out: &mut dyn Write, problems: &mut u64) -> Result<()> {
    let place = storage.place();
    let mut said = Ok(());
    let mut tell = |out: &mut dyn Write, problem: String| {
        *problems += 1;
        if said.is_ok() {
            said = writeln!(out, "{problem}");
        }
    };
    let job = Identity::load(storage).unwrap_or_else(|error| {
        tell(out, format!("{error:#}"));
        None
    });
    let job = job.as_ref().map(|identity| identity.job.as_str());
    let verified = verify(storage, job, &mut |problem| tell(out, problem.to_string()))?;
    said?;
    let Verified { segments, epochs, range, torn, .. } = verified;
    if let Some(torn) = torn {
        log::say(&format!(
            "{torn}: it is being written, or what a crash has left of it; the next run cuts it off"
        ));
    }
    if *problems == 0 {
        let (first, last) = range.unwrap_or_default();
        let (epochs, files) = (count(epochs, "epoch"), count(segments as u64, "file"));
        writeln!(out, "{place}: no problem in {epochs}, {first} to {last}, in {files}")?;
    }
    Ok(())
}
