//! `--live`: a table on a terminal, which is given back however the run ends. The terminal is `script`'s.

use std::io::{Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use crate::support::DEADLINE;
use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::program::word_count;

/// A run in a terminal.
struct Terminal {
    script: Child,
    keys: ChildStdin,
    shown: Receiver<Vec<u8>>,
    /// All that it has shown.
    seen: String,
}

impl Terminal {
    fn start(topic: &Topic, args: &str) -> Terminal {
        let program = env!("CARGO_BIN_EXE_cutwater");
        let Topic { address, name, .. } = topic;
        let line = format!(
            "stty cols 100 rows 30; exec {program} run word-count -b {address} -t {name} --live {args}"
        );
        let mut script = Command::new("script")
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .env("TERM", "xterm-256color")
            .env_remove("CUTWATER_BROKERS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the system has script");
        let (mut stdout, keys) = (script.stdout.take().expect("piped"), script.stdin.take().expect("piped"));
        let (show, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                // Fails where the test is over.
                let _ = show.send(buffer[..length].to_vec());
            }
        });
        Terminal { script, keys, shown, seen: String::new() }
    }

    /// Waits until it has shown this text. Blanks are not drawn where there are blanks.
    fn wait(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        let bare = |text: &str| text.replace(' ', "");
        while !bare(&plain(&self.seen)).contains(&bare(text)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("{text:?} is not shown ({error}):\n{}", plain(&self.seen)),
            }
        }
    }

    fn press(&mut self, key: &str) {
        self.keys.write_all(key.as_bytes()).expect("it reads keys");
    }

    /// Waits for its end, and returns its exit code and what stays on the terminal.
    fn wait_end(mut self) -> (Option<i32>, String) {
        let status = self.script.wait().expect("it is our child");
        loop {
            match self.shown.recv_timeout(DEADLINE) {
                Ok(bytes) => self.seen += &String::from_utf8_lossy(&bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("its output does not end"),
            }
        }
        // What was drawn on the other screen is gone with it.
        let stays = self.seen.rsplit_once("\u{1b}[?1049l").expect("the terminal is given back").1;
        (status.code(), plain(stays))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// Text without what steers a terminal.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic()).map_or(after.len(), |end| end + 1);
        rest = &after[end..];
    }
    plain + rest
}

#[test]
fn the_table_shows_the_rows_that_come_first_and_q_stops_the_run() {
    let topic = mock().topic(2);
    topic.send(["to be or not to be", "that is the question", "be"]);
    let mut terminal = Terminal::start(&topic, "-o none");
    terminal.wait("counts, most count first, of 8");
    terminal.press("q");
    let (code, stays) = terminal.wait_end();
    assert_eq!(code, Some(0), "{stays}");
    let lines: Vec<&str> = stays.lines().map(str::trim).collect();
    for wanted in ["cutwater run  word-count", "counts, most count first, of 8"] {
        assert!(lines.iter().any(|line| line.starts_with(wanted)), "{wanted} is missing:\n{stays}");
    }
    let row = |word: &str| {
        let is = |line: &&&str| line.split_whitespace().next() == Some(word);
        lines.iter().find(is).and_then(|line| line.split_whitespace().nth(1)).map(str::to_owned)
    };
    assert_eq!(
        (row("be"), row("to"), row("question")),
        (Some("3".into()), Some("2".into()), Some("1".into())),
        "{stays}"
    );
    assert!(lines.iter().any(|line| line.starts_with("done: 3 records")), "{stays}");
}

#[test]
fn an_error_is_seen_once_the_terminal_is_given_back() {
    let topic = mock().topic(1);
    topic.send(["a"]);
    let mut terminal = Terminal::start(&topic, "-o file:/dev/full");
    terminal.wait("cutwater run");
    let (code, stays) = terminal.wait_end();
    assert_eq!(code, Some(1), "{stays}");
    assert!(stays.contains("error: ") && stays.contains("No space left"), "{stays}");
}

#[test]
fn where_it_can_not_be_drawn_it_is_wrong_usage() {
    let run = |args: &str| word_count("127.0.0.1:1", "t").with("--live").with(args).run();
    run("").fails(2, &["--live: rows go to standard output", "--to none"]);
    run("-o none").fails(2, &["--live draws on a terminal", "--http"]);
    run("-o none --quiet").fails(2, &["--live", "--quiet"]);
    run("-o none --log-format json").expect(2);
    run("-o none -n 2").fails(2, &["--live", "--process 0", "--http"]);
}
