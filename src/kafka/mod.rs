//! Kafka's clients, as feed, sink, `produce` and the demo share them: settings and logs, topics and which they are,
//! deliveries.

pub mod access;
pub mod client;
pub mod credentials;
pub mod deliveries;
pub(crate) mod first;
pub mod identity;
pub mod limits;
pub(crate) mod mark;
pub(crate) mod native;
pub mod retry;
mod tls;
pub mod topics;
