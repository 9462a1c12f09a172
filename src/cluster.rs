//! The cluster: connects the processes of a run to one another, for timely's communication.
//!
//! Timely's own set-up prints to standard output, which belongs to the rows, waits without a word and takes any
//! peer. So we make the connections and hand it the sockets: process `i` listens, connects to those below it,
//! and both sides say who they are and what they run before a message passes.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{KeepAlive, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpUserTimeout};
use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::{AllocatorBuilder, Hooks};

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
    /// How long to wait for the others.
    pub timeout: Duration,
    /// How long a peer may be silent, at least [`SHORTEST_SILENCE`]: after that its connection is lost.
    pub peer_timeout: Duration,
}

/// The shortest silence that can be noticed: the system probes an idle connection by whole seconds.
pub const SHORTEST_SILENCE: Duration = Duration::from_secs(2);

const MAGIC: [u8; 8] = *b"CUTWATR2";
/// Says that a connection is in use: sent by the side that made it, when it has been answered.
const HERE: u8 = 1;
/// How often to look for peers.
const RETRY: Duration = Duration::from_millis(50);
/// How often to say for whom we wait.
const TELL: Duration = Duration::from_secs(5);
/// How long a peer that has connected may take to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// How long one attempt to connect may take: a host that drops packets gives no answer.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How many probes of an idle connection go unanswered before it is lost.
const PROBES: u32 = 5;

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
        let mut socket = reach(address).map_err(Greeting::Absent)?;
        watch_silence(&socket, self.peer_timeout).map_err(Greeting::Absent)?;
        self.introduce(&mut socket).map_err(Greeting::Absent)?;
        let (index, fingerprint) = read_greeting(&mut socket).map_err(Greeting::Absent)?;
        self.check(address, index, fingerprint).map_err(Greeting::Wrong)?;
        if index != peer {
            return Err(Greeting::Wrong(anyhow!(
                "{address} is process {index}, not {peer}: do all host files have the same lines in the same order?"
            )));
        }
        socket.write_all(&[HERE]).map_err(|error| Greeting::Absent(error.into()))?;
        Ok(socket)
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
        while !waiting.is_empty() {
            match listener.accept() {
                Ok((mut socket, from)) => {
                    socket.set_nonblocking(false)?;
                    watch_silence(&socket, self.peer_timeout)?;
                    let (index, fingerprint) = match read_greeting(&mut socket) {
                        Ok(greeting) => greeting,
                        Err(error) => {
                            tracing::warn!(
                                "a connection from {from} is not one of a Cutwater process: {error}"
                            );
                            continue;
                        }
                    };
                    // Answer before the check: the other side is to learn what is wrong as well.
                    let answered = self.introduce(&mut socket);
                    self.check(&from.to_string(), index, fingerprint)?;
                    if let Err(error) = answered.and_then(|()| await_here(&mut socket)) {
                        tracing::debug!("process {index} at {from} has given up this connection: {error}");
                        continue;
                    }
                    ensure!(
                        waiting.remove(&index),
                        "process {index} at {from} has come twice, or is not one of the {} of this cluster",
                        self.addresses.len()
                    );
                    sockets[index] = Some(socket);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let missing = || {
                        let named: Vec<_> = waiting
                            .iter()
                            .map(|&peer| format!("{peer} ({})", self.addresses[peer]))
                            .collect();
                        named.join(", ")
                    };
                    if Instant::now() >= deadline {
                        bail!("these processes did not come within {:?}: {}", self.timeout, missing());
                    }
                    if told.elapsed() >= TELL {
                        told = Instant::now();
                        tracing::info!("process {} waits for process {}", self.process, missing());
                    }
                    std::thread::sleep(RETRY);
                }
                Err(error) => return Err(error).context("taking a connection of another process"),
            }
        }
        Ok(())
    }

    fn introduce(&self, socket: &mut TcpStream) -> Result<()> {
        socket.set_nodelay(true)?;
        let mut greeting = [0; 24];
        greeting[..8].copy_from_slice(&MAGIC);
        greeting[8..16].copy_from_slice(&(self.process as u64).to_le_bytes());
        greeting[16..].copy_from_slice(&self.fingerprint.to_le_bytes());
        Ok(socket.write_all(&greeting)?)
    }

    fn check(&self, from: &str, index: usize, fingerprint: u64) -> Result<()> {
        ensure!(
            fingerprint == self.fingerprint,
            "process {index} at {from} was started with another program, dataflow or options: all but --process \
             must be the same"
        );
        Ok(())
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

/// Waits until the other side confirms that it has our answer. Where we were long in coming, the first connections that we
/// take are those that it has given up: they hold its greeting all the same.
fn await_here(socket: &mut TcpStream) -> Result<()> {
    socket.set_read_timeout(Some(GREETING))?;
    let mut here = [0];
    socket.read_exact(&mut here)?;
    socket.set_read_timeout(None)?;
    ensure!(here == [HERE], "it does not confirm");
    Ok(())
}

fn read_greeting(socket: &mut TcpStream) -> Result<(usize, u64)> {
    socket.set_read_timeout(Some(GREETING))?;
    let mut greeting = [0; 24];
    socket.read_exact(&mut greeting).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => anyhow!("it closed the connection before it said who it is"),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            anyhow!("it did not say who it is within {} s", GREETING.as_secs())
        }
        _ => error.into(),
    })?;
    socket.set_read_timeout(None)?;
    ensure!(greeting[..8] == MAGIC, "it does not speak the protocol of Cutwater's processes");
    let word = |at: usize| u64::from_le_bytes(greeting[at..at + 8].try_into().expect("eight bytes"));
    Ok((word(8) as usize, word(16)))
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
        let (listener, address) = (TcpListener::bind("127.0.0.1:0").unwrap(), "127.0.0.1:0".to_owned());
        let there = listener.local_addr().unwrap();
        let hang_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let error = read_greeting(&mut TcpStream::connect(there).unwrap()).unwrap_err().to_string();
        hang_up.join().unwrap();
        assert_eq!(error, "it closed the connection before it said who it is");
        let (ours, theirs) = (TcpListener::bind(address).unwrap(), 1);
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
            one.introduce(&mut socket).unwrap();
        }
        let other = std::thread::spawn(move || one.connect().unwrap().share(|| unreachable!()).unwrap());
        zero.connect().unwrap().share(|| Ok(b"told".to_vec())).unwrap();
        assert_eq!(other.join().unwrap(), b"told");
    }

    #[test]
    fn who_does_not_come_is_named() {
        let (mut listeners, addresses) = listeners(2);
        let mut zero = process(0, &addresses, listeners.remove(0), 7);
        zero.timeout = Duration::from_millis(100);
        let error = zero.connect().err().unwrap().to_string();
        assert!(error.contains(&format!("1 ({})", addresses[1])), "{error}");
    }
}
