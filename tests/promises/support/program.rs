//! Runs the built program, with a deadline for everything that it is to do.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cutwater::kafka::client::Fetch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::DEADLINE;

/// A command line of `cutwater`, to be started.
pub struct Program {
    command: Command,
    /// What it gets on standard input.
    input: Option<Vec<u8>>,
    /// Where its standard output and standard error go, where that is not to the test.
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
}

/// `cutwater` with these arguments. A run fetches records as [`fetch`] says.
pub fn cutwater<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Program {
    let program = program_at(Path::new(env!("CARGO_BIN_EXE_cutwater"))).args(args);
    let is_run = program.command.get_args().next().is_some_and(|first| first == "run");
    match fetch() {
        Fetch::Direct if is_run => program.with("--fetch direct"),
        _ => program,
    }
}

/// How the tests have records fetched: as `CUTWATER_TEST_FETCH` says.
pub fn fetch() -> Fetch {
    match std::env::var("CUTWATER_TEST_FETCH").as_deref() {
        Err(_) | Ok("librdkafka") => Fetch::Librdkafka,
        Ok("direct") => Fetch::Direct,
        Ok(other) => panic!("CUTWATER_TEST_FETCH={other}: librdkafka or direct is wanted"),
    }
}

/// A `cutwater` that lies there, without arguments.
pub fn program_at(path: &Path) -> Program {
    let mut command = Command::new(path);
    // What the developer's shell sets is not the test's.
    command.env_remove("CUTWATER_BROKERS").stdin(Stdio::null());
    Program { command, input: None, stdout: None, stderr: None }
}

/// Where [`own`] is given its arguments, between `\u{1f}`.
pub const OWN: &str = "CUTWATER_TEST_OWN";

/// A program of dataflows of one's own, with these arguments: this test binary, as `quick_own` has it behave.
pub fn own(args: &[&str]) -> Program {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", "quick_own::program", "--nocapture"]).env(OWN, args.join("\u{1f}"));
    command.env_remove("CUTWATER_BROKERS").stdin(Stdio::null());
    Program { command, input: None, stdout: None, stderr: None }
}

/// `cutwater run word-count` on a topic of these brokers.
pub fn word_count(brokers: &str, topic: &str) -> Program {
    cutwater(["run", "word-count", "--brokers", brokers, "--topic", topic])
}

impl Program {
    /// With more arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// With more arguments, separated by white space.
    pub fn with(self, args: &str) -> Self {
        self.args(args.split_whitespace())
    }

    /// Is this among its arguments?
    pub fn shows(&self, text: &str) -> bool {
        self.command.get_args().any(|arg| arg.to_string_lossy().contains(text))
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// In a network namespace of this name.
    pub fn inside(mut self, namespace: &str) -> Self {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace])
            .arg(self.command.get_program())
            .args(self.command.get_args());
        command.env_remove("CUTWATER_BROKERS").stdin(Stdio::null());
        self.command = command;
        self
    }

    /// With this on its standard input, instead of nothing.
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = Some(bytes.to_vec());
        self
    }

    /// With its standard output going there, instead of to the test.
    pub fn stdout_to(mut self, to: impl Into<Stdio>) -> Self {
        self.stdout = Some(to.into());
        self
    }

    /// With its standard error going there, instead of to the test.
    pub fn stderr_to(mut self, to: impl Into<Stdio>) -> Self {
        self.stderr = Some(to.into());
        self
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let mut running = self.start_unread();
        if let Some(stdout) = running.child.stdout.take() {
            running.stdout = Lines::read(stdout);
        }
        running
    }

    /// Starts it; nobody reads its standard output but the test, from `child.stdout`.
    pub fn start_unread(mut self) -> Running {
        self.command.stdout(self.stdout.take().unwrap_or_else(Stdio::piped));
        self.command.stderr(self.stderr.take().unwrap_or_else(Stdio::piped));
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let shown = format!("{:?}", self.command);
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("starting {shown}: {error}"));
        if let (Some(input), Some(mut stdin)) = (self.input, child.stdin.take()) {
            // Fails where the program ends before it has read all: then its exit code tells.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        let stderr = child.stderr.take().map_or_else(Lines::none, Lines::read);
        Running { child, shown, stdout: Lines::none(), stderr, rows_seen: 0 }
    }

    /// Runs it to its end.
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Runs it to its end, which is to be a good one, and returns the lines of standard output.
    pub fn rows(self) -> Vec<String> {
        self.run().expect(0).stdout
    }
}

/// A program that runs. It is killed when this is dropped.
pub struct Running {
    pub child: Child,
    shown: String,
    stdout: Lines,
    stderr: Lines,
    rows_seen: usize,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal)
            .unwrap_or_else(|error| panic!("sending {signal} to {}: {error}", self.shown));
    }

    /// Waits for a line of standard error that holds `text`, and returns it.
    pub fn wait_stderr(&self, text: &str) -> String {
        let found = self.stderr.wait(0, |line| line.contains(text).then(|| line.to_owned()));
        found.unwrap_or_else(|| self.fail(&format!("there is no line {text:?} on standard error")))
    }

    /// Takes lines of standard output, each once, until `last` says that it was the last one.
    pub fn rows_until(&mut self, mut last: impl FnMut(&str) -> bool) {
        let mut seen = self.rows_seen;
        let found = self.stdout.wait(seen, |line| {
            seen += 1;
            last(line).then_some(())
        });
        self.rows_seen = seen;
        if found.is_none() {
            self.fail("the rows that were waited for have not come");
        }
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let status = self.wait_status();
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        match (stdout, stderr) {
            (Some(stdout), Some(stderr)) => Ended { shown: self.shown.clone(), status, stdout, stderr },
            _ => self.fail("it has ended, but its output has not: who still holds it?"),
        }
    }

    /// The lines of standard error by now with this text.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        self.stderr.now().iter().filter(|line| line.contains(text)).map(|line| line.to_string()).collect()
    }

    /// Has it said this on standard error so far?
    pub fn has_said(&self, text: &str) -> bool {
        self.stderr.now().iter().any(|line| line.contains(text))
    }

    fn wait_status(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            if Instant::now() > deadline {
                self.fail(&format!("it has not ended within {DEADLINE:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Fails the test, and shows what the program has said.
    pub fn fail(&self, why: &str) -> ! {
        panic!("{}", report(&self.shown, why, &self.stdout.now(), &self.stderr.now()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that has ended.
pub struct Ended {
    shown: String,
    pub status: ExitStatus,
    /// The lines of standard output.
    pub stdout: Vec<String>,
    /// The lines of standard error.
    pub stderr: Vec<String>,
}

impl Ended {
    /// Its exit code is to be this.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        if self.status.code() != Some(code) {
            self.fail(&format!("it ended with {}, not with exit code {code}", self.status));
        }
        self
    }

    /// A line of standard error holds all of `texts`. Returns it.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) -> &str {
        match self.stderr.iter().find(|line| texts.iter().all(|text| line.contains(text))) {
            Some(line) => line,
            None => self.fail(&format!("no line on standard error holds {texts:?}")),
        }
    }

    /// It fails with this code and one clear line, and that holds all of `texts`.
    #[track_caller]
    pub fn fails(self, code: i32, texts: &[&str]) -> Self {
        let ended = self.expect(code);
        // What librdkafka says in the log may hold the word as well.
        let is_error = |line: &&String| {
            let said = line.strip_prefix("[process ").and_then(|rest| Some(rest.split_once("] ")?.1));
            said.unwrap_or(line).starts_with("error: ")
        };
        let errors: Vec<&String> = ended.stderr.iter().filter(is_error).collect();
        if errors.len() != 1 || !texts.iter().all(|text| errors[0].contains(text)) {
            ended.fail(&format!("there is not one line of an error, that holds {texts:?}"));
        }
        if ended.stderr.iter().any(|line| line.contains("panicked")) {
            ended.fail("it panicked");
        }
        ended
    }

    /// Fails the test, and shows what the program has said.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        panic!("{}", report(&self.shown, why, &self.stdout, &self.stderr))
    }
}

/// Lines that are shown of a failed program's output.
const SHOWN: usize = 40;

fn report(shown: &str, why: &str, stdout: &[String], stderr: &[String]) -> String {
    let mut text = format!("{why}\n    {shown}\n");
    for (name, lines) in [("standard output", stdout), ("standard error", stderr)] {
        let skipped = lines.len().saturating_sub(SHOWN);
        let _ = writeln!(text, "--- {name}: {} lines, the last of which are", lines.len());
        for line in &lines[skipped..] {
            let _ = writeln!(text, "{}", line.chars().take(500).collect::<String>());
        }
    }
    text
}

/// The lines of a pipe, read by a thread of its own.
#[derive(Clone, Default)]
struct Lines(Arc<(Mutex<Pipe>, Condvar)>);

#[derive(Default)]
struct Pipe {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn read(from: impl Read + Send + 'static) -> Self {
        let lines = Lines::default();
        let shared = lines.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(from);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line);
                shared.lock().lines.push(text.strip_suffix('\n').unwrap_or(&text).to_owned());
                shared.0.1.notify_all();
                line.clear();
            }
            shared.lock().ended = true;
            shared.0.1.notify_all();
        });
        lines
    }

    fn none() -> Self {
        let lines = Lines::default();
        lines.lock().ended = true;
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Pipe> {
        self.0.0.lock().expect("no reader panics")
    }

    fn now(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Shows lines from `first` on to `found`, until it returns something; `None` at the end or the deadline.
    fn wait<T>(&self, first: usize, mut found: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + DEADLINE;
        let mut next = first;
        loop {
            let new: Vec<String> = {
                let mut pipe = self.lock();
                while pipe.lines.len() <= next && !pipe.ended {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    pipe = self.0.1.wait_timeout(pipe, left).expect("no reader panics").0;
                }
                pipe.lines[next..].to_vec()
            };
            if new.is_empty() {
                return None;
            }
            for line in new {
                next += 1;
                if let Some(found) = found(&line) {
                    return Some(found);
                }
            }
        }
    }

    /// All lines, once the pipe has ended; `None` at the deadline.
    fn rest(&self) -> Option<Vec<String>> {
        let pipe = self.0.1.wait_timeout_while(self.lock(), DEADLINE, |pipe| !pipe.ended);
        let (pipe, _) = pipe.expect("no reader panics");
        pipe.ended.then(|| pipe.lines.clone())
    }
}
