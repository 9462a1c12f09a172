//! Starts the processes of a run on this machine, watches over them, and starts all of them again after a failure, where
//! that is asked for.
//!
//! A run that is started again resumes from its state. It is started with the same command line: what `--restart` does is
//! what a person would do, or a service manager, only sooner. One process on its own host (`--process I`) is started again
//! alone: its peers lose it, end as well, and are started again by their own supervisors.

mod family;
mod restart;
mod told;

use std::io::{PipeReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::cluster::Secret;
use crate::log::say;
use crate::out::Closed;
use crate::signals;
use crate::supervised::{SUPERVISOR, is_supervised};
use crate::usage::usage;
use family::{End, Family};
use restart::Failures;
pub use restart::Restart;

/// Tells a process where all listen. Its own listener is its standard input: bound before it starts, so that no
/// other program can take the port.
const PEERS: &str = "CUTWATER_PEERS";
/// Tells a process from which of its file descriptors it reads the cluster's secret: once, so that it is nowhere to be seen
/// afterwards.
const SECRET: &str = "CUTWATER_SECRET_FD";
/// What a supervisor gives each process of a run of which it starts all.
pub struct Inherited {
    /// Where all processes listen.
    pub addresses: Vec<String>,
    /// This one's listener.
    pub listener: TcpListener,
    /// What they prove to each other that they know: others on this machine can reach their ports as well.
    pub secret: Secret,
}

/// What the supervisor has given this process, if it has. A supervised process ends when its supervisor has gone: nobody
/// is left to read its rows or to end it.
///
/// # Errors
/// If what it was given is no such thing.
pub fn inherited() -> Result<Option<Inherited>> {
    if let Ok(pid) = std::env::var(SUPERVISOR) {
        watch(pid.parse().ok().with_context(|| format!("{SUPERVISOR} is no process"))?);
    }
    let Ok(peers) = std::env::var(PEERS) else { return Ok(None) };
    if !is_supervised() {
        bail!("{PEERS} is set, but {SUPERVISOR} is not");
    }
    let addresses = peers.split(',').map(str::to_owned).collect();
    let input: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
    let listener = TcpListener::from(input);
    listener.local_addr().with_context(|| format!("{PEERS} is set, but standard input is no listener"))?;
    let secret = read_secret().with_context(|| format!("{PEERS} is set, but {SECRET} tells of no secret"))?;
    Ok(Some(Inherited { addresses, listener, secret }))
}

fn read_secret() -> Result<Secret> {
    let descriptor: i32 = std::env::var(SECRET)?.parse()?;
    let mut secret = Vec::new();
    std::fs::File::open(format!("/proc/self/fd/{descriptor}"))?.read_to_end(&mut secret)?;
    Ok(Secret::of(&secret))
}

/// A pipe from which one process can read the secret.
fn hand_over(secret: &Secret) -> Result<PipeReader> {
    let (reader, mut writer) = std::io::pipe()?;
    writer.write_all(secret.bytes())?;
    // The child keeps this one.
    fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(reader)
}

/// Ends this process when its supervisor has gone.
fn watch(supervisor: u32) {
    std::thread::spawn(move || {
        while std::os::unix::process::parent_id() == supervisor {
            std::thread::sleep(Duration::from_millis(500));
        }
        say("error: the supervisor has gone");
        std::process::exit(1);
    });
}

/// What is watched over.
pub struct Watched {
    /// Processes of the run that are started here.
    pub processes: Processes,
    /// What all processes are to prove to each other that they know; without one they get one that nobody else knows.
    pub secret: Option<Secret>,
    /// How long they may take to end after a signal.
    pub stop_timeout: Duration,
    /// What to do when one dies.
    pub restart: Restart,
}

/// Processes that a supervisor starts.
#[derive(Clone, Copy, Debug)]
pub enum Processes {
    /// So many, which are the whole run.
    All(usize),
    /// The one of this index, as the command line says.
    One(usize),
}

/// Runs this very command line in the processes that are to be started here, and waits for them. Signals are passed on.
///
/// # Errors
/// If a process can't be started, or one ends otherwise than well, and it is not to be started again: it names the one and
/// says how it ended. The others are ended before that. [`Closed`] if whoever read the rows has closed standard output.
pub fn supervise(watched: &Watched) -> Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    // Before the first process: a signal that comes now must not leave one behind.
    let asked = signals::listen()?;
    let limit = if let Restart::OnFailure(limit) = watched.restart { limit } else { 1 };
    let mut failures = Failures::new(limit);
    let secret = watched.secret.clone().map_or_else(Secret::random, Ok)?;
    loop {
        let mut family = Family::default();
        let started = family.start(&program, watched.processes, &secret, failures.restarts);
        let end = match started {
            Ok(()) => family.watch(&asked, watched.stop_timeout),
            Err(error) => Err(family.abandon(&error)),
        };
        let (death, told) = match end {
            Ok(()) => return Ok(()),
            Err(End::Closed) => return Err(Closed.into()),
            Err(End::Over(error)) => return Err(error),
            Err(End::Died(death)) => (death, family.told()),
        };
        if watched.restart == Restart::Never {
            bail!("{}", death.what);
        }
        let why = match death.pid.and_then(|pid| told.errors.get(&pid)) {
            Some(error) => format!("{}: {error}", death.what),
            None => death.what,
        };
        if death.is_usage {
            return Err(usage(why));
        }
        let wait = failures.next(&why, told.progress)?;
        if is_asked_within(&asked, wait)? {
            tracing::info!("stopping: no process of the run is there");
            return Ok(());
        }
    }
}

/// Waits for so long, or until it is asked to stop: then returns true.
fn is_asked_within(asked: &Receiver<()>, wait: Duration) -> Result<bool> {
    match asked.recv_timeout(wait) {
        Ok(()) => Ok(true),
        Err(RecvTimeoutError::Timeout) => Ok(false),
        Err(RecvTimeoutError::Disconnected) => Err(anyhow!("nobody listens for signals any more")),
    }
}
