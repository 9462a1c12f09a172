//! `cutwater support`: one file to attach to an issue.

#[cfg(feature = "http")]
mod asked;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::state;
use crate::shown::{count, shown};
use crate::state::inspect::Inspection;
use crate::state::storage;

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Gather what is needed to help, in one file to attach to an issue\n\n\
     Version, build and machine; of a run that answers at --http its options without secrets, its figures, its graph with \
     what each operator costs, and its last warnings and errors; of a state its identity, checkpoints and ledger. There is no \
     record and no row in it. What can't be had is said in the file; where nothing of it can be had, no file is written.";

/// The options of `cutwater support`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct SupportArgs {
    /// The file that is written; it must not be there yet
    #[arg(value_name = "FILE", default_value = "cutwater-support.txt")]
    pub file: PathBuf,
    /// Where a run answers: what it was given as --http, with http:// or https:// before it
    #[arg(long, value_name = "URL")]
    pub http: Option<String>,
    /// The file with the token that the run asks for
    #[arg(long, value_name = "FILE")]
    pub http_token_file: Option<PathBuf>,
    /// The folder of a state, or its URL
    #[arg(short, long, value_name = "DIR|URL")]
    pub state: Option<String>,
}

/// How the content of a part begins that could not be had.
const NOT_HAD: &str = "not had: ";

/// Gathers it.
///
/// # Errors
/// If the file can't be written, or if nothing could be had of what was asked for.
pub(super) fn support(args: &SupportArgs) -> Result<()> {
    let shown = args.file.display();
    // Where nothing can be gathered, no file is left.
    let Gathered { text, asked, not_had } = gather(args)?;
    if let Some(first) = not_had.first().filter(|_| asked == not_had.len()) {
        bail!("nothing could be had: {first}; {shown} was not written");
    }
    let text = crate::secrets::hidden(&text);
    let mut file = File::create_new(&args.file).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!("{shown} is there already: name another file"),
        _ => anyhow!("{shown}: {error}"),
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {shown}"))?;
    crate::log::say(&format!("wrote {shown}, {} lines: read it before you attach it", text.lines().count()));
    if let Some(first) = not_had.first() {
        let parts = count(not_had.len() as u64, "part");
        crate::log::say(&format!("{parts} could not be had: {first}"));
    }
    Ok(())
}

/// What was gathered.
#[derive(Default)]
struct Gathered {
    text: String,
    /// Parts that were asked for: of a run and of a state.
    asked: usize,
    /// Why those of them are missing that could not be had.
    not_had: Vec<String>,
}

impl Gathered {
    fn section(&mut self, name: &str, content: &str) {
        let _ = write!(self.text, "==== {name}\n{content}");
        if !content.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push('\n');
    }

    /// A part that was asked for.
    fn part(&mut self, name: &str, content: Result<String>) {
        self.asked += 1;
        match content {
            Ok(content) => self.section(name, &content),
            Err(error) => {
                let why = format!("{error:#}");
                self.section(name, &format!("{NOT_HAD}{why}"));
                self.not_had.push(why);
            }
        }
    }
}

fn gather(args: &SupportArgs) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    gathered.section("program", &program());
    gathered.section("machine", &machine());
    if let Some(url) = &args.http {
        asked::all(&mut gathered, url, args.http_token_file.as_deref())?;
    }
    if let Some(place) = &args.state {
        gathered.part("state", of_state(place));
    }
    Ok(gathered)
}

fn program() -> String {
    let features = [
        ("bench", cfg!(feature = "bench")),
        ("chinese", cfg!(feature = "chinese")),
        ("demo", cfg!(feature = "demo")),
        ("http", cfg!(feature = "http")),
        ("live", cfg!(feature = "live")),
        ("s3", cfg!(feature = "s3")),
    ];
    let features: Vec<&str> = features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    format!(
        "cutwater {} for {} on {}, features: {}\nlibrdkafka {librdkafka}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS,
        features.join(" ")
    )
}

/// The system, its processors and its memory, as far as they are known.
fn machine() -> String {
    let read = |path: &str, field: &str| -> Option<String> {
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.trim_matches([' ', '"', ':', '\t', '=']).to_owned())
    };
    let mut text = String::new();
    for (name, value) in [
        ("system", read("/etc/os-release", "PRETTY_NAME")),
        ("kernel", std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()),
        ("processors", std::thread::available_parallelism().ok().map(|n| n.to_string())),
        ("memory", read("/proc/meminfo", "MemTotal")),
        ("memory available", read("/proc/meminfo", "MemAvailable")),
    ] {
        let _ = writeln!(text, "{name}: {}", value.as_deref().unwrap_or("not known").trim());
    }
    text
}

fn of_state(place: &str) -> Result<String> {
    let storage = storage::open(place)?;
    let inspection = Inspection::of(&storage, false)?;
    ensure!(!inspection.is_empty(), "there is no state in {}", storage.place());
    let mut text = Vec::new();
    state::show(&inspection, false, &mut text)?;
    Ok(String::from_utf8_lossy(&text).lines().map(|line| format!("{}\n", shown(line))).collect())
}

#[cfg(not(feature = "http"))]
mod asked {
    use std::path::Path;

    use super::Gathered;
    use crate::usage::usage;

    pub(super) fn all(_: &mut Gathered, _: &str, _: Option<&Path>) -> anyhow::Result<()> {
        Err(usage("--http: this program was built without the feature http"))
    }
}
