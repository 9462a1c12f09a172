//! How the object store's client speaks HTTP: by the client that everything else here uses, which blocks a thread.

use std::io::{ErrorKind, Read as _};

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use ureq::Agent;
use ureq::http::{Method, Request, request};

use crate::http;

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    /// The other options are of a client that we don't use: ours has its own.
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp);
        let https_only = plain.as_deref() != Some("true");
        Ok(HttpClient::new(Client(http::agent(https_only))))
    }
}

#[derive(Debug)]
struct Client(Agent);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let agent = self.0.clone();
        let answer = tokio::task::spawn_blocking(move || ask(&agent, parts, &body)).await;
        answer.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?
    }
}

/// Sends a request and reads all of its answer: a part of an object, or a page of a list.
fn ask(agent: &Agent, parts: request::Parts, body: &[u8]) -> Result<HttpResponse, HttpError> {
    let bodiless = body.is_empty() && !matches!(parts.method, Method::PUT | Method::POST);
    let answer = match bodiless {
        true => agent.run(Request::from_parts(parts, ())),
        false => agent.run(Request::from_parts(parts, body)),
    };
    let (parts, body) = answer.map_err(failed)?.into_parts();
    let mut bytes = Vec::new();
    body.into_reader().read_to_end(&mut bytes).map_err(|error| HttpError::new(of_io(error.kind()), error))?;
    Ok(HttpResponse::from_parts(parts, bytes.into()))
}

/// The kind of an error says whether the request is tried once more.
fn failed(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Protocol(_) => HttpErrorKind::Request,
        ureq::Error::Io(error) => of_io(error.kind()),
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}

fn of_io(kind: ErrorKind) -> HttpErrorKind {
    match kind {
        ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => HttpErrorKind::Timeout,
        ErrorKind::ConnectionAborted
        | ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    }
}
