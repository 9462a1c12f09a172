//! `cutwater support`: one file to attach to an issue.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use cutwater_dataflows::reasons::{kind, without_values};
use serde_json::Value;

use super::state;
use crate::shown::{count, shown};
use crate::state::inspect::Inspection;
use crate::state::storage;
use crate::usage::usage;

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Gather what is needed to help, in one file to attach to an issue\n\n\
     Version, build and machine; of a run that answers at --http its options without secrets, its figures, its graph with \
     what each operator costs, and its last warnings and errors; of a state its identity, checkpoints and ledger. There is no \
     record and no row in it. What can't be had is said in the file.";

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

/// What is asked of a run, and what it is called.
#[cfg(feature = "http")]
const ASKED: [(&str, &str); 7] = [
    ("status", "/v1/status"),
    ("readiness", "/readyz"),
    ("last warnings and errors", "/v1/messages"),
    ("graph", "/v1/graph"),
    ("state as the run sees it", "/v1/state"),
    ("dead letters by reason", "/v1/dead-letters?limit=1"),
    ("metrics", "/metrics"),
];

/// Gathers it.
///
/// # Errors
/// If the file can't be written.
pub(super) fn support(args: &SupportArgs) -> Result<()> {
    let shown = args.file.display();
    // Where nothing can be gathered, no file is left.
    let text = gather(args)?;
    let text = crate::secrets::hidden(&text);
    let mut file = File::create_new(&args.file).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!("{shown} is there already: name another file"),
        _ => anyhow!("{shown}: {error}"),
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {shown}"))?;
    crate::log::say(&format!("wrote {shown}, {} lines: read it before you attach it", text.lines().count()));
    let mut missing = text.lines().filter_map(|line| line.strip_prefix(NOT_HAD));
    if let Some(first) = missing.next() {
        let parts = count(1 + missing.count() as u64, "part");
        crate::log::say(&format!("{parts} could not be had: {first}"));
    }
    Ok(())
}

fn gather(args: &SupportArgs) -> Result<String> {
    let mut text = String::new();
    section(&mut text, "program", &program());
    section(&mut text, "machine", &machine());
    if let Some(url) = &args.http {
        ask_all(&mut text, url, args.http_token_file.as_deref())?;
    }
    if let Some(place) = &args.state {
        section(&mut text, "state", &of_state(place).unwrap_or_else(|error| format!("{NOT_HAD}{error:#}\n")));
    }
    Ok(text)
}

fn section(text: &mut String, name: &str, content: &str) {
    let _ = write!(text, "==== {name}\n{content}");
    if !content.ends_with('\n') {
        text.push('\n');
    }
    text.push('\n');
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

#[cfg(not(feature = "http"))]
fn ask_all(_: &mut String, _: &str, _: Option<&Path>) -> Result<()> {
    Err(usage("--http: this program was built without the feature http"))
}

#[cfg(feature = "http")]
fn ask_all(text: &mut String, url: &str, token: Option<&Path>) -> Result<()> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(usage(format!("--http {url}: expected http://HOST:PORT or https://HOST:PORT")));
    }
    let token = token.map(|path| {
        let token = std::fs::read_to_string(path);
        token.with_context(|| format!("reading --http-token-file {}", path.display()))
    });
    let (token, agent) = (token.transpose()?, crate::http::agent(false));
    for (name, path) in ASKED {
        let answer = ask(&agent, url.trim_end_matches('/'), path, token.as_deref());
        let answer =
            answer.map(|body| tidy(path, &body)).unwrap_or_else(|error| format!("{NOT_HAD}{error:#}\n"));
        section(text, &format!("{name} (GET {path})"), &answer);
    }
    Ok(())
}

/// The body of an answer.
#[cfg(feature = "http")]
fn ask(agent: &ureq::Agent, url: &str, path: &str, token: Option<&str>) -> Result<String> {
    let mut request = agent.get(format!("{url}{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.trim()));
    }
    let mut answer = request.call()?;
    let body = answer.body_mut().with_config().limit(64 << 20).read_to_string()?;
    ensure!(answer.status() != 401, "a token is asked for: name its file with --http-token-file");
    Ok(body)
}

/// JSON in lines, without what is in records: dead letters are left out but for their numbers, and what is quoted of them in
/// messages is.
fn tidy(path: &str, body: &str) -> String {
    let Ok(mut json) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    if let Some(fields) = json.as_object_mut() {
        if path.starts_with("/v1/dead-letters") {
            fields.remove("dead_letters");
        }
        let reasons = fields.get_mut("by_reason").and_then(Value::as_array_mut);
        for reason in reasons.into_iter().flatten().filter_map(|counted| counted.get_mut("reason")) {
            *reason = kind(reason.as_str().unwrap_or_default()).into();
        }
        let messages = fields.get_mut("messages").and_then(Value::as_array_mut);
        for text in messages.into_iter().flatten().filter_map(|message| message.get_mut("text")) {
            if let Some(letter) = text.as_str().filter(|text| text.starts_with("dead letter: ")) {
                *text = without_values(letter).into();
            }
        }
    }
    serde_json::to_string_pretty(&json).unwrap_or_else(|_| body.to_owned())
}

fn of_state(place: &str) -> Result<String> {
    let storage = storage::open(place)?;
    let inspection = Inspection::of(&storage, false)?;
    ensure!(!inspection.is_empty(), "there is no state in {}", storage.place());
    let mut text = Vec::new();
    state::show(&inspection, false, &mut text)?;
    Ok(String::from_utf8_lossy(&text).lines().map(|line| format!("{}\n", shown(line))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_record_is_in_it() {
        let letters = r#"{"total":1,"by_reason":[{"reason":"found \"hunter2\"","count":1}],"dead_letters":[{"bytes":"aHVudGVyMg=="}]}"#;
        let tidied = tidy("/v1/dead-letters?limit=1", letters);
        assert!(
            tidied.contains("\"total\": 1") && !tidied.contains("aHVu") && !tidied.contains("hunter2"),
            "{tidied}"
        );
        let messages = r#"{"messages":[{"text":"dead letter: t partition 0 offset 7: price: found \"hunter2\""},
            {"text":"topic \"t\" is gone"}]}"#;
        let tidied = tidy("/v1/messages", messages);
        assert!(!tidied.contains("hunter2") && tidied.contains("price: found"), "{tidied}");
        assert!(tidied.contains(r#"topic \"t\" is gone"#), "{tidied}");
        assert_eq!(tidy("/metrics", "a 1\n"), "a 1\n");
    }

    #[test]
    fn what_can_not_be_had_is_said() {
        let args = SupportArgs {
            file: "unused".into(),
            http: Some("http://127.0.0.1:1/".into()),
            http_token_file: None,
            state: Some("/nowhere/at/all".into()),
        };
        let text = gather(&args).unwrap();
        assert!(text.contains(concat!("cutwater ", env!("CARGO_PKG_VERSION"))), "{text}");
        assert!(text.contains("processors: "), "{text}");
        assert_eq!(text.matches("not had: ").count(), ASKED.len() + 1, "{text}");
    }
}
