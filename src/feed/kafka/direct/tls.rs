//! TLS to brokers, as librdkafka's properties say.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::properties::Properties;
use crate::pem;

/// The properties that are honoured.
pub(super) const HONOURED: [&str; 4] = [
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.endpoint.identification.algorithm",
];

/// What makes connections: it trusts the authorities of `ssl.ca.location`, or those that the system trusts, and shows the
/// certificate of `ssl.certificate.location`, if that is set.
///
/// # Errors
/// If a file can't be read, or is not what it should be: names the property.
pub(super) fn connector(properties: &Properties<'_>) -> Result<TlsConnector> {
    let provider = Arc::new(default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let names = match properties.get("ssl.endpoint.identification.algorithm").unwrap_or("https") {
        "https" => true,
        "none" => false,
        other => bail!("ssl.endpoint.identification.algorithm={other}: https or none is wanted"),
    };
    let builder = match properties.get("ssl.ca.location") {
        Some(path) => {
            let trusted = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(path)?), provider)
                .build()
                .with_context(|| format!("ssl.ca.location={path}"))?;
            let trusted: Arc<dyn ServerCertVerifier> =
                if names { trusted } else { Arc::new(Nameless(trusted)) };
            builder.dangerous().with_custom_certificate_verifier(trusted)
        }
        None => {
            ensure!(
                names,
                "ssl.endpoint.identification.algorithm=none: ssl.ca.location is to say whom to trust"
            );
            builder.with_platform_verifier().context("the authorities that this system trusts")?
        }
    };
    let config = match (properties.get("ssl.certificate.location"), properties.get("ssl.key.location")) {
        (None, None) => builder.with_no_client_auth(),
        (Some(chain), Some(key)) => {
            let shown = format!("ssl.certificate.location={chain}, ssl.key.location={key}");
            let key = PrivateKeyDer::from_pem_file(key).with_context(|| {
                format!("ssl.key.location={key}: a PEM file without a password is wanted")
            })?;
            builder
                .with_client_auth_cert(certificates("ssl.certificate.location", chain)?, key)
                .context(shown)?
        }
        _ => bail!("ssl.certificate.location and ssl.key.location go together"),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(property: &str, path: &str) -> Result<Vec<CertificateDer<'static>>> {
    pem::certificates(&format!("{property}={path}"), Path::new(path))
}

fn roots(path: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ssl.ca.location", path)? {
        roots.add(certificate).with_context(|| format!("ssl.ca.location={path}"))?;
    }
    Ok(roots)
}

/// The name by which a broker is to be known.
///
/// # Errors
/// If it can't be one.
pub(super) fn server_name(address: &str) -> Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned()).with_context(|| format!("{host:?} is not the name of a host"))
}

/// Trusts whom the authorities have signed, whatever its name.
#[derive(Debug)]
struct Nameless(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Nameless {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Names are looked at last: all else is right where only the name is not.
        match self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
