//! The cluster: connects the processes of a run to one another, for timely's communication.
//!
//! Timely's own set-up prints to standard output, which belongs to the rows, waits without a word and takes any
//! peer. So we make the connections and hand it the sockets: process `i` listens, connects to those below it,
//! and both sides say who they are and what they run, and prove that they know the cluster's secret, before a message
//! passes (`handshake`).

mod handshake;
mod secret;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{KeepAlive, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpUserTimeout};
use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::{AllocatorBuilder, Hooks};

use self::handshake::{Hello, Refusal, Wire};
pub use self::secret::Secret;
use crate::fold::Folded;
use crate::job::Workers;

/// This process's place among the others.
pub struct Cluster {
    /// Worker threads of each process.
    pub workers: usize,
    /// The index of this process.
    pub process: usize,
    /// Where each process listens, `host:port`. One process needs none.
    pub addresses: Vec<String>,
    /// Our listener, where somebody has bound it before.
    pub listener: Option<TcpListener>,
    /// Equal in all processes that run the same dataflow with the same options.
    pub fingerprint: u64,
    /// What all processes of the cluster know; without one, a peer that connects is taken at its word.
    pub secret: Option<Secret>,
    /// How long to wait for the others.
    pub timeout: Duration,
    /// How long a peer may be silent, at least [`SHORTEST_SILENCE`]: after that its connection is lost.
    pub peer_timeout: Duration,
}

/// The shortest silence that can be noticed: the system probes an idle connection by whole seconds.
pub const SHORTEST_SILENCE: Duration = Duration::from_secs(2);

/// How often to look for peers.
const RETRY: Duration = Duration::from_millis(50);
/// How often to say for whom we wait.
const TELL: Duration = Duration::from_secs(5);
/// How long one attempt to connect may take: a host that drops packets gives no answer.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How many probes of an idle connection go unanswered before it is lost.
const PROBES: u32 = 5;
/// How many connections may be about to say who they are at a time.
const STRANGERS: usize = 256;

impl Cluster {
    /// Connects to all other processes.
    ///
    /// # Errors
    /// If a peer does not come in time or runs something else: it names the peer.
    pub fn connect(mut self) -> Result<Connected> {
        let mut sockets = Vec::new();
        if self.addresses.len() > 1 {
            let deadline = Instant::now() + self.timeout;
            let listener = match self.listener.take() {
                Some(listener) => listener,
                None => {
                    let address = &self.addresses[self.process];
                    TcpListener::bind(address)
                        .with_context(|| format!("process {} can't listen at {address}", self.process))?
                }
            };
            listener.set_nonblocking(true)?;
            sockets = (0..self.process)
                .map(|peer| self.call(peer, deadline).map(Some))
                .collect::<Result<Vec<Option<TcpStream>>>>()?;
            sockets.resize_with(self.addresses.len(), || None);
            self.answer(&listener, &mut sockets, deadline)?;
            tracing::debug!("process {}: connected to all {} others", self.process, sockets.len() - 1);
        }
        Ok(Connected { workers: self.workers, process: self.process, addresses: self.addresses, sockets })
    }

    /// Connects to a process below us.
    fn call(&self, peer: usize, deadline: Instant) -> Result<TcpStream> {
        let address = &self.addresses[peer];
        let mut told = Instant::now();
        loop {
            match self.greet(address, peer) {
                Ok(socket) => return Ok(socket),
                Err(Greeting::Wrong(error)) => return Err(error),
                Err(Greeting::Absent(error)) if Instant::now() >= deadline => {
                    bail!("process {peer} at {address} did not come within {:?}: {error}", self.timeout)
                }
                Err(Greeting::Absent(error)) => {
                    if told.elapsed() >= TELL {
                        told = Instant::now();
                        tracing::info!("waiting for process {peer} at {address} ({error})");
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn greet(&self, address: &str, peer: usize) -> std::result::Result<TcpStream, Greeting> {
        let wrong = |why: String| Greeting::Wrong(anyhow!("{why}"));
        let socket = reach(address).map_err(Greeting::Absent)?;
        watch_silence(&socket, self.peer_timeout).map_err(Greeting::Absent)?;
        let ours = self.hello().map_err(Greeting::Wrong)?;
        let wire = Wire::new(socket).map_err(Greeting::Absent)?;
        let (wire, theirs) =
            handshake::call(wire, &ours, self.secret.as_ref()).map_err(|refusal| match refusal {
                Refusal::Absent(error) => Greeting::Absent(error),
                Refusal::Stranger(why) => wrong(format!("process {peer} at {address} is refused: {why}")),
            })?;
        check(self.fingerprint, address, &theirs).map_err(Greeting::Wrong)?;
        if theirs.process != peer {
            let index = theirs.process;
            return Err(wrong(format!(
                "{address} is process {index}, not {peer}: do all host files have the same lines in the same order?"
            )));
        }
        handshake::confirm(wire).map_err(Greeting::Absent)
    }

    /// Takes the connections of the processes above us.
    fn answer(
        &self,
        listener: &TcpListener,
        sockets: &mut [Option<TcpStream>],
        deadline: Instant,
    ) -> Result<()> {
        let mut waiting: BTreeSet<usize> = (self.process + 1..self.addresses.len()).collect();
        let mut told = Instant::now();
        let (meet, met) = unbounded();
        let mut strangers = Strangers { meeting: 0, refused: BTreeMap::new() };
        while !waiting.is_empty() {
            strangers.come(self, listener, &meet)?;
            let met = strangers.look(&met)?;
            // One that was started again comes again.
            lost_meanwhile(sockets, &mut waiting, &self.addresses, self.process)?;
            if let Some((index, socket)) = met {
                ensure!(
                    waiting.remove(&index),
                    "process {index} has come twice, or is not one of the {} of this cluster",
                    self.addresses.len()
                );
                sockets[index] = Some(socket);
                continue;
            }
            let missing = || {
                let named: Vec<_> =
                    waiting.iter().map(|&peer| format!("{peer} ({})", self.addresses[peer])).collect();
                named.join(", ")
            };
            if Instant::now() >= deadline {
                let refused = strangers.shown();
                bail!("these processes did not come within {:?}: {}{refused}", self.timeout, missing());
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                tracing::info!("process {} waits for process {}", self.process, missing());
            }
        }
        Ok(())
    }

    fn hello(&self) -> Result<Hello> {
        Hello::new(self.process, self.fingerprint, self.secret.is_some())
    }
}

/// An error where the other process runs something else.
fn check(fingerprint: u64, from: &str, theirs: &Hello) -> Result<()> {
    ensure!(
        fingerprint == theirs.fingerprint,
        "process {} at {from} was started with another program, dataflow or options: all but --process must be the same",
        theirs.process
    );
    Ok(())
}

/// What has become of a connection that came.
enum Met {
    /// It is a process of the cluster.
    Peer(usize, TcpStream),
    /// It is none: why.
    Stranger(String),
    /// It was given up there, or the run ends here.
    Over(Result<()>),
}

/// Those who connect. Each says who it is to a thread of its own, so that nobody waits for one that says nothing.
struct Strangers {
    /// How many are about to say who they are.
    meeting: usize,
    /// Who was refused last by that host, and why.
    refused: BTreeMap<IpAddr, String>,
}

/// Refused connections.
static REFUSED: Folded = Folded::new("refused connections");

impl Strangers {
    /// Hears who has connected by now, each in a thread of its own.
    fn come(
        &mut self,
        cluster: &Cluster,
        listener: &TcpListener,
        meet: &Sender<(SocketAddr, Met)>,
    ) -> Result<()> {
        loop {
            let (socket, from) = match listener.accept() {
                Ok(there) => there,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // It has gone already, or there are too many files: others come.
                Err(error) if error.kind() != ErrorKind::InvalidInput => {
                    tracing::debug!("taking a connection of another process: {error}");
                    std::thread::sleep(RETRY);
                    return Ok(());
                }
                Err(error) => return Err(error).context("taking a connection of another process"),
            };
            if self.meeting >= STRANGERS {
                self.refuse(from, "too many others have connected and not said who they are".to_owned());
                continue;
            }
            let ours = cluster.hello()?;
            let (secret, peer_timeout) = (cluster.secret.clone(), cluster.peer_timeout);
            let meet = meet.clone();
            std::thread::Builder::new()
                .name("cutwater:meet".into())
                .spawn(move || meet.send((from, met(socket, from, &ours, secret.as_ref(), peer_timeout))))
                .context("starting a thread that meets another process")?;
            self.meeting += 1;
        }
    }

    /// The next one that is a process of the cluster, if one has said so within a moment.
    fn look(&mut self, met: &Receiver<(SocketAddr, Met)>) -> Result<Option<(usize, TcpStream)>> {
        let Ok((from, met)) = met.recv_timeout(RETRY) else { return Ok(None) };
        self.meeting -= 1;
        match met {
            Met::Peer(index, socket) => return Ok(Some((index, socket))),
            Met::Stranger(why) => self.refuse(from, why),
            Met::Over(result) => result?,
        }
        Ok(None)
    }

    fn refuse(&mut self, from: SocketAddr, why: String) {
        REFUSED.warn_always(|| format!("a connection from {from} is refused: {why}"));
        // Of as many hosts as a cluster has.
        if self.refused.len() < STRANGERS {
            self.refused.insert(from.ip(), why);
        }
    }

    /// Who was refused, for the error that says who has not come.
    fn shown(&self) -> String {
        let shown =
            |(from, why): (&IpAddr, &String)| format!("; a connection from {from} was refused: {why}");
        self.refused.iter().take(3).map(shown).collect()
    }
}

/// Hears who has connected.
fn met(
    socket: TcpStream,
    from: SocketAddr,
    ours: &Hello,
    secret: Option<&Secret>,
    peer_timeout: Duration,
) -> Met {
    let begin = || -> Result<Wire> {
        socket.set_nonblocking(false)?;
        watch_silence(&socket, peer_timeout)?;
        Wire::new(socket)
    };
    let wire = match begin() {
        Ok(wire) => wire,
        Err(error) => return Met::Stranger(format!("{error:#}")),
    };
    match handshake::answer(wire, ours, secret) {
        Err(Refusal::Stranger(why)) => Met::Stranger(why),
        Err(Refusal::Absent(error)) => {
            tracing::debug!("{from} has given up its connection: {error:#}");
            Met::Over(Ok(()))
        }
        Ok((wire, theirs)) => match check(ours.fingerprint, &from.to_string(), &theirs) {
            Err(error) => Met::Over(Err(error)),
            Ok(()) => match handshake::await_here(wire) {
                Ok(socket) => Met::Peer(theirs.process, socket),
                Err(error) => {
                    tracing::debug!(
                        "process {} at {from} has given up its connection: {error:#}",
                        theirs.process
                    );
                    Met::Over(Ok(()))
                }
            },
        },
    }
}

/// A process that is connected to all others.
pub struct Connected {
    workers: usize,
    process: usize,
    /// Where each process listens.
    addresses: Vec<String>,
    /// By process; none of our own, and none at all in a cluster of one.
    sockets: Vec<Option<TcpStream>>,
}

impl Connected {
    /// Process 0 finds something out, and tells all others: returns that on each. They wait for as long as it takes,
    /// and as process 0 is heard.
    ///
    /// # Errors
    /// Those of `find`, or if another process has gone.
    pub fn share(&mut self, find: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        if self.process == 0 {
            let found = find()?;
            for (peer, socket) in self.sockets.iter_mut().enumerate() {
                if let Some(socket) = socket {
                    socket
                        .write_all(&(found.len() as u64).to_le_bytes())
                        .and_then(|()| socket.write_all(&found))
                        .map_err(|error| LostPeer(peer, self.addresses[peer].clone(), error))?;
                }
            }
            return Ok(found);
        }
        let socket = self.sockets[0].as_mut().expect("process 0 is another one");
        let mut read = || {
            let mut length = [0; 8];
            socket.read_exact(&mut length)?;
            let mut found = Vec::new();
            socket.take(u64::from_le_bytes(length)).read_to_end(&mut found)?;
            if found.len() as u64 == u64::from_le_bytes(length) {
                Ok(found)
            } else {
                Err(std::io::Error::from(ErrorKind::UnexpectedEof))
            }
        };
        read().map_err(|error| LostPeer(0, self.addresses[0].clone(), error).into())
    }

    /// The workers of this process.
    ///
    /// # Errors
    /// If timely can't make them.
    pub fn workers(self) -> Result<Workers> {
        if self.sockets.is_empty() {
            return Workers::threads(self.workers);
        }
        let hooks = Hooks::default();
        let threads = ProcessBuilder::new_typed_vector(self.workers, hooks.refill.clone(), None);
        let (builders, connections) =
            initialize_networking_from_sockets(threads, self.sockets, self.process, self.workers, hooks)
                .context("starting the communication between processes")?;
        let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
        Ok(Workers { builders, connections: Box::new(connections), peers: true })
    }
}

/// The connection to another process is lost.
#[derive(Debug)]
pub struct LostPeer(usize, String, std::io::Error);

impl std::fmt::Display for LostPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let LostPeer(process, address, error) = self;
        write!(f, "the connection to process {process} at {address} is lost (")?;
        match error.kind() {
            // What the system says is of a buffer, not of a process.
            ErrorKind::UnexpectedEof => f.write_str("it was closed there")?,
            _ => write!(f, "{error}")?,
        }
        f.write_str("): it has ended or is out of reach")
    }
}

impl std::error::Error for LostPeer {}

enum Greeting {
    /// Nobody there, or not ready.
    Absent(anyhow::Error),
    /// Somebody else there.
    Wrong(anyhow::Error),
}

/// Notes the processes that have closed their connection while this one waits for others. One that calls is waited for
/// again: it may have been started again.
///
/// # Errors
/// If it is one that this process has called: it ends, and calls again when it is started again.
fn lost_meanwhile(
    sockets: &mut [Option<TcpStream>],
    waiting: &mut BTreeSet<usize>,
    addresses: &[String],
    own: usize,
) -> Result<()> {
    for (peer, socket) in sockets.iter_mut().enumerate() {
        let Some(error) = socket.as_ref().and_then(|socket| lost(socket).transpose()).transpose()? else {
            continue;
        };
        if peer < own {
            return Err(LostPeer(peer, addresses[peer].clone(), error).into());
        }
        *socket = None;
        waiting.insert(peer);
    }
    Ok(())
}

/// Why a connection is lost, if it is.
fn lost(socket: &TcpStream) -> Result<Option<std::io::Error>> {
    socket.set_nonblocking(true)?;
    let peeked = socket.peek(&mut [0]);
    socket.set_nonblocking(false)?;
    Ok(match peeked {
        Ok(0) => Some(ErrorKind::UnexpectedEof.into()),
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(error),
    })
}

/// Connects, to the first of its addresses that answers.
fn reach(address: &str) -> Result<TcpStream> {
    let mut failed = anyhow!("the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ATTEMPT) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

/// Has the system end a connection whose other end is silent for that long: with an error, in whoever reads or writes.
///
/// What is sent must be acknowledged in that time; while nothing is sent, probes must. It is the other host's kernel that
/// answers: a process that is stopped for a while is not lost, unless it leaves no room for what is sent to it.
fn watch_silence(socket: &TcpStream, timeout: Duration) -> Result<()> {
    let probing = || -> nix::Result<()> {
        let every = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX) / PROBES;
        // The longest that Linux takes is 32,767 s.
        let every = every.clamp(1, 32_767);
        setsockopt(socket, KeepAlive, &true)?;
        setsockopt(socket, TcpKeepIdle, &every)?;
        setsockopt(socket, TcpKeepInterval, &every)?;
        setsockopt(socket, TcpKeepCount, &PROBES)?;
        // Where it is set, this and not the count says when probing has failed. The probes come by timers that are
        // rarely early: a little less, so that the probe at the end of that time is the last one.
        let silence = timeout.saturating_sub(Duration::from_millis(200));
        setsockopt(socket, TcpUserTimeout, &u32::try_from(silence.as_millis()).unwrap_or(u32::MAX))
    };
    probing().context("setting the time-outs of a connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(process: usize, addresses: &[String], listener: TcpListener, fingerprint: u64) -> Cluster {
        let timeout = Duration::from_secs(300);
        Cluster {
            workers: 1,
            process,
            addresses: addresses.to_vec(),
            listener: Some(listener),
            fingerprint,
            secret: None,
            timeout,
            peer_timeout: Duration::from_secs(10),
        }
    }

    fn listeners(count: usize) -> (Vec<TcpListener>, Vec<String>) {
        let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
        (listeners, addresses)
    }

    #[test]
    fn peers_that_run_something_else_are_refused_by_both_sides() {
        let (mut listeners, addresses) = listeners(2);
        let one = process(1, &addresses, listeners.pop().unwrap(), 7);
        let zero = process(0, &addresses, listeners.pop().unwrap(), 8);
        let other = std::thread::spawn(move || one.connect().err().map(|error| error.to_string()));
        let error = zero.connect().err().unwrap().to_string();
        assert!(error.contains("process 1") && error.contains("options"), "{error}");
        let error = other.join().unwrap().unwrap();
        assert!(error.contains("process 0") && error.contains("options"), "{error}");
    }

    #[test]
    fn a_peer_that_closes_is_said_to_do_so() {
        let (ours, theirs) = (TcpListener::bind("127.0.0.1:0").unwrap(), 1);
        let socket = TcpStream::connect(ours.local_addr().unwrap()).unwrap();
        drop(ours.accept().unwrap());
        let addresses = ["host:1", "host:2"].map(str::to_owned).to_vec();
        let sockets = vec![Some(socket), None];
        let mut connected = Connected { workers: 1, process: theirs, addresses, sockets };
        let error = connected.share(|| unreachable!("process 0 finds it out")).unwrap_err().to_string();
        assert!(error.contains("process 0 at host:1 is lost (it was closed there)"), "{error}");
    }

    #[test]
    fn a_connection_that_was_given_up_is_not_taken() {
        let (mut listeners, addresses) = listeners(2);
        let one = process(1, &addresses, listeners.pop().unwrap(), 7);
        let zero = process(0, &addresses, listeners.pop().unwrap(), 7);
        // Process 1 was here before, and has not waited long enough.
        for _ in 0..2 {
            let mut socket = TcpStream::connect(&addresses[0]).unwrap();
            socket.write_all(&one.hello().unwrap().bytes()).unwrap();
        }
        let other = std::thread::spawn(move || one.connect().unwrap().share(|| unreachable!()).unwrap());
        zero.connect().unwrap().share(|| Ok(b"told".to_vec())).unwrap();
        assert_eq!(other.join().unwrap(), b"told");
    }

    #[test]
    fn a_peer_that_was_started_again_is_taken_instead_of_the_one_before() {
        let (mut listeners, addresses) = listeners(3);
        let two = process(2, &addresses, listeners.pop().unwrap(), 7);
        let one = process(1, &addresses, listeners.pop().unwrap(), 7);
        let zero = process(0, &addresses, listeners.pop().unwrap(), 7);
        let waits =
            std::thread::spawn(move || zero.connect().unwrap().share(|| Ok(b"told".to_vec())).unwrap());
        // Process 1 dies while process 0 waits for process 2.
        let deadline = Instant::now() + one.timeout;
        drop(one.call(0, deadline).unwrap());
        let others = [one, two].map(|process| {
            std::thread::spawn(move || process.connect().unwrap().share(|| unreachable!()).unwrap())
        });
        for other in others {
            assert_eq!(other.join().unwrap(), b"told");
        }
        assert_eq!(waits.join().unwrap(), b"told");
    }

    #[test]
    fn a_peer_that_has_gone_while_others_are_waited_for_ends_who_has_called_it() {
        let (mut listeners, addresses) = listeners(3);
        let third = listeners.pop().unwrap();
        let one = process(1, &addresses, listeners.pop().unwrap(), 7);
        let zero = process(0, &addresses, listeners.pop().unwrap(), 7);
        let waits = std::thread::spawn(move || one.connect().err().unwrap().to_string());
        let (socket, _) = zero.listener.as_ref().unwrap().accept().unwrap();
        let Ok((wire, _)) = handshake::answer(Wire::new(socket).unwrap(), &zero.hello().unwrap(), None)
        else {
            panic!("process 1 is no stranger")
        };
        drop(handshake::await_here(wire).unwrap());
        let error = waits.join().unwrap();
        assert!(error.contains("process 0") && error.contains("lost"), "{error}");
        drop(third);
    }

    #[test]
    fn who_does_not_come_is_named() {
        let (mut listeners, addresses) = listeners(2);
        let mut zero = process(0, &addresses, listeners.remove(0), 7);
        zero.timeout = Duration::from_millis(100);
        let error = zero.connect().err().unwrap().to_string();
        assert!(error.contains(&format!("1 ({})", addresses[1])), "{error}");
    }
    /// Strangers of all kinds are at the door, and neither hang nor end those who know the secret.
    #[test]
    fn strangers_are_refused_and_those_who_know_the_secret_meet() {
        let (mut listeners, addresses) = listeners(2);
        let secret = Secret::random().unwrap();
        let knows = |cluster| Cluster { secret: Some(secret.clone()), ..cluster };
        let one = knows(process(1, &addresses, listeners.pop().unwrap(), 7));
        let zero = knows(process(0, &addresses, listeners.pop().unwrap(), 7));
        let connect = || TcpStream::connect(&addresses[0]).unwrap();
        let silent = connect();
        let mut garbage = connect();
        garbage
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html, and everything else\r\n\r\n")
            .unwrap();
        drop(connect());
        // One that says it is process 1, in a cluster that runs something else, without the secret: no reason to end.
        let mut pretender = connect();
        pretender.write_all(&Hello::new(1, 8, true).unwrap().bytes()).unwrap();
        pretender.write_all(&[0; 32]).unwrap();
        let other = std::thread::spawn(move || one.connect().unwrap().share(|| unreachable!()).unwrap());
        zero.connect().unwrap().share(|| Ok(b"told".to_vec())).unwrap();
        assert_eq!(other.join().unwrap(), b"told");
        drop((silent, garbage, pretender));
    }

    #[test]
    fn another_secret_is_named_with_address_and_reason_on_both_sides() {
        let (mut listeners, addresses) = listeners(2);
        let mut one = process(1, &addresses, listeners.pop().unwrap(), 7);
        let mut zero = process(0, &addresses, listeners.pop().unwrap(), 7);
        (one.secret, zero.secret) = (Some(Secret::random().unwrap()), Some(Secret::random().unwrap()));
        zero.timeout = Duration::from_secs(1);
        let other = std::thread::spawn(move || one.connect().err().unwrap().to_string());
        let error = zero.connect().err().unwrap().to_string();
        assert!(error.contains("127.0.0.1 was refused") && error.contains("another secret"), "{error}");
        let error = other.join().unwrap();
        assert!(error.contains(&format!("process 0 at {} is refused", addresses[0])), "{error}");
        assert!(error.contains("--cluster-secret-file"), "{error}");
    }
}
