//! Kafka's clients, as feed, sink, `produce` and the demo share them: settings and logs, topics, deliveries.

pub mod client;
pub mod deliveries;
pub mod topics;
