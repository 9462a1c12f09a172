//! The processes of a supervisor: started together, ended together.

use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow};
use crossbeam_channel::{Receiver, Sender, after, never, select, tick, unbounded};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::told::{Listening, Told};
use super::{PEERS, Processes, SECRET, hand_over};
use crate::cluster::Secret;
use crate::signals;
use crate::supervised::{CLOSED, LOST_PEER, RESTARTS, SUPERVISOR, TELL};

/// How long after the first death to look for its cause among others.
const CAUSE: Duration = Duration::from_millis(300);
/// How long the others may take to end by themselves.
const GRACE: Duration = Duration::from_secs(2);
/// How much longer than `--stop-timeout` a process may take before it is killed: it ends by itself, and says why.
const OVERTIME: Duration = Duration::from_secs(5);
/// The exit code of wrong usage.
const USAGE: i32 = 2;

/// Listeners for so many processes, and where they listen.
fn listeners(count: usize) -> std::io::Result<(Vec<TcpListener>, String)> {
    let listeners =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    let addresses: Vec<String> =
        listeners.iter().map(|l| Ok(l.local_addr()?.to_string())).collect::<std::io::Result<_>>()?;
    Ok((listeners, addresses.join(",")))
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// The processes of a supervisor, in the order of their index.
pub(super) struct Family {
    members: Vec<Member>,
    /// Who ends, of `members`, and how.
    ends: Receiver<Ended>,
    ended: Sender<Ended>,
    listening: Option<Listening>,
}

struct Member {
    /// Its index in the run.
    process: usize,
    pid: Pid,
    status: Option<ExitStatus>,
}

type Ended = (usize, std::io::Result<ExitStatus>);

/// How a family ends that does not end well.
pub(super) enum End {
    /// Whoever read the rows has closed standard output.
    Closed,
    /// It was asked to stop and has not done so well, or it can't be watched.
    Over(Error),
    /// One has died, and the others were ended.
    Died(Death),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        End::Over(error)
    }
}

/// The death that was not the consequence of another.
pub(super) struct Death {
    /// Whose it was and how.
    pub(super) what: String,
    pub(super) pid: Option<i32>,
    /// Was the command line wrong?
    pub(super) is_usage: bool,
}

impl Default for Family {
    fn default() -> Self {
        let (ended, ends) = unbounded();
        Family { members: Vec::new(), ends, ended, listening: None }
    }
}

impl Family {
    /// Starts them: `restarts` says how often that was done before. Where they are all of a run, they
    /// get the secret.
    ///
    /// # Errors
    /// If one can't be started. Those that were are members.
    pub(super) fn start(
        &mut self,
        program: &Path,
        processes: Processes,
        secret: &Secret,
        restarts: u64,
    ) -> Result<()> {
        let mut listening = Listening::start()?;
        let command = || {
            let mut command = Command::new(program);
            command
                .args(std::env::args_os().skip(1))
                .env(SUPERVISOR, std::process::id().to_string())
                .env(TELL, listening.descriptor())
                .env(RESTARTS, restarts.to_string())
                // A group of its own: Ctrl-C reaches the supervisor alone, which passes it on once.
                .process_group(0);
            command
        };
        match processes {
            Processes::One(process) => self.join(process, command().stdin(Stdio::null()))?,
            Processes::All(count) => {
                let (listeners, addresses) =
                    listeners(count).context("finding free ports for the processes")?;
                for (process, listener) in listeners.into_iter().enumerate() {
                    let handed = hand_over(secret).context("handing the cluster's secret to a process")?;
                    let mut command = command();
                    command
                        .args(["--process", &process.to_string()])
                        .env(PEERS, &addresses)
                        .env(SECRET, handed.as_raw_fd().to_string());
                    self.join(process, command.stdin(Stdio::from(OwnedFd::from(listener))))?;
                }
            }
        }
        listening.started();
        self.listening = Some(listening);
        Ok(())
    }

    fn join(&mut self, process: usize, command: &mut Command) -> Result<()> {
        let mut child = command.spawn().with_context(|| format!("starting process {process}"))?;
        let member = self.members.len();
        self.members.push(Member { process, pid: pid(&child), status: None });
        let ended = self.ended.clone();
        std::thread::spawn(move || ended.send((member, child.wait())));
        Ok(())
    }

    /// Ends those that were started: one could not be.
    pub(super) fn abandon(&mut self, error: &Error) -> End {
        match self.end() {
            Ok(()) => End::Died(Death { what: format!("{error:#}"), pid: None, is_usage: false }),
            Err(error) => End::Over(error),
        }
    }

    /// What they have told. They have ended.
    pub(super) fn told(&mut self) -> Told {
        self.listening.as_mut().map(Listening::told).unwrap_or_default()
    }

    /// Waits for their end.
    ///
    /// # Errors
    /// The end, if it is not a good one.
    pub(super) fn watch(&mut self, asked: &Receiver<()>, stop_timeout: Duration) -> Result<(), End> {
        let mut stopping = false;
        let mut late = never();
        let hangups = signals::hangups();
        while self.members.iter().any(|member| member.status.is_none()) {
            select! {
                recv(self.ends) -> end => self.note(end.map_err(Error::from)?)?,
                recv(asked) -> _ => {
                    if stopping {
                        self.signal(Signal::SIGKILL);
                        return Err(End::Over(anyhow!("second signal: stopping now")));
                    }
                    stopping = true;
                    // They end by themselves within this time, if they can.
                    late = after(stop_timeout + OVERTIME);
                    self.signal(Signal::SIGTERM);
                }
                // Each reads its files of credentials again.
                recv(hangups) -> _ => self.signal(Signal::SIGHUP),
                recv(late) -> _ => {
                    let named = self.alive();
                    self.signal(Signal::SIGKILL);
                    return Err(End::Over(anyhow!(
                        "--stop-timeout: {named} did not end within {}, and had to be killed",
                        humantime::format_duration(stop_timeout)
                    )));
                }
            }
            // Asked to stop before it had begun, a process ends at once, and well; its peers lose it, which is no
            // failure then.
            let well = |status: ExitStatus| {
                status.success() || (stopping && status.code() == Some(LOST_PEER.into()))
            };
            if self.members.iter().any(|member| member.status.is_some_and(|status| !well(status))) {
                let end = self.bury();
                return Err(match end {
                    // Whoever has asked for the end hears how it was, and wants no other start.
                    End::Died(death) if stopping => End::Over(anyhow!("{}", death.what)),
                    end => end,
                });
            }
        }
        Ok(())
    }

    fn note(&mut self, (member, status): Ended) -> Result<()> {
        let member = &mut self.members[member];
        member.status = Some(status.with_context(|| format!("waiting for process {}", member.process))?);
        Ok(())
    }

    /// One has ended badly: ends the others and says which it was.
    fn bury(&mut self) -> End {
        let buried = (|| {
            self.wait(CAUSE)?;
            let cause = self.cause();
            self.end()?;
            Ok(cause)
        })();
        let closed = |member: &Member| member.status.and_then(|s| s.code()) == Some(CLOSED.into());
        match buried {
            _ if self.members.iter().any(closed) => End::Closed,
            Ok(cause) => End::Died(cause),
            Err(error) => End::Over(error),
        }
    }

    /// Ends all that are left.
    fn end(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM);
        self.wait(GRACE)?;
        self.signal(Signal::SIGKILL);
        self.wait(GRACE)
    }

    /// Names those that run.
    fn alive(&self) -> String {
        let alive = self.members.iter().filter(|member| member.status.is_none());
        alive.map(Member::named).collect::<Vec<_>>().join(", ")
    }

    /// Notes who ends, until all have or the time is over.
    fn wait(&mut self, time: Duration) -> Result<()> {
        let deadline = tick(time);
        let start = Instant::now();
        while self.members.iter().any(|member| member.status.is_none()) && start.elapsed() < time {
            select! {
                recv(self.ends) -> end => self.note(end?)?,
                recv(deadline) -> _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// The death that was not the consequence of another: by a signal first, then by an error of its own.
    fn cause(&self) -> Death {
        let dead = self.members.iter().filter_map(|member| {
            let status = member.status.filter(|status| !status.success())?;
            let rank = match (status.signal(), status.code()) {
                (Some(_), _) => 0,
                (None, Some(code)) if code != i32::from(LOST_PEER) => 1,
                _ => 2,
            };
            Some((rank, member, status))
        });
        let (_, member, status) = dead.min_by_key(|&(rank, ..)| rank).expect("one has ended badly");
        let how = match status.signal() {
            Some(number) => {
                let name = Signal::try_from(number).map_or_else(|_| number.to_string(), |s| s.to_string());
                format!("was ended by signal {name}")
            }
            None => format!("ended with exit code {}", status.code().unwrap_or(1)),
        };
        let others = if self.members.len() > 1 { "; the other processes were ended" } else { "" };
        let what = format!("{} {how}{others}", member.named());
        Death { what, pid: Some(member.pid.as_raw()), is_usage: status.code() == Some(USAGE) }
    }

    fn signal(&self, signal: Signal) {
        for member in self.members.iter().filter(|member| member.status.is_none()) {
            // Fails only when it has just ended.
            let _ = kill(member.pid, signal);
        }
    }
}

impl Member {
    fn named(&self) -> String {
        format!("process {} (pid {})", self.process, self.pid)
    }
}
