//! Starts all processes of a cluster on this machine and watches over them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use crossbeam_channel::{Receiver, after, never, select, tick, unbounded};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::log::say;
use crate::cli::out::Closed;
use crate::cluster::Secret;
use crate::signals;

/// Tells a process where all listen. Its own listener is its standard input: bound before it starts, so that no
/// other program can take the port.
const PEERS: &str = "CUTWATER_PEERS";
/// Tells a process who its supervisor is: asked for its parent, it would be too late where the supervisor has died
/// before.
const SUPERVISOR: &str = "CUTWATER_SUPERVISOR";
/// Tells a process from which of its file descriptors it reads the cluster's secret: once, so that it is nowhere to be seen
/// afterwards.
const SECRET: &str = "CUTWATER_SECRET_FD";
/// How a supervised process says that it ended because a peer did. The supervisor looks for the peer then.
pub const LOST_PEER: u8 = 75;
/// How a supervised process says that whoever read its rows has closed standard output. That ends the run, as no failure.
pub const CLOSED: u8 = 76;
/// How long after the first death to look for its cause among others.
const CAUSE: Duration = Duration::from_millis(300);
/// How long the others may take to end by themselves.
const GRACE: Duration = Duration::from_secs(2);
/// How much longer than `--stop-timeout` a process may take before it is killed: it ends by itself, and says why.
const OVERTIME: Duration = Duration::from_secs(5);

/// What a supervisor gives each of its processes.
pub struct Inherited {
    /// Where all processes listen.
    pub addresses: Vec<String>,
    /// This one's listener.
    pub listener: TcpListener,
    /// What they prove to each other that they know: others on this machine can reach their ports as well.
    pub secret: Secret,
}

/// What the supervisor has given this process, if it is supervised. The process ends when its supervisor has gone: nobody
/// is left to read its rows or to end it.
///
/// # Errors
/// If what it was given is no such thing.
pub fn inherited() -> Result<Option<Inherited>> {
    let Ok(peers) = std::env::var(PEERS) else { return Ok(None) };
    let supervisor = std::env::var(SUPERVISOR).ok().and_then(|pid| pid.parse().ok());
    watch(supervisor.with_context(|| format!("{PEERS} is set, but {SUPERVISOR} is no process"))?);
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
fn hand_over(secret: &Secret) -> Result<std::io::PipeReader> {
    let (reader, mut writer) = std::io::pipe()?;
    writer.write_all(secret.bytes())?;
    // The child keeps this one.
    fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(reader)
}

/// True in a process that a supervisor has started.
pub fn is_supervised() -> bool {
    std::env::var_os(PEERS).is_some()
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

/// Runs this very command line in `processes` processes, and waits for them. Signals are passed on.
///
/// `stop_timeout`: how long they may take to end after a signal. `secret`: what they are to prove to each other that they
/// know; without one they get one that nobody else knows.
///
/// # Errors
/// If a process can't be started, or one ends otherwise than well: it names the one and says how it ended. The
/// others are ended before that. [`Closed`] if whoever read the rows has closed standard output.
pub fn supervise(processes: usize, stop_timeout: Duration, secret: Option<Secret>) -> Result<()> {
    let secret = secret.map_or_else(Secret::random, Ok)?;
    let listeners = (0..processes)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<_>>>()
        .context("finding free ports for the processes")?;
    let addresses = listeners
        .iter()
        .map(|l| Ok(l.local_addr()?.to_string()))
        .collect::<std::io::Result<Vec<_>>>()?
        .join(",");
    let program = std::env::current_exe().context("finding this program")?;
    // Before the first process: a signal that comes now must not leave one behind.
    let asked = signals::listen()?;
    let mut family = Family { members: Vec::new() };
    let (ended, ends) = unbounded();
    for (process, listener) in listeners.into_iter().enumerate() {
        let handed = hand_over(&secret).context("handing the cluster's secret to a process")?;
        let mut child = Command::new(&program)
            .args(std::env::args_os().skip(1))
            .args(["--process", &process.to_string()])
            .env(PEERS, &addresses)
            .env(SUPERVISOR, std::process::id().to_string())
            .env(SECRET, handed.as_raw_fd().to_string())
            .stdin(Stdio::from(OwnedFd::from(listener)))
            // A group of its own: Ctrl-C reaches the supervisor alone, which passes it on once.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting process {process}"))?;
        family.members.push(Member { pid: pid(&child), status: None });
        let ended = ended.clone();
        std::thread::spawn(move || ended.send((process, child.wait())));
    }
    family.watch(&ends, &asked, stop_timeout)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// All processes, by index.
struct Family {
    members: Vec<Member>,
}

struct Member {
    pid: Pid,
    status: Option<ExitStatus>,
}

type End = (usize, std::io::Result<ExitStatus>);

impl Family {
    fn watch(&mut self, ends: &Receiver<End>, asked: &Receiver<()>, stop_timeout: Duration) -> Result<()> {
        let mut stopping = false;
        let mut late = never();
        while self.members.iter().any(|member| member.status.is_none()) {
            select! {
                recv(ends) -> end => self.note(end?)?,
                recv(asked) -> _ => {
                    if stopping {
                        self.signal(Signal::SIGKILL);
                        bail!("second signal: stopping now");
                    }
                    stopping = true;
                    // They end by themselves within this time, if they can.
                    late = after(stop_timeout + OVERTIME);
                    self.signal(Signal::SIGTERM);
                }
                recv(late) -> _ => {
                    let named = self.alive();
                    self.signal(Signal::SIGKILL);
                    bail!(
                        "--stop-timeout: {named} did not end within {}, and had to be killed",
                        humantime::format_duration(stop_timeout)
                    );
                }
            }
            // Asked to stop before it had begun, a process ends at once, and well; its peers lose it, which is no
            // failure then.
            let well = |status: ExitStatus| {
                status.success() || (stopping && status.code() == Some(LOST_PEER.into()))
            };
            if self.members.iter().any(|member| member.status.is_some_and(|status| !well(status))) {
                return self.bury(ends);
            }
        }
        Ok(())
    }

    fn note(&mut self, (process, status): End) -> Result<()> {
        self.members[process].status =
            Some(status.with_context(|| format!("waiting for process {process}"))?);
        Ok(())
    }

    /// One has ended badly: ends the others and says which it was.
    fn bury(&mut self, ends: &Receiver<End>) -> Result<()> {
        self.wait(ends, CAUSE)?;
        if self.members.iter().any(|member| member.status.and_then(|s| s.code()) == Some(CLOSED.into())) {
            return self.end(ends).and(Err(Closed.into()));
        }
        let cause = self.cause();
        self.end(ends)?;
        bail!("{cause}; the other processes were ended")
    }

    /// Ends all that are left.
    fn end(&mut self, ends: &Receiver<End>) -> Result<()> {
        self.signal(Signal::SIGTERM);
        self.wait(ends, GRACE)?;
        self.signal(Signal::SIGKILL);
        self.wait(ends, GRACE)
    }

    /// Names those that run.
    fn alive(&self) -> String {
        let alive = self.members.iter().enumerate().filter(|(_, member)| member.status.is_none());
        let named: Vec<String> =
            alive.map(|(process, member)| format!("process {process} (pid {})", member.pid)).collect();
        named.join(", ")
    }

    /// Notes who ends, until all have or the time is over.
    fn wait(&mut self, ends: &Receiver<End>, time: Duration) -> Result<()> {
        let deadline = tick(time);
        let start = Instant::now();
        while self.members.iter().any(|member| member.status.is_none()) && start.elapsed() < time {
            select! {
                recv(ends) -> end => self.note(end?)?,
                recv(deadline) -> _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// The death that was not the consequence of another: by a signal first, then by an error of its own.
    fn cause(&self) -> String {
        let dead = self.members.iter().enumerate().filter_map(|(process, member)| {
            let status = member.status.filter(|status| !status.success())?;
            let rank = match (status.signal(), status.code()) {
                (Some(_), _) => 0,
                (None, Some(code)) if code != i32::from(LOST_PEER) => 1,
                _ => 2,
            };
            Some((rank, process, member.pid, status))
        });
        let (_, process, pid, status) = dead.min_by_key(|&(rank, ..)| rank).expect("one has ended badly");
        let how = match status.signal() {
            Some(number) => {
                let name = Signal::try_from(number).map_or_else(|_| number.to_string(), |s| s.to_string());
                format!("was ended by signal {name}")
            }
            None => format!("ended with exit code {}", status.code().unwrap_or(1)),
        };
        format!("process {process} (pid {pid}) {how}")
    }

    fn signal(&self, signal: Signal) {
        for member in self.members.iter().filter(|member| member.status.is_none()) {
            // Fails only when it has just ended.
            let _ = kill(member.pid, signal);
        }
    }
}
