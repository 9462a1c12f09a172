//! The program under test, from a start to an end.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::clock::Clock;
use super::plan::{Crash, Shape, Whom};
use super::processes::{MARK, describe, marked, send};
use crate::support::DEADLINE;

/// Between two looks at processes.
const LOOK: Duration = Duration::from_millis(5);

/// A life of the program. Its processes are killed when this is dropped.
pub struct Victim {
    child: Child,
    mark: String,
    /// Where its standard output and error go.
    pub log: PathBuf,
}

impl Victim {
    /// Starts the program with these arguments and in this shape; `mark` is that of no other.
    pub fn start(
        mark: String,
        log: PathBuf,
        args: &[String],
        shape: Shape,
        crash: Option<Crash>,
        clock: Option<&Clock>,
    ) -> Victim {
        let output = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let errors = output.try_clone().expect("a file can be opened twice");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutwater"));
        command
            .args(args)
            .args(["-w", &shape.workers.to_string(), "-n", &shape.processes.to_string()])
            .env_remove("CUTWATER_BROKERS")
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        if let Some(Crash { point, count, .. }) = crash {
            command.env("CUTWATER_CRASH", format!("{point}:{count}"));
        }
        if let Some(clock) = clock {
            clock.give(&mut command);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("starting cutwater: {error}"));
        Victim { child, mark, log }
    }

    /// The one that was started: it works itself, or it is the supervisor of those that do.
    pub fn first(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Those that work: all that were started by a supervisor, or the only one.
    fn workers(&self) -> Vec<Pid> {
        let mut all = marked(&self.mark);
        if all.len() > 1 {
            all.retain(|&pid| pid != self.first());
        }
        all
    }

    /// One of all processes, counted round; `None` if there is none any more.
    pub fn any(&self, number: usize) -> Option<Pid> {
        let all = marked(&self.mark);
        (!all.is_empty()).then(|| all[number % all.len()])
    }

    /// Kills some, and returns how many it has hit.
    pub fn kill(&self, whom: Whom) -> usize {
        let chosen = match whom {
            Whom::Supervisor => vec![self.first()],
            Whom::One(number) => {
                let workers = self.workers();
                workers.get(number % workers.len().max(1)).copied().into_iter().collect()
            }
            Whom::All => marked(&self.mark),
        };
        let alive = marked(&self.mark);
        chosen.into_iter().filter(|pid| alive.contains(pid) && send(*pid, Signal::SIGKILL)).count()
    }

    /// How the first process has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits until the first process has ended; `None` if it lives on after this time.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() > deadline {
                return ended;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// One of its processes has died: waits until all the others have ended by themselves, and fails if they don't.
    /// Returns how the first process has ended, and how long it took.
    pub fn wait_all(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        let status = self.wait(DEADLINE);
        while !marked(&self.mark).is_empty() && start.elapsed() < DEADLINE {
            std::thread::sleep(LOOK);
        }
        let left: Vec<String> = marked(&self.mark).into_iter().map(describe).collect();
        let took = start.elapsed();
        assert!(left.is_empty(), "still there after {took:?}:\n  {}", left.join("\n  "));
        (status.expect("no process is left"), took)
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_else(|e| panic!("{}: {e}", self.log.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        while self.kill(Whom::All) > 0 {
            std::thread::sleep(LOOK);
        }
        // Fails where it was waited for.
        let _ = self.child.wait();
    }
}
