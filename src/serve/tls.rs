//! TLS: the server's certificate and key, from files.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::pem;

/// What takes connections with TLS 1.2 or 1.3: with the certificates of one PEM file, the server's own first, and the key of
/// another.
///
/// # Errors
/// If they can't be read, or the key is not that of the certificate: the error names the file.
pub fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
    let shown = format!("--http-cert {}", cert.display());
    let chain = pem::certificates(&shown, cert)?;
    let shown_key = format!("--http-key {}", key.display());
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("reading {shown_key}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .context("--http-cert")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("{shown}, {shown_key}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
