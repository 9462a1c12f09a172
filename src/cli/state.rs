//! `cutwater state`.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, ensure};
use clap::builder::NonEmptyStringValueParser;
use indicatif::HumanBytes;

use crate::out::{self, Closed};
use crate::shown::{count as counted, shown};
use crate::state::checkpoint::manifest::{self, Manifest};
use crate::state::identity::Identity;
use crate::state::inspect::{Files, Inspection};
use crate::state::{ledger, storage};
use crate::time::micros_since_epoch;

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Show what is in a state: whose it is, its checkpoints, its ledger, its size\n\n\
     It changes nothing, and can be used while a run goes on.";

/// The options of `cutwater state`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct StateArgs {
    /// The folder of the state, or its URL
    #[arg(value_name = "DIR", value_parser = NonEmptyStringValueParser::new())]
    pub state: String,
    /// Check every byte of all files as well, and tell every problem; exit code 1 if there is one
    #[arg(long)]
    pub verify: bool,
}

/// Shows a state, and verifies it if asked to.
///
/// # Errors
/// If it can't be read, or something is wrong with it.
pub(super) fn state(args: &StateArgs) -> Result<()> {
    let storage = storage::open(&args.state)?;
    let inspection = Inspection::of(&storage, args.verify)?;
    let place = storage.place();
    ensure!(!inspection.is_empty(), "there is no state in {place}");
    match out::print(|out| show(&inspection, args.verify, out)) {
        // Whoever read it has seen enough; damage is told by the exit code all the same.
        Err(error) if error.is::<Closed>() => {}
        shown => shown?,
    }
    let problems = inspection.problems.len();
    ensure!(problems == 0, "the state {place} is damaged: {}", counted(problems as u64, "problem"));
    Ok(())
}

/// Shows what is in a state.
pub(super) fn show(inspection: &Inspection, verified: bool, mut out: &mut dyn Write) -> Result<()> {
    if let Some(identity) = &inspection.identity {
        show_identity(identity, &mut out)?;
    }
    let ledger = &inspection.ledger;
    if let Some((first, last)) = ledger.range {
        let files = inspection.files.get(ledger::FOLDER).copied().unwrap_or_default();
        line(&mut out, "ledger", &format!("epochs {first} to {last}, {}", of_files(files)))?;
    }
    for checkpoint in inspection.checkpoints.iter().rev() {
        show_checkpoint(checkpoint, &mut out)?;
    }
    if inspection.checkpoints.is_empty() {
        line(&mut out, "checkpoint", "none")?;
    }
    let all = inspection.files.values();
    let all = all.fold(Files::default(), |a, b| Files { count: a.count + b.count, bytes: a.bytes + b.bytes });
    line(&mut out, "size", &of_files(all))?;
    if inspection.unnamed.count > 0 {
        // A stop makes no checkpoint: what was written since the last one is left, and read from the topic again.
        let since = of_files(inspection.unnamed);
        line(
            &mut out,
            "",
            &format!("{since} of it written since the last checkpoint, as usual; a later one replaces them"),
        )?;
    }
    for problem in &inspection.problems {
        line(&mut out, "problem", problem)?;
    }
    if verified && inspection.problems.is_empty() {
        line(&mut out, "verified", "no problem")?;
    }
    Ok(())
}

fn show_identity(identity: &Identity, out: &mut impl Write) -> Result<()> {
    let Identity {
        job,
        created,
        dataflow,
        options,
        inputs,
        formats,
        lateness,
        cluster,
        topics,
        outputs,
        group,
        ..
    } = identity;
    line(out, "job", &format!("{job}, made {}", when(*created)))?;
    line(out, "dataflow", &format!("{dataflow}, {options}"))?;
    for (input, bound) in inputs {
        let format = formats.get(input).map(|format| format!(", as {format}")).unwrap_or_default();
        line(out, "input", &format!("{input} = {}{format}", bound.join(", ")))?;
    }
    if let Some(lateness) = lateness {
        line(out, "lateness", &humantime::format_duration(Duration::from_micros(*lateness)).to_string())?;
    }
    line(out, "cluster", cluster.as_deref().unwrap_or("not known"))?;
    let named = topics.iter().map(|topic| ("topic", topic));
    for (what, (topic, id)) in named.chain(outputs.iter().map(|topic| ("writes to", topic))) {
        let id = id.as_deref().map(|id| format!(", id {id}")).unwrap_or_default();
        line(out, what, &format!("{topic}{id}"))?;
    }
    line(out, "group", group)
}

fn show_checkpoint(checkpoint: &Manifest, out: &mut impl Write) -> Result<()> {
    let Manifest { epoch, time, collections, .. } = checkpoint;
    line(out, manifest::FOLDER.trim_end_matches('s'), &format!("epoch {epoch}, {}", when(*time)))?;
    for (name, rows) in collections {
        // A row that has changed is in several runs until they are merged: these are not the collection's rows.
        let (changes, runs) = (counted(rows.rows, "stored change"), counted(rows.runs.len() as u64, "run"));
        line(out, "", &format!("{name}: {changes} of rows, {}, {runs}", HumanBytes(rows.bytes)))?;
    }
    Ok(())
}

fn line(out: &mut impl Write, name: &str, text: &str) -> Result<()> {
    Ok(writeln!(out, "{name:<11} {}", shown(text))?)
}

fn of_files(files: Files) -> String {
    let Files { count, bytes } = files;
    format!("{} in {}", HumanBytes(bytes), counted(count, "file"))
}

/// A moment in microseconds since the Unix epoch, and how long ago it is.
fn when(micros: u64) -> String {
    let moment = Duration::from_micros(micros);
    let ago = micros_since_epoch().saturating_sub(micros) / 1_000_000;
    // The longer, the less exactly.
    let unit = [24 * 60 * 60, 60 * 60, 60].into_iter().find(|unit| ago >= 24 * unit).unwrap_or(1);
    let ago = humantime::format_duration(Duration::from_secs(ago - ago % unit));
    // Beyond the year 9999 there is no such text.
    match UNIX_EPOCH.checked_add(moment).filter(|_| micros < 253_402_300_800_000_000) {
        Some(time) => format!("{} ({ago} ago)", humantime::format_rfc3339_seconds(time)),
        None => micros.to_string(),
    }
}
