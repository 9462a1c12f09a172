//! What two processes say to each other before timely gets their connection: who they are, what they run, and, where the
//! cluster has a secret, that they know it.
//!
//! ```text
//! caller                                answerer
//! hello: process, fingerprint, nonce ─▶
//!                                    ◀─ hello
//! proof ─────────────────────────────▶                 with a secret: the caller proves first,
//!                                    ◀─ verdict, proof and only then does the answerer
//! here ──────────────────────────────▶
//! ```
//!
//! A proof is the HMAC-SHA256 of its side and of both hellos. So a stranger that calls learns nothing that he could try
//! secrets on, and what was heard on one connection is of no use on another.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::secret::{self, PROOF, Secret, Side};

const MAGIC: [u8; 8] = *b"CUTWATR3";
/// Says that a connection is in use: sent by the side that made it, when it has been answered.
const HERE: u8 = 1;
/// Says that the caller's proof is taken, and that the answerer's comes; or that it is not, and nothing comes.
const TAKEN: u8 = 1;
const REFUSED: u8 = 2;
/// How long the other side may take for all that it says, however slowly it says it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a hello.
const HELLO: usize = 57;

/// What each side says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) process: usize,
    pub(super) fingerprint: u64,
    /// True iff it knows a secret of the cluster.
    pub(super) secret: bool,
    nonce: [u8; 32],
}

impl Hello {
    /// One for a new connection.
    pub(super) fn new(process: usize, fingerprint: u64, secret: bool) -> Result<Hello> {
        Ok(Hello { process, fingerprint, secret, nonce: secret::random()? })
    }

    pub(super) fn bytes(&self) -> [u8; HELLO] {
        let mut bytes = [0; HELLO];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&(self.process as u64).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.fingerprint.to_le_bytes());
        bytes[24] = self.secret.into();
        bytes[25..].copy_from_slice(&self.nonce);
        bytes
    }

    fn read(bytes: &[u8; HELLO]) -> Result<Hello> {
        ensure!(bytes[..8] == MAGIC, "it does not speak the protocol of Cutwater's processes");
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let nonce = bytes[25..].try_into().expect("32 bytes");
        Ok(Hello { process: word(8) as usize, fingerprint: word(16), secret: bytes[24] == 1, nonce })
    }
}

/// A connection on which both sides say who they are, within a bounded time.
pub(super) struct Wire {
    socket: TcpStream,
    deadline: Instant,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Result<Wire> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire { socket, deadline: Instant::now() + PATIENCE })
    }

    /// The socket, as timely wants it.
    fn done(self) -> Result<TcpStream> {
        self.socket.set_read_timeout(None)?;
        self.socket.set_write_timeout(None)?;
        Ok(self.socket)
    }

    pub(super) fn say(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(bytes)?)
    }

    fn hear<const N: usize>(&mut self) -> Result<[u8; N]> {
        let late = || anyhow!("it did not say who it is within {} s", PATIENCE.as_secs());
        let mut bytes = [0; N];
        let mut heard = 0;
        while heard < N {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(late());
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.read(&mut bytes[heard..]) {
                Ok(0) => return Err(anyhow!("it closed the connection before it said who it is")),
                Ok(more) => heard += more,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(late()),
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(bytes)
    }

    pub(super) fn hello(&mut self) -> Result<Hello> {
        Hello::read(&self.hear()?)
    }
}

/// Why a connection is not one of the cluster's.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody there, or not ready; or who was there has given it up.
    Absent(anyhow::Error),
    /// Somebody else there: why.
    Stranger(String),
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Refusal::Absent(error)
    }
}

/// The caller's part. Returns the connection, and who has answered.
pub(super) fn call(mut wire: Wire, ours: &Hello, secret: Option<&Secret>) -> Result<(Wire, Hello), Refusal> {
    wire.say(&ours.bytes())?;
    let theirs = wire.hello()?;
    both_or_none(ours, &theirs)?;
    if let Some(secret) = secret {
        wire.say(&secret.prove(Side::Caller, ours, &theirs))?;
        if wire.hear()? != [TAKEN] {
            let why = "it refuses this process, which knows another secret than it does: is --cluster-secret-file the same?";
            return Err(Refusal::Stranger(why.to_owned()));
        }
        let proof: [u8; PROOF] = wire.hear()?;
        if !secret.is_proven(Side::Answerer, ours, &theirs, &proof) {
            let why = "it does not know the cluster's secret: is something else listening there?";
            return Err(Refusal::Stranger(why.to_owned()));
        }
    }
    Ok((wire, theirs))
}

/// The caller takes the connection into use.
pub(super) fn confirm(mut wire: Wire) -> Result<TcpStream> {
    wire.say(&[HERE])?;
    wire.done()
}

/// The answerer's part, up to where it is known who calls.
pub(super) fn answer(
    mut wire: Wire,
    ours: &Hello,
    secret: Option<&Secret>,
) -> Result<(Wire, Hello), Refusal> {
    // Nothing that a stranger does not say is a reason to end.
    let stranger = |error: anyhow::Error| Refusal::Stranger(format!("{error:#}"));
    let theirs = wire.hello().map_err(stranger)?;
    // Before anything is looked at: the other side is to learn what is wrong as well.
    wire.say(&ours.bytes())?;
    both_or_none(ours, &theirs)?;
    if let Some(secret) = secret {
        let proof: [u8; PROOF] = wire.hear()?;
        if !secret.is_proven(Side::Caller, &theirs, ours, &proof) {
            // Where it can't be told, it is refused all the same.
            let _ = wire.say(&[REFUSED]);
            return Err(Refusal::Stranger(format!(
                "it says that it is process {}, and knows another secret: is --cluster-secret-file the same?",
                theirs.process
            )));
        }
        wire.say(&[TAKEN])?;
        wire.say(&secret.prove(Side::Answerer, &theirs, ours))?;
    }
    Ok((wire, theirs))
}

/// Waits until the caller confirms that it has our answer. Where we were long in coming, the first connections that we
/// take are those that it has given up: they hold its hello all the same.
pub(super) fn await_here(mut wire: Wire) -> Result<TcpStream> {
    ensure!(wire.hear()? == [HERE], "it does not confirm");
    wire.done()
}

fn both_or_none(ours: &Hello, theirs: &Hello) -> Result<(), Refusal> {
    let process = theirs.process;
    match (ours.secret, theirs.secret) {
        (true, false) => Err(Refusal::Stranger(format!(
            "it says that it is process {process}, and has no secret, where this process has one: give all of them the same \
             --cluster-secret-file"
        ))),
        (false, true) => Err(Refusal::Stranger(format!(
            "it says that it is process {process}, and has a secret, where this process has none: give all of them the same \
             --cluster-secret-file"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn wires() -> (Wire, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Wire::new(caller).unwrap(), Wire::new(listener.accept().unwrap().0).unwrap())
    }

    fn refused(result: Result<(Wire, Hello), Refusal>) -> String {
        match result.map(drop).unwrap_err() {
            Refusal::Stranger(why) => why,
            Refusal::Absent(error) => format!("absent: {error:#}"),
        }
    }

    #[test]
    fn a_hello_is_read_as_it_was_written() {
        let hello = Hello::new(3, 0xfedc_ba98, true).unwrap();
        assert_eq!(Hello::read(&hello.bytes()).unwrap(), hello);
        assert_ne!(Hello::new(3, 0xfedc_ba98, true).unwrap(), hello, "each has its own nonce");
        assert!(Hello::read(&[b'x'; HELLO]).unwrap_err().to_string().contains("protocol"));
    }

    /// What each side makes of the other, by their secrets: the caller's first.
    fn meet(secrets: [Option<&Secret>; 2]) -> [Result<(Wire, Hello), Refusal>; 2] {
        let (caller, answerer) = wires();
        let [one, zero] = secrets;
        let zero = zero.cloned();
        let answering = std::thread::spawn(move || {
            let ours = Hello::new(0, 7, zero.is_some()).unwrap();
            answer(answerer, &ours, zero.as_ref())
        });
        let called = call(caller, &Hello::new(1, 7, one.is_some()).unwrap(), one);
        [called, answering.join().unwrap()]
    }

    #[test]
    fn those_who_know_the_same_secret_meet_and_others_are_told_why_they_do_not() {
        let (secret, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        for same in [None, Some(&secret)] {
            let [caller, answerer] = meet([same, same]).map(|met| met.unwrap().1.process);
            assert_eq!([caller, answerer], [0, 1]);
        }
        let [caller, answerer] = meet([Some(&other), Some(&secret)]).map(refused);
        assert!(caller.contains("another secret") && answerer.contains("process 1"), "{caller}, {answerer}");
        let [caller, answerer] = meet([None, Some(&secret)]).map(refused);
        assert!(
            caller.contains("has a secret") && answerer.contains("has no secret"),
            "{caller}, {answerer}"
        );
        let [caller, answerer] = meet([Some(&secret), None]).map(refused);
        assert!(
            caller.contains("has no secret") && answerer.contains("has a secret"),
            "{caller}, {answerer}"
        );
    }

    /// A stranger that says back what it hears: to the caller, and to the answerer what it has heard of a caller.
    #[test]
    fn what_is_said_back_proves_nothing() {
        let secret = Secret::random().unwrap();
        let ours = Hello::new(1, 7, true).unwrap();
        let (caller, mut mirror) = wires();
        let calling = std::thread::spawn(move || {
            let said: [u8; HELLO] = mirror.hear().unwrap();
            mirror.say(&said).unwrap();
            let proof: [u8; PROOF] = mirror.hear().unwrap();
            mirror.say(&[&[TAKEN][..], &proof].concat()).unwrap();
            // Open until the caller has looked.
            let _ = mirror.hear::<1>();
            (said, proof)
        });
        let why = refused(call(caller, &ours, Some(&secret)));
        assert!(why.contains("does not know the cluster's secret"), "{why}");
        let (said, proof) = calling.join().unwrap();
        // To one that is called, the same: it has another nonce.
        let (mut mirror, answerer) = wires();
        mirror.say(&[&said[..], &proof].concat()).unwrap();
        let why = refused(answer(answerer, &Hello::new(0, 7, true).unwrap(), Some(&secret)));
        assert!(why.contains("another secret"), "{why}");
        assert!(Hello::read(&mirror.hear().unwrap()).is_ok());
        assert_eq!(mirror.hear().unwrap(), [REFUSED], "and no proof that secrets could be tried on");
        drop(wires());
    }

    #[test]
    fn one_that_closes_is_said_to_do_so_and_garbage_is_no_hello() {
        let (caller, mut answerer) = wires();
        drop(caller);
        let why = answerer.hello().unwrap_err().to_string();
        assert_eq!(why, "it closed the connection before it said who it is");
        let (mut caller, answerer) = wires();
        caller.say(&[b'G'; HELLO]).unwrap();
        let why = refused(answer(answerer, &Hello::new(0, 7, false).unwrap(), None));
        assert!(why.contains("protocol"), "{why}");
    }
}
