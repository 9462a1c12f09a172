//! What Cutwater promises, tested from outside: the built program, its rows, its exit codes.
//!
//! Modules named `quick_` need nothing but this binary: they use librdkafka's in-process broker, or none. Those
//! named `real_` use a real Kafka, which they start themselves with `scripts/kafka` and which ends with this
//! process. `scripts/test` runs both.
#![expect(unreachable_pub, reason = "nothing of a test binary is reachable from outside")]

mod quick_alarms;
mod quick_avro;
#[cfg(feature = "bench")]
mod quick_bench;
mod quick_check;
mod quick_cleanse;
mod quick_completions;
mod quick_counts;
mod quick_damage;
mod quick_delivery;
mod quick_emit;
mod quick_feeds;
#[cfg(feature = "http")]
mod quick_figures;
mod quick_formats;
mod quick_generate;
mod quick_identity;
mod quick_input;
mod quick_kills;
mod quick_lag;
mod quick_ledger;
mod quick_links;
#[cfg(feature = "live")]
mod quick_live;
mod quick_logs;
mod quick_own;
#[cfg(feature = "http")]
mod quick_page;
mod quick_processes;
#[cfg(feature = "http")]
mod quick_prometheus;
mod quick_reinject;
mod quick_restart;
mod quick_sinks;
mod quick_state;
mod quick_stopping;
mod quick_streams;
mod quick_test;
mod quick_transactions;
mod quick_unreachable;
mod quick_usage;
#[cfg(feature = "http")]
mod quick_views;
mod quick_webhook;
mod real_avro;
mod real_balances;
#[cfg(feature = "bench")]
mod real_bench;
mod real_counts;
mod real_cuts;
mod real_damage;
mod real_dataflows;
mod real_feeds;
mod real_fetch;
mod real_formats;
mod real_hosts;
mod real_identity;
mod real_input;
mod real_kills;
mod real_offsets;
mod real_outages;
mod real_produce;
mod real_recreated;
mod real_reinject;
#[cfg(feature = "s3")]
mod real_s3;
mod real_security;
mod real_sinks;
mod real_stopping;
mod real_topics;
mod real_transactions;
mod real_waits;
mod support;
