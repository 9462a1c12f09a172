//! Figures beside those of [`status`](crate::status): what is measured for those who watch a run.
//!
//! # Layout
//! - [`buckets`]: histograms with fixed bounds; [`stopwatch`]: how long something has taken, while it still does
//! - [`operators`]: what each operator has done on each worker, from timely's and differential's logs
//! - [`transactions`]: how long those of Kafka sinks took
//! - [`history`]: a point a second, of the last ten minutes
//! - [`messages`]: the last warnings and errors
//! - [`prometheus`]: all of it in Prometheus' text

pub mod buckets;
pub mod history;
pub mod messages;
pub mod operators;
pub mod prometheus;
pub mod stopwatch;
pub mod transactions;
