//! Who may ask: this machine alone, those who know a token, or everybody.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, AUTHORIZATION, CONTENT_LENGTH, HOST,
    TRANSFER_ENCODING, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use ring::hmac;
use ring::rand::SystemRandom;

use super::answer::Failed;
use crate::usage::usage;

/// The addresses that ADDR names.
///
/// # Errors
/// In words, if it names none.
pub fn addresses(text: &str) -> std::result::Result<Vec<SocketAddr>, String> {
    let named: Vec<SocketAddr> = match text.to_socket_addrs() {
        Ok(named) => named.collect(),
        Err(error) => {
            return Err(match text.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    format!("{text:?}: looking up {host:?}: {error}")
                }
                _ => format!(
                    "{text:?}: expected HOST:PORT, as 127.0.0.1:9400; port 0 has the system choose one"
                ),
            });
        }
    };
    if named.is_empty() { Err(format!("{text:?}: the host has no address")) } else { Ok(named) }
}

/// True iff only this machine can reach the addresses.
pub fn is_local(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
}

/// The fewest characters of a token that is no guess.
const SHORTEST: usize = 16;
/// What those who ask have to prove.
#[derive(Clone, Default)]
pub struct Access {
    /// That they know this, but for paths that tell nothing of the run.
    pub token: Option<Token>,
    /// Where pages come from that may read answers, beside the server's own.
    pub origin: Option<HeaderValue>,
    /// Names by which they may call the server, beside addresses and `localhost`; `None`: by any name.
    pub names: Option<Vec<String>>,
}

/// What those know who may ask. It is kept as a tag by a key that nobody knows, so that comparing takes the same time
/// wherever it differs.
#[derive(Clone)]
pub struct Token(Arc<(hmac::Key, hmac::Tag)>);

impl Token {
    /// The token in a file; white space around it does not count.
    ///
    /// # Errors
    /// If it can't be read, or is so short that it can be guessed, or can't stand in a header.
    pub fn read(path: &Path) -> Result<Token> {
        let shown = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("reading --http-token-file {shown}"))?;
        let token = bytes.trim_ascii();
        let wrong = |why: &str| {
            usage(format!("--http-token-file {shown}: the token {why}; `openssl rand -hex 32` makes one"))
        };
        if token.len() < SHORTEST {
            return Err(wrong(&format!("has fewer than {SHORTEST} characters, and could be guessed")));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(wrong("has characters that can't stand in a header"));
        }
        Token::of(token).context("--http-token-file: making a key")
    }

    fn of(token: &[u8]) -> Result<Token> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| anyhow::anyhow!("the system has no random bytes"))?;
        let tag = hmac::sign(&key, token);
        Ok(Token(Arc::new((key, tag))))
    }

    /// Is it this one?
    fn is(&self, text: &[u8]) -> bool {
        hmac::verify(&self.0.0, text, self.0.1.as_ref()).is_ok()
    }
}

/// Paths that tell nothing of the run's data: an orchestrator asks the first two, and the others are the page, which asks its
/// reader for the token.
fn is_open(path: &str) -> bool {
    ["/healthz", "/readyz", "/"].contains(&path) || path.starts_with("/page/")
}

impl Access {
    /// Has all paths ask for what is to be proven.
    pub fn guard(self, router: Router) -> Router {
        router.layer(from_fn_with_state(self, guard))
    }

    /// Refuses who may not ask.
    fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> std::result::Result<(), Failed> {
        let has_body = headers.contains_key(TRANSFER_ENCODING)
            || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
        if has_body {
            return Err(Failed::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("{method} {path}: a request has no body here: all is said in the address"),
            ));
        }
        let name = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if let Some(names) = &self.names
            && !is_called(name, names)
        {
            return Err(Failed::new(
                StatusCode::MISDIRECTED_REQUEST,
                format!(
                    "Host: {name:?} is not this server, which answers this machine alone: call it 127.0.0.1 or localhost"
                ),
            ));
        }
        let Some(token) = self.token.as_ref().filter(|_| !is_open(path)) else { return Ok(()) };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(bearer);
        match given {
            Some(given) if token.is(given) => Ok(()),
            given => {
                let found = if given.is_some() { "another token" } else { "none" };
                let error = format!(
                    "this run's token is wanted, and found is {found}: send Authorization: Bearer TOKEN"
                );
                Err(Failed::new(StatusCode::UNAUTHORIZED, error)
                    .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cutwater\"")))
            }
        }
    }
}

/// The token of `Bearer TOKEN`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Is the server called so? A page of another server can have its own name lead here, but can't call this one by an address
/// or `localhost`.
fn is_called(host: &str, names: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_local = name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok();
    is_local || names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Answers who may ask, and says who else may read it.
async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let Access { origin, .. } = &access;
    let asks_for_leave = request.method() == Method::OPTIONS && origin.is_some();
    let mut response = match access.check(request.method(), request.uri().path(), request.headers()) {
        // A browser asks without the token whether it may send it.
        _ if asks_for_leave => StatusCode::NO_CONTENT.into_response(),
        Ok(()) => next.run(request).await,
        Err(failed) => failed.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.append(VARY, HeaderValue::from_static("origin"));
        let shown = "cutwater-epoch, cutwater-cut, cutwater-next, retry-after";
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(shown));
        if asks_for_leave {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
            let taken = HeaderValue::from_static("authorization, accept, last-event-id");
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, taken);
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_alone_are_known() {
        for (text, local) in [
            ("127.0.0.1:0", true),
            ("127.8.9.1:80", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("192.0.2.1:8080", false),
        ] {
            assert_eq!(is_local(&addresses(text).unwrap()), local, "{text}");
        }
        for wrong in ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "http://127.0.0.1:1"]
        {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
    }

    fn headers(named: &[(axum::http::HeaderName, &'static str)]) -> HeaderMap {
        named.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_token_is_wanted_but_for_what_tells_nothing() {
        let token = Some(Token::of(b"0123456789abcdef").unwrap());
        let access = Access { token, ..Access::default() };
        let may = |path: &str, value: Option<&'static str>| {
            let headers = value.map_or_else(HeaderMap::new, |value| headers(&[(AUTHORIZATION, value)]));
            access.check(&Method::GET, path, &headers).is_ok()
        };
        for path in ["/", "/healthz", "/readyz", "/page/main.js"] {
            assert!(may(path, None), "{path}");
        }
        for path in ["/metrics", "/v1/outputs", "/v1/openapi.json", "/healthz/", "/pages", "//"] {
            assert!(!may(path, None), "{path}");
            assert!(may(path, Some("Bearer 0123456789abcdef")), "{path}");
            assert!(may(path, Some("bearer  0123456789abcdef ")), "{path}");
            for wrong in [
                "Bearer 0123456789abcde",
                "Bearer 0123456789abcdeg",
                "0123456789abcdef",
                "Bearer",
                "Basic x",
                "Digest 0123456789abcdef",
            ] {
                assert!(!may(path, Some(wrong)), "{path} {wrong}");
            }
        }
    }

    #[test]
    fn bodies_are_refused_and_so_are_names_of_other_servers() {
        let access = Access { names: Some(vec!["here.example".into()]), ..Access::default() };
        let may = |of: &[(axum::http::HeaderName, &'static str)]| {
            access.check(&Method::GET, "/", &headers(of)).map_err(|failed| failed.to_string())
        };
        for host in
            ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:8080", "here.example:1", "192.0.2.7"]
        {
            assert_eq!(may(&[(HOST, host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""] {
            assert!(may(&[(HOST, host)]).unwrap_err().contains("is not this server"), "{host}");
        }
        assert!(may(&[(HOST, "localhost"), (CONTENT_LENGTH, "0")]).is_ok());
        assert!(may(&[(HOST, "localhost"), (CONTENT_LENGTH, "1")]).unwrap_err().contains("no body"));
        assert!(may(&[(HOST, "localhost"), (TRANSFER_ENCODING, "chunked")]).unwrap_err().contains("no body"));
    }
}
