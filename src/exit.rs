//! How the program ends when something is wrong: with one clear line.

use std::process::exit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::bounded;

use cutwater_dataflows::panics;

use crate::log::{self, prefix, say};
use crate::shown::shown;
use crate::supervised::{self, LOST_PEER, is_supervised};

/// How long the last line may take to be written: standard error may be a pipe that nobody reads.
const PATIENCE: Duration = Duration::from_secs(2);

/// True once a connection to another process is lost.
static LOST: AtomicBool = AtomicBool::new(false);

/// Where the processes of this cluster listen, by their index.
static PEERS: OnceLock<Vec<String>> = OnceLock::new();

/// Names the processes of this cluster, for the line that says which of them is lost.
pub fn name_peers(addresses: &[String]) {
    let _ = PEERS.set(addresses.to_vec());
}

/// Prints an error: one line, with its causes.
pub fn report(error: &anyhow::Error) {
    let text = format!("{error:#}");
    let text = shown(&text);
    supervised::error(&text);
    last_words(&format!("{}error: {text}", prefix()));
}

/// Prints a line before the process ends; it ends even where standard error is stuck.
pub fn last_words(line: &str) {
    log::end();
    let (said, done) = bounded(1);
    let line = line.to_owned();
    let speaking = std::thread::Builder::new().spawn(move || {
        say(&line);
        said.send(())
    });
    if speaking.is_ok() {
        // Fails where it takes too long, and nothing can be done about that.
        let _ = done.recv_timeout(PATIENCE);
    }
}

/// From now on, a panic in any thread ends the process with one clear line, unless it is caught where a dataflow's code
/// runs. A cluster whose worker has died can't go on, and timely's network threads tell of a lost peer by a panic.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if panics::is_caught(panic) {
            return;
        }
        let text = panics::one_line(panic.payload_as_str().unwrap_or("no message"));
        let text = shown(&text);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        if let Some(cause) = text.strip_prefix("timely communication error: ") {
            // One thread reads and another writes: what is lost is lost for both, and is said once.
            if LOST.swap(true, Ordering::Relaxed) {
                loop {
                    std::thread::park();
                }
            }
            let peer = thread.rsplit('-').next().unwrap_or("?");
            let address = PEERS.get().zip(peer.parse::<usize>().ok()).and_then(|(all, index)| all.get(index));
            let address = address.map_or_else(String::new, |address| format!(" at {address}"));
            let text = format!(
                "the connection to process {peer}{address} is lost ({cause}): it has ended or is out of reach"
            );
            supervised::error(&text);
            say(&format!("{}error: {text}", prefix()));
            exit(if is_supervised() { LOST_PEER.into() } else { 1 });
        }
        let (file, line) = panic.location().map_or(("", 0), |place| (place.file(), place.line()));
        let text = whose(panics::dataflow(), file, line, thread, &text);
        supervised::error(&text);
        say(&format!("{}error: {text}", prefix()));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            say(&std::backtrace::Backtrace::force_capture().to_string());
        }
        exit(1);
    }));
}

/// A panic in a line: as a fault in the dataflow that the thread runs, if it is of code that isn't ours.
fn whose(dataflow: Option<&str>, file: &str, line: u32, thread: &str, text: &str) -> String {
    let ours = |of: &str| of.rfind(['/', '\\']).is_some_and(|end| file.starts_with(&of[..=end]));
    match dataflow {
        Some(dataflow) if !ours(file!()) && !ours(panics::FILE) => {
            format!("dataflow {dataflow} panicked at {file}:{line}: {text}")
        }
        _ => {
            format!(
                "this is a fault in Cutwater, please report it: thread {thread} panicked at {file}:{line}: {text}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_of_as_whose_it_is() {
        let whose = |dataflow, file| whose(dataflow, file, 7, "worker 0", "no such word");
        let theirs = whose(Some("lengths"), "/home/they/lengths/src/main.rs");
        assert_eq!(theirs, "dataflow lengths panicked at /home/they/lengths/src/main.rs:7: no such word");
        for (dataflow, file) in [
            (None, "/home/they/lengths/src/main.rs"),
            (Some("lengths"), file!()),
            (Some("lengths"), panics::FILE),
            (Some("lengths"), &panics::FILE.replace("panics.rs", "arrange/batch.rs")),
        ] {
            assert!(whose(dataflow, file).contains("fault in Cutwater"), "{file}");
        }
    }
}
