//! The HTTP client of all that speaks HTTP: one set of time-outs, TLS by the certificates that the system trusts.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// How long connecting, each read and each write, and the answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client, of https alone if that is said. It follows no redirects, and an answer is an answer, whatever its status.
pub(crate) fn agent(https_only: bool) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(https_only)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("cutwater/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(TIMEOUT))
        .timeout_connect(Some(TIMEOUT))
        .timeout_per_read(Some(TIMEOUT))
        .timeout_per_write(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        .build();
    config.new_agent()
}
