//! SASL: how a client proves who it is. PLAIN ([RFC 4616](https://www.rfc-editor.org/rfc/rfc4616)) sends the password, SCRAM
//! ([RFC 5802](https://www.rfc-editor.org/rfc/rfc5802), [RFC 7677](https://www.rfc-editor.org/rfc/rfc7677)) proves that both
//! sides know it.

use std::num::NonZeroU32;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom as _;
use ring::{digest, hmac, pbkdf2};

/// The fewest rounds that a server may ask for: RFC 7677 says so.
const LEAST_ROUNDS: u32 = 4096;
/// The most: with more, a server could hold the client up.
const MOST_ROUNDS: u32 = 10_000_000;

/// How to prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    /// The one of that name.
    ///
    /// # Errors
    /// If it is not known here.
    pub(super) fn of(name: &str) -> Result<Self> {
        match name {
            "PLAIN" => Ok(Mechanism::Plain),
            "SCRAM-SHA-256" => Ok(Mechanism::ScramSha256),
            "SCRAM-SHA-512" => Ok(Mechanism::ScramSha512),
            other => bail!(
                "--fetch direct does not know sasl.mechanisms={other}, only PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512: read with \
                 --fetch librdkafka"
            ),
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// The message of PLAIN.
pub(super) fn plain(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

/// A proof by SCRAM, between its messages.
pub(super) struct Scram {
    algorithm: (pbkdf2::Algorithm, hmac::Algorithm, &'static digest::Algorithm),
    nonce: String,
    /// The first message without its header.
    bare: String,
    /// What the server is to answer to the second.
    signature: Option<Vec<u8>>,
}

impl Scram {
    /// Begins one.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn new(mechanism: Mechanism, user: &str) -> Result<Self> {
        let mut random = [0; 24];
        ring::rand::SystemRandom::new()
            .fill(&mut random)
            .ok()
            .context("the system gives no random numbers")?;
        Ok(Scram::with_nonce(mechanism, user, STANDARD.encode(random)))
    }

    fn with_nonce(mechanism: Mechanism, user: &str, nonce: String) -> Self {
        let algorithm = match mechanism {
            Mechanism::ScramSha512 => (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512),
            _ => (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256),
        };
        let bare = format!("n={},r={nonce}", user.replace('=', "=3D").replace(',', "=2C"));
        Scram { algorithm, nonce, bare, signature: None }
    }

    /// The first message.
    pub(super) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.bare).into_bytes()
    }

    /// The second message, to what the server has answered to the first.
    ///
    /// # Errors
    /// If that is no answer.
    pub(super) fn second(&mut self, answer: &[u8], password: &str) -> Result<Vec<u8>> {
        let answer = std::str::from_utf8(answer).context("SCRAM: the broker's answer is not text")?;
        let part = |name: &str| {
            let found = answer.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.with_context(|| format!("SCRAM: the broker's answer has no {name}"))
        };
        let nonce = part("r")?;
        ensure!(
            nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len(),
            "SCRAM: the broker's answer is to somebody else"
        );
        let salt = STANDARD.decode(part("s")?).context("SCRAM: the broker's salt")?;
        let rounds: u32 = part("i")?.parse().context("SCRAM: the broker's number of rounds")?;
        ensure!(
            (LEAST_ROUNDS..=MOST_ROUNDS).contains(&rounds),
            "SCRAM: the broker asks for {rounds} rounds, {LEAST_ROUNDS} to {MOST_ROUNDS} are taken"
        );
        let rounds = NonZeroU32::new(rounds).context("SCRAM: no rounds")?;
        let (derive, keyed, hash) = self.algorithm;
        let mut salted = vec![0; hash.output_len()];
        pbkdf2::derive(derive, rounds, &salt, password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(keyed, key), text);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash, client_key.as_ref());
        let without_proof = format!("c=biws,r={nonce}");
        let all = format!("{},{answer},{without_proof}", self.bare);
        let signature = sign(stored_key.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = sign(&salted, b"Server Key");
        self.signature = Some(sign(server_key.as_ref(), all.as_bytes()).as_ref().to_vec());
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes())
    }

    /// Looks at the last answer: it proves that the server knows the password, too.
    ///
    /// # Errors
    /// If it does not.
    pub(super) fn check(&self, answer: &[u8]) -> Result<()> {
        let answer = std::str::from_utf8(answer).context("SCRAM: the broker's last answer is not text")?;
        if let Some(error) = answer.strip_prefix("e=") {
            bail!("SCRAM: {error}");
        }
        let proof = answer.split(',').find_map(|part| part.strip_prefix("v="));
        let proof = proof.and_then(|proof| STANDARD.decode(proof).ok());
        ensure!(
            proof.is_some() && proof == self.signature,
            "SCRAM: the broker does not prove that it knows the password: is it the right one?"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    #[test]
    fn scram_is_as_its_example_says() {
        let mut scram = Scram::with_nonce(Mechanism::ScramSha256, "user", "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(scram.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let answer =
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let second = scram.second(answer, "pencil").expect("it is an answer");
        assert_eq!(
            String::from_utf8_lossy(&second),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        scram.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").expect("it knows the password");
        scram.check(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").expect_err("it does not");
        assert!(scram.check(b"e=other-error").unwrap_err().to_string().contains("other-error"));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for wrong in [
            &b"r=other,s=W22Z,i=4096"[..],
            b"r=nonce,s=W22Z,i=4096",
            b"r=nonceX,i=4096",
            b"r=nonceX,s=?,i=4096",
            b"r=nonceX,s=W22Z,i=1",
            b"r=nonceX,s=W22Z,i=99999999999",
            b"\xff",
            b"",
        ] {
            let mut scram = Scram::with_nonce(Mechanism::ScramSha512, "a,b=c", "nonce".to_owned());
            assert_eq!(scram.first(), b"n,,n=a=2Cb=3Dc,r=nonce");
            scram.second(wrong, "password").expect_err("it is no answer");
            scram.check(b"v=").expect_err("nothing was proven");
        }
    }

    #[test]
    fn mechanisms_are_named() {
        for name in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            assert_eq!(Mechanism::of(name).expect("it is known").name(), name);
        }
        assert!(Mechanism::of("GSSAPI").unwrap_err().to_string().contains("sasl.mechanisms=GSSAPI"));
    }
}
