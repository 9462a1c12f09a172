//! The secret of a cluster, and the proof that a process knows it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::handshake::Hello;
use crate::secrets;
use crate::usage::usage;

/// The fewest characters of a secret that is no guess.
const SHORTEST: usize = 16;
/// What a proof is of, and of nothing else.
const LABEL: &[u8] = b"cutwater cluster 3";
/// Bytes of a proof.
pub(super) const PROOF: usize = 32;

/// Which side of a connection proves that it knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that has made the connection.
    Caller = 1,
    /// The one that was called.
    Answerer = 2,
}

/// What all processes of a cluster know, and nobody else.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

// What is secret is not shown.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The secret in a file; white space around it does not count.
    ///
    /// # Errors
    /// If it can't be read, or is so short that it can be guessed.
    pub fn read(path: &Path) -> Result<Secret> {
        let shown = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("reading --cluster-secret-file {shown}"))?;
        let secret = bytes.trim_ascii();
        if secret.len() < SHORTEST {
            return Err(usage(format!(
                "--cluster-secret-file {shown}: the secret has fewer than {SHORTEST} characters, and could be guessed; \
                 `openssl rand -hex 32` makes one"
            )));
        }
        secrets::learn(&String::from_utf8_lossy(secret));
        Ok(Secret(secret.into()))
    }

    /// A secret that nobody knows yet.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn random() -> Result<Secret> {
        Ok(Secret(random::<32>()?.as_slice().into()))
    }

    /// The secret itself, to be handed to a process of this cluster.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A secret that was handed to this process.
    pub(crate) fn of(bytes: &[u8]) -> Secret {
        Secret(bytes.into())
    }

    /// The proof of one side of a connection on which these two have said who they are. It is of no other connection, since
    /// both have sent random bytes; and of neither other side nor other processes, so that nothing that was heard on one
    /// connection can be said on another.
    pub(super) fn prove(&self, by: Side, caller: &Hello, answerer: &Hello) -> [u8; PROOF] {
        let tag = hmac::sign(&self.key(), &stated(by, caller, answerer));
        tag.as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
    }

    /// True iff this is that proof. It takes as long for each that is not.
    pub(super) fn is_proven(&self, by: Side, caller: &Hello, answerer: &Hello, proof: &[u8; PROOF]) -> bool {
        hmac::verify(&self.key(), &stated(by, caller, answerer), proof).is_ok()
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

/// What a proof states: all parts have a fixed length.
fn stated(by: Side, caller: &Hello, answerer: &Hello) -> Vec<u8> {
    [LABEL, &[by as u8], &caller.bytes(), &answerer.bytes()].concat()
}

/// Random bytes.
///
/// # Errors
/// If the system has none.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(process: usize) -> Hello {
        Hello::new(process, 7, true).unwrap()
    }

    #[test]
    fn a_proof_is_of_one_secret_side_connection_and_pair() {
        let (secret, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        let (one, zero) = (hello(1), hello(0));
        let proof = secret.prove(Side::Caller, &one, &zero);
        assert!(secret.is_proven(Side::Caller, &one, &zero, &proof));
        assert!(!other.is_proven(Side::Caller, &one, &zero, &proof), "another secret");
        assert!(!secret.is_proven(Side::Answerer, &one, &zero, &proof), "said back to who said it");
        assert!(!secret.is_proven(Side::Caller, &zero, &one, &proof), "the other way round");
        assert!(
            !secret.is_proven(Side::Caller, &hello(1), &zero, &proof),
            "another connection of the caller"
        );
        assert!(
            !secret.is_proven(Side::Caller, &one, &hello(0), &proof),
            "another connection of the answerer"
        );
        let mut two = one.clone();
        two.process = 2;
        assert!(!secret.is_proven(Side::Caller, &two, &zero, &proof), "another process");
    }

    #[test]
    fn a_secret_is_read_without_the_line_end_and_is_no_guess() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert_eq!(Secret::read(&path).unwrap().bytes(), b"0123456789abcdef");
        std::fs::write(&path, "0123456789abcde\n").unwrap();
        let error = Secret::read(&path).unwrap_err().to_string();
        assert!(error.contains("fewer than 16") && !error.contains("0123"), "{error}");
        assert!(!format!("{:?}", Secret::of(b"0123456789abcdef")).contains("0123"));
    }
}
