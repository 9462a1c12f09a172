//! `--http` and what belongs to it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use axum::http::HeaderValue;
use tokio_rustls::TlsAcceptor;

use super::kafka::duration;
use super::options::number;
use crate::serve::access::{Access, Token, addresses, is_local};
use crate::serve::listen;
use crate::serve::tls::acceptor;
use crate::serve::views::History;
use crate::serve::{Service, router, router_of_peer};
use crate::usage::usage;

/// `--view-history` where nothing is said.
const VIEW_HISTORY: Duration = Duration::from_secs(10 * 60);
/// `--view-history-bytes` where nothing is said.
const VIEW_HISTORY_BYTES: usize = 256 << 20;

/// The options of the server.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub(super) struct HttpArgs {
    /// Answer questions while it runs, there: outputs, figures, a page. 127.0.0.1:PORT is of this machine alone; others need a
    /// token or --http-open; port 0 has the system choose one
    #[arg(long, value_name = "ADDR", help_heading = "HTTP")]
    pub http: Option<String>,
    /// How long what was the newest epoch can still be asked for [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "HTTP")]
    pub view_history: Option<Duration>,
    /// Bytes of what those epochs changed, after which the oldest can't be asked for any more [default: 268435456]
    #[arg(long, value_name = "N", value_parser = number, help_heading = "HTTP")]
    pub view_history_bytes: Option<NonZeroUsize>,
    /// Answer only those who send the token in this file: Authorization: Bearer TOKEN
    #[arg(long, value_name = "FILE", help_heading = "HTTP")]
    pub http_token_file: Option<PathBuf>,
    /// Answer everybody who reaches the address, also from other machines
    #[arg(long, help_heading = "HTTP")]
    pub http_open: bool,
    /// Speak TLS with the certificates in this PEM file, the server's own first; needs --http-key
    #[arg(long, value_name = "FILE", help_heading = "HTTP")]
    pub http_cert: Option<PathBuf>,
    /// The key of the certificate, as PEM
    #[arg(long, value_name = "FILE", help_heading = "HTTP")]
    pub http_key: Option<PathBuf>,
    /// Let pages from there read the answers: https://HOST, or * for all
    #[arg(long, value_name = "ORIGIN", help_heading = "HTTP")]
    pub http_allow_origin: Option<String>,
}

/// What the server is started with.
pub(super) struct Server<'a> {
    typed: &'a str,
    addresses: Vec<SocketAddr>,
    access: Access,
    tls: Option<TlsAcceptor>,
}

impl HttpArgs {
    /// Reads what was typed, and the files it names. `None` if there is to be no server.
    ///
    /// # Errors
    /// A usage error if it can't be; another if a file can't be read.
    pub(super) fn check(&self) -> Result<Option<Server<'_>>> {
        let Some(typed) = &self.http else { return self.without().map(|()| None) };
        let addresses = addresses(typed).map_err(|why| usage(format!("--http {why}")))?;
        if self.http_open && self.http_token_file.is_some() {
            return Err(usage(
                "--http-open has everybody ask, --http-token-file those who know the token: give one of them",
            ));
        }
        let token = self.http_token_file.as_deref().map(Token::read).transpose()?;
        let is_local = is_local(&addresses);
        if !is_local && token.is_none() && !self.http_open {
            return Err(usage(format!(
                "--http {typed}: others than this machine could ask there. Listen on 127.0.0.1, or say who may with \
                 --http-token-file FILE, or that all may with --http-open"
            )));
        }
        let tls = match (&self.http_cert, &self.http_key) {
            (Some(cert), Some(key)) => Some(acceptor(cert, key)?),
            (None, None) => None,
            (Some(_), None) => return Err(usage("--http-cert: its key is wanted, too: --http-key FILE")),
            (None, Some(_)) => {
                return Err(usage("--http-key: its certificate is wanted, too: --http-cert FILE"));
            }
        };
        if !is_local && tls.is_none() && token.is_some() {
            tracing::warn!(
                "--http-token-file: the token goes over the network as it is; --http-cert and --http-key hide it"
            );
        }
        let origin = self.http_allow_origin.as_deref().map(origin).transpose()?;
        // Who may ask without a token is told by where the server is reached: its name must be its own, then.
        let host = typed.rsplit_once(':').map_or(&**typed, |(host, _)| host).to_owned();
        let names = (token.is_none() && !self.http_open).then(|| vec![host]);
        Ok(Some(Server { typed, addresses, access: Access { token, origin, names }, tls }))
    }

    /// Refuses options of the server where there is none.
    fn without(&self) -> Result<()> {
        let typed = [
            ("--view-history", self.view_history.is_some()),
            ("--view-history-bytes", self.view_history_bytes.is_some()),
            ("--http-token-file", self.http_token_file.is_some()),
            ("--http-open", self.http_open),
            ("--http-cert", self.http_cert.is_some()),
            ("--http-key", self.http_key.is_some()),
            ("--http-allow-origin", self.http_allow_origin.is_some()),
        ];
        match typed.into_iter().find_map(|(option, typed)| typed.then_some(option)) {
            Some(option) => {
                Err(usage(format!("{option} is of a server, but there is none: say where with --http ADDR")))
            }
            None => Ok(()),
        }
    }

    /// How much of the past can be asked for.
    pub(super) fn history(&self) -> History {
        History {
            time: self.view_history.unwrap_or(VIEW_HISTORY),
            bytes: self.view_history_bytes.map_or(VIEW_HISTORY_BYTES, NonZeroUsize::get),
        }
    }

    /// Starts the server of a process that does not answer for the run, if there is to be one.
    ///
    /// # Errors
    /// As [`HttpArgs::start`].
    pub(super) fn start_peer(&self, service: Service) -> Result<Option<listen::Server>> {
        let Some(Server { typed, addresses, access, tls }) = self.check()? else { return Ok(None) };
        listen::Server::start(typed, &addresses, tls, router_of_peer(service, access)).map(Some)
    }

    /// Starts the server, if there is to be one.
    ///
    /// # Errors
    /// As [`HttpArgs::check`], or if it can't listen.
    pub(super) fn start(&self, service: Service) -> Result<Option<listen::Server>> {
        let Some(Server { typed, addresses, access, tls }) = self.check()? else { return Ok(None) };
        listen::Server::start(typed, &addresses, tls, router(service, access)).map(Some)
    }
}

/// Where pages come from that may read answers.
fn origin(typed: &str) -> Result<HeaderValue> {
    let host = typed.strip_prefix("https://").or_else(|| typed.strip_prefix("http://"));
    let is_origin = host.is_some_and(|host| crate::address::check_authority(host).is_ok());
    match HeaderValue::from_str(typed) {
        Ok(value) if is_origin || typed == "*" => Ok(value),
        _ => Err(usage(format!(
            "--http-allow-origin {typed}: expected http://HOST[:PORT], https://HOST[:PORT] or *"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_a_scheme_and_a_host_and_no_path() {
        for right in ["*", "https://example.com", "http://localhost:3000", "http://[::1]:3000"] {
            assert!(origin(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "example.com",
            "https://",
            "https://example.com/",
            "ftp://example.com",
            "https://a b",
            "null",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}
