//! Who may ask: this machine alone, those who know a token, or everybody.

use std::net::{SocketAddr, ToSocketAddrs as _};

/// The addresses that ADDR names.
///
/// # Errors
/// In words, if it names none.
pub fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let named: Vec<SocketAddr> = match text.to_socket_addrs() {
        Ok(named) => named.collect(),
        Err(error) => {
            return Err(match text.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    format!("{text:?}: looking up {host:?}: {error}")
                }
                _ => format!(
                    "{text:?}: expected HOST:PORT, as 127.0.0.1:8080; port 0 has the system choose one"
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
}
