//! A look at the certificate of a broker, where librdkafka says no more than that it is not trusted.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// `HOST:PORT` in what librdkafka says: `ssl://HOST:PORT/bootstrap: …`.
fn address(said: &str) -> Option<(&str, u16)> {
    let rest = said.split_once("://").map_or(said, |(_, rest)| rest);
    let (address, _) = rest.split_once('/')?;
    let (host, port) = address.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()?))
}

/// What is wrong with the certificate of the broker that librdkafka speaks of.
pub(super) fn look(said: &str, authority: Option<&str>) -> String {
    let named = match authority {
        Some(path) => format!("none of the authorities in {path} (ssl.ca.location) has signed it"),
        None => "no authority that this system trusts has signed it; -X ssl.ca.location=FILE names another"
            .to_owned(),
    };
    match handshake(said, authority) {
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "it has expired; the broker needs a new one".to_owned(),
        Some(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => "it is not valid yet; are the clocks right?".to_owned(),
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "it is of another host than the one that was named".to_owned(),
        _ => named,
    }
}

/// True iff the broker that librdkafka speaks of answers to TLS.
pub(super) fn speaks_tls(said: &str) -> bool {
    // An answer that is not TLS is an invalid message.
    !matches!(handshake(said, None), None | Some(Error::InvalidMessage(_) | Error::General(_)))
}

/// The error of a TLS handshake that trusts this authority; `None` where there is none, or nobody answers.
fn handshake(said: &str, authority: Option<&str>) -> Option<Error> {
    let (host, port) = address(said)?;
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(Path::new(authority.unwrap_or("/dev/null")));
    for certificate in found.into_iter().flatten().flatten() {
        roots.add(certificate).ok()?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let address = (host, port).to_socket_addrs().ok()?.next()?;
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.set_write_timeout(Some(PATIENCE)).ok()?;
    let error = connection.complete_io(&mut socket).err()?;
    error.into_inner()?.downcast::<Error>().ok().map(|error| *error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_what_librdkafka_says() {
        assert_eq!(
            address("ssl://127.0.0.1:9093/bootstrap: SSL handshake failed"),
            Some(("127.0.0.1", 9093))
        );
        assert_eq!(address("sasl_ssl://[::1]:9/2: no"), Some(("::1", 9)));
        assert_eq!(address("host:9092/1: Disconnected"), Some(("host", 9092)));
        assert_eq!(address("3/3 brokers are down"), None);
    }
}
