//! `HOST:PORT`, as typed: checked before anything connects, since what comes after takes a port of more than 65535 as
//! another one.

use std::net::{Ipv6Addr, ToSocketAddrs as _};

/// The port on which Kafka listens where nothing else is said.
#[cfg(feature = "direct")]
const KAFKA: &str = "9092";

/// Checks `HOST:PORT`; an IPv6 address stands in brackets.
///
/// # Errors
/// In words, with what was typed, if it is not one.
pub fn check(text: &str) -> Result<(), String> {
    let (host, port) = split(text)?;
    let Some(port) = port else { return Err(format!("{text:?} has no port: expected HOST:PORT")) };
    check_host(text, host)?;
    check_port(text, port)
}

/// True iff `HOST:PORT` can be reached from this machine alone. A name that has no address is of another one.
pub fn is_loopback(text: &str) -> bool {
    let Ok(addresses) = text.to_socket_addrs() else { return false };
    let mut addresses = addresses.peekable();
    addresses.peek().is_some() && addresses.all(|address| address.ip().to_canonical().is_loopback())
}

/// Checks bootstrap servers: `HOST[:PORT],...`, each with or without `PROTOCOL://` before it, as librdkafka takes them.
///
/// # Errors
/// In words, with the one that is wrong.
pub fn check_brokers(text: &str) -> Result<(), String> {
    let mut some = false;
    for broker in brokers(text) {
        some = true;
        check_authority(broker)?;
    }
    if some { Ok(()) } else { Err(format!("{text:?} names no broker: expected HOST:PORT,...")) }
}

/// The `HOST[:PORT]` of each of these bootstrap servers.
fn brokers(text: &str) -> impl Iterator<Item = &str> {
    let named = text.split(',').map(str::trim).filter(|broker| !broker.is_empty());
    named.map(|broker| broker.split_once("://").map_or(broker, |(_, address)| address))
}

/// The `HOST:PORT` of each of these bootstrap servers, which were checked: Kafka's port where none is named.
#[cfg(feature = "direct")]
pub(crate) fn of_brokers(text: &str) -> Vec<String> {
    let whole = |(host, port): (&str, Option<&str>)| joined(host, port.unwrap_or(KAFKA));
    brokers(text).filter_map(|broker| split(broker).ok()).map(whole).collect()
}

/// `HOST:PORT`, with an IPv6 address in brackets.
#[cfg(feature = "direct")]
pub(crate) fn joined(host: &str, port: impl std::fmt::Display) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Checks the `HOST[:PORT]` of a URL.
///
/// # Errors
/// In words, if it is not one.
pub fn check_authority(text: &str) -> Result<(), String> {
    let (host, port) = split(text)?;
    check_host(text, host)?;
    port.map_or(Ok(()), |port| check_port(text, port))
}

/// The host, and the port if there is one.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    // Before its parts are told apart: what comes before the sign may be secret, and is known as such only with it.
    if text.contains('@') {
        return Err(format!("{text:?}: a host's name has no '@'"));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| format!("{text:?} has [ without ]"))?;
        host.parse::<Ipv6Addr>().map_err(|_| format!("{text:?}: {host:?} is not an IPv6 address"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("{text:?}: expected a colon and the port after ]")),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') && text.parse::<Ipv6Addr>().is_ok() => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => Err(format!(
            "{text:?} has more than one colon: expected HOST:PORT, with an IPv6 address in brackets"
        )),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn check_host(text: &str, host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err(format!("{text:?} names no host: expected HOST:PORT"));
    }
    match host.chars().find(|&c| c.is_whitespace() || c.is_control() || "/@?#\"'".contains(c)) {
        Some(c) => Err(format!("{text:?}: a host's name has no {c:?}")),
        None => Ok(()),
    }
}

fn check_port(text: &str, port: &str) -> Result<(), String> {
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => Ok(()),
        _ => Err(format!("{text:?}: the port {port:?} is not a number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_ports() {
        for right in ["host:1", "host:65535", "10.0.0.1:9092", "[::1]:9092", "a-b.c_d:80"] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "host",
            "host:",
            ":9092",
            "host:0",
            "host:65536",
            "host:99999",
            "host:+1",
            "host:-1",
            "host:http",
            "::1",
            "::1:99999",
            "a:1:2",
            "[::1]",
            "[::1",
            "[::1]9092",
            "[x]:1",
            "http://host:1",
            "ho st:1",
            "a@b:1",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            check("h:99999").unwrap_err(),
            "\"h:99999\": the port \"99999\" is not a number from 1 to 65535"
        );
    }

    #[test]
    fn brokers_are_a_list() {
        for right in ["a", "a:1", "a:1,b:2", "a:1, b:2,", "SASL_SSL://a:1", "::1", "[::1]", "[::1]:9092"] {
            assert_eq!(check_brokers(right), Ok(()), "{right}");
        }
        for wrong in ["", ",", "a:1,b:99999", "a:1,:2", "PLAINTEXT://a:0", "a:b", "PLAINTEXT://"] {
            assert!(check_brokers(wrong).is_err(), "{wrong}");
        }
    }
    #[cfg(feature = "direct")]
    #[test]
    fn addresses_have_ports() {
        for (named, address) in [
            ("a", "a:9092"),
            ("a:1", "a:1"),
            ("[::1]", "[::1]:9092"),
            ("[::1]:2", "[::1]:2"),
            ("SSL://a:3", "a:3"),
            ("::1", "[::1]:9092"),
        ] {
            assert_eq!(of_brokers(named), [address]);
        }
        assert_eq!(of_brokers("a:1, b,"), ["a:1", "b:9092"]);
    }
}
