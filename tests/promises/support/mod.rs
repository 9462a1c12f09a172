//! What the tests stand on.

pub mod broker;
pub mod committed;
pub mod family;
pub mod feeds;
#[cfg(feature = "http")]
pub mod http;
pub mod kafka;
mod keeper;
pub mod killed;
pub mod kills;
pub mod link;
pub mod load;
#[cfg(feature = "http")]
pub mod metrics;
pub mod ports;
pub mod program;
#[cfg(feature = "http")]
pub mod prometheus;
pub mod registry;
pub mod rows;
#[cfg(feature = "s3")]
pub mod s3;
pub mod server;
pub mod sinks;
pub mod text;
pub mod transfers;
pub mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long anything may take that should happen at once, on however busy a machine. Only a failing test waits that
/// long.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// A name that no other test uses, and that tells which test it is of.
pub fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test").replace("::", ".");
    format!("{test}-{count}")
}

/// The number that a variable of the environment has, where it is set.
pub fn env_number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}
