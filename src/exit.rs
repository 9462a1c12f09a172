//! How the program ends when something is wrong: with one clear line.

use std::process::exit;
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::cli::log::{prefix, say};
use crate::supervise::{LOST_PEER, is_supervised};

/// How long the last line may take to be written: standard error may be a pipe that nobody reads.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints an error: one line, with its causes.
pub fn report(error: &anyhow::Error) {
    last_words(&format!("{}error: {error:#}", prefix()));
}

/// Prints a line before the process ends; it ends even where standard error is stuck.
pub fn last_words(line: &str) {
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

/// From now on, a panic in any thread ends the process with one clear line. A cluster whose worker has died can't
/// go on, and timely's network threads tell of a lost peer by a panic.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("no message");
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        if let Some(cause) = text.strip_prefix("timely communication error: ") {
            let peer = thread.rsplit('-').next().unwrap_or("?");
            say(&format!(
                "{}error: the connection to process {peer} is lost ({cause}): it has ended or is out of reach",
                prefix()
            ));
            exit(if is_supervised() { LOST_PEER.into() } else { 1 });
        }
        let place = panic.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        say(&format!(
            "{}error: this is a fault in Cutwater, please report it: thread {thread} panicked at {place}: {text}",
            prefix()
        ));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            say(&std::backtrace::Backtrace::force_capture().to_string());
        }
        exit(1);
    }));
}
