//! A connection to a broker: requests and their answers, one after the other.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use crossbeam_channel::{Receiver, Sender, bounded};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::errors;
use super::properties::Access;
use super::sasl::{Mechanism, Scram, plain};
use super::tls::server_name;

/// How long it may take until a broker has taken a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a request may take, beyond what it allows the broker to wait.
pub(super) const REQUEST: Duration = Duration::from_secs(30);
/// Buffers of answers that are kept, to be used again.
const BUFFERS: usize = 8;
/// Versions of the first request: with the name of the client, and what every broker answers.
const ASK_VERSIONS: [i16; 2] = [3, 0];
/// After which part of the time for which a proof holds it is given again.
const RENEW: f64 = 0.8;
/// The error of a broker that does not know a version.
const UNSUPPORTED_VERSION: i16 = 35;

/// An answer that has more bytes than the user allows: it would have as many the next time.
#[derive(Debug)]
pub(super) struct Oversized(usize, usize);

impl std::fmt::Display for Oversized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Oversized(length, most) = self;
        write!(
            f,
            "a broker's answer of {length} bytes is larger than receive.message.max.bytes={most}: raise it with --set \
             receive.message.max.bytes=BYTES"
        )
    }
}

impl std::error::Error for Oversized {}

/// What bytes come and go by.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A connection to a broker, which has told the versions that it knows.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    access: Access,
    /// When the broker is to be given proof again of who we are.
    proof_until: Option<Instant>,
    correlation: i32,
    out: BytesMut,
    versions: HashMap<i16, (i16, i16)>,
    spare: (Sender<Vec<u8>>, Receiver<Vec<u8>>),
}

/// A buffer that can be used again when nothing refers to it any more.
struct Pooled(Vec<u8>, Sender<Vec<u8>>);

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        // Where enough are kept, or the connection has gone, it is freed.
        let _ = self.1.try_send(std::mem::take(&mut self.0));
    }
}

impl Connection {
    /// Connects to `host:port`, whichever of its addresses answers, and asks for versions.
    ///
    /// # Errors
    /// If nobody answers there, or it is no broker.
    pub(super) async fn open(address: &str, access: &Access) -> Result<Self> {
        let stream = timeout(CONNECT, TcpStream::connect(address))
            .await
            .with_context(|| format!("nobody has answered within {} s", CONNECT.as_secs()))?
            .context("connecting")?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &access.tls {
            None => Box::new(stream),
            Some(tls) => {
                let shake = tls.connect(server_name(address)?, stream);
                let shaken = timeout(CONNECT, shake).await.context("no TLS handshake in time")?;
                Box::new(shaken.context("the TLS handshake")?)
            }
        };
        let mut connection = Connection {
            stream,
            proof_until: None,
            access: access.clone(),
            correlation: 0,
            out: BytesMut::new(),
            versions: HashMap::new(),
            spare: bounded(BUFFERS),
        };
        connection.ask_versions().await?;
        connection.prove().await?;
        Ok(connection)
    }

    /// Proves who we are, where the broker wants to know.
    async fn prove(&mut self) -> Result<()> {
        let Some(login) = self.access.login.clone() else { return Ok(()) };
        let (user, password) = login.now();
        let name = login.mechanism.name();
        let version = self.version::<SaslHandshakeRequest>((1, 1))?;
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(name));
        let answer = self.exchanged(version, &handshake, REQUEST).await?;
        ensure!(answer.error_code == 0, "{name}: {}", errors::text(answer.error_code));
        if login.mechanism == Mechanism::Plain {
            self.prove_by(plain(&user, &password)).await?;
            return Ok(());
        }
        let mut scram = Scram::new(login.mechanism, &user)?;
        let answer = self.prove_by(scram.first()).await?;
        let answer = self.prove_by(scram.second(&answer, &password)?).await?;
        scram.check(&answer)
    }

    /// Sends a message of a proof. Returns what the broker says to it.
    async fn prove_by(&mut self, message: Vec<u8>) -> Result<Bytes> {
        let version = self.version::<SaslAuthenticateRequest>((0, 2))?;
        let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
        let answer = self.exchanged(version, &request, REQUEST).await?;
        if answer.error_code != 0 {
            let said = answer.error_message.unwrap_or_default();
            bail!("{} ({said})", errors::text(answer.error_code));
        }
        if let Ok(lifetime @ 1..) = u64::try_from(answer.session_lifetime_ms) {
            self.proof_until = Some(Instant::now() + Duration::from_millis(lifetime).mul_f64(RENEW));
        }
        Ok(answer.auth_bytes)
    }

    async fn ask_versions(&mut self) -> Result<()> {
        for version in ASK_VERSIONS {
            let request = ApiVersionsRequest::default()
                .with_client_software_name(StrBytes::from_static_str("cutwater"))
                .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
            let mut answer = self.exchange(version, &request, REQUEST).await?;
            // A broker that does not know the version answers with the oldest one.
            let known = answer.get(..2) != Some(&UNSUPPORTED_VERSION.to_be_bytes());
            if !known {
                continue;
            }
            let answer =
                ApiVersionsResponse::decode(&mut answer, version).context("an answer of versions")?;
            ensure!(answer.error_code == 0, "asking for versions: {}", errors::text(answer.error_code));
            self.versions =
                answer.api_keys.iter().map(|of| (of.api_key, (of.min_version, of.max_version))).collect();
            return Ok(());
        }
        bail!("the broker does not tell the versions that it knows")
    }

    /// The newest version of a request that both know, `ours` being the range of which we do.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn version<R: Request>(&self, ours: (i16, i16)) -> Result<i16> {
        let Some(&theirs) = self.versions.get(&R::KEY) else {
            bail!("the broker does not know requests of kind {}", R::KEY)
        };
        let version = ours.1.min(theirs.1);
        ensure!(
            version >= ours.0 && version >= theirs.0,
            "the broker knows versions {} to {} of requests of kind {}, but {} to {} are needed: --fetch librdkafka may do",
            theirs.0,
            theirs.1,
            R::KEY,
            ours.0,
            ours.1
        );
        Ok(version)
    }

    /// Asks, and waits for the answer, which may take `patience` longer than what the request itself allows.
    ///
    /// # Errors
    /// If it does not come in time, or is not one.
    pub(super) async fn ask<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        patience: Duration,
    ) -> Result<R::Response> {
        if self.proof_until.is_some_and(|until| until <= Instant::now()) {
            self.proof_until = None;
            self.prove().await.context("proving again who we are")?;
        }
        self.exchanged(version, request, patience).await
    }

    async fn exchanged<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        patience: Duration,
    ) -> Result<R::Response> {
        let mut answer = self.exchange(version, request, patience).await?;
        R::Response::decode(&mut answer, version)
            .with_context(|| format!("an answer to a request of kind {}", R::KEY))
    }

    async fn exchange<R: Request>(&mut self, version: i16, request: &R, patience: Duration) -> Result<Bytes> {
        let exchange = async {
            self.send(version, request).await?;
            self.receive(R::Response::header_version(version)).await
        };
        timeout(patience, exchange)
            .await
            .with_context(|| format!("no answer within {} s", patience.as_secs()))?
    }

    async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<()> {
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_string(self.access.client.clone())));
        self.out.clear();
        self.out.extend_from_slice(&[0; 4]);
        header.encode(&mut self.out, R::header_version(version))?;
        request.encode(&mut self.out, version)?;
        let length = u32::try_from(self.out.len() - 4)?;
        self.out[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&self.out).await.context("sending a request")
    }

    async fn receive(&mut self, header: i16) -> Result<Bytes> {
        let length = self.stream.read_u32().await.context("waiting for an answer")? as usize;
        ensure!(length <= self.access.most, Oversized(length, self.access.most));
        let mut buffer = self.spare.1.try_recv().unwrap_or_default();
        buffer.clear();
        buffer.reserve(length);
        let read = (&mut self.stream)
            .take(length as u64)
            .read_to_end(&mut buffer)
            .await
            .context("reading an answer")?;
        ensure!(read == length, "the broker has ended the connection within an answer");
        let mut answer = Bytes::from_owner(Pooled(buffer, self.spare.0.clone()));
        let header = ResponseHeader::decode(&mut answer, header)?;
        ensure!(header.correlation_id == self.correlation, "an answer to another request");
        Ok(answer)
    }
}
