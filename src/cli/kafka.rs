//! The options of every subcommand that reaches a cluster.

use std::time::Duration;

use anyhow::Result;

use crate::address;
use crate::kafka::client::{Fetch, Settings};
use crate::usage::usage;

/// The longest duration an option takes: clocks can't count to the end of all that can be written.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads a duration: a number with a unit, up to a year.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = cutwater_dataflows::duration::read(text)?;
    if duration > LONGEST {
        return Err("it is longer than a year".to_owned());
    }
    Ok(duration)
}

/// The properties of librdkafka that name brokers.
const SERVERS: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];

/// How to reach a cluster.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
pub(super) struct KafkaArgs {
    /// Bootstrap servers
    #[arg(short, long, env = "CUTWATER_BROKERS", hide_env_values = true, value_name = "HOST:PORT,...")]
    pub brokers: Option<String>,
    /// Any librdkafka property, for consumer and producer; repeatable
    #[arg(short = 'X', long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// As --set, with a file that has the value, a password say; read again on SIGHUP; repeatable
    #[arg(long, value_name = "KEY=FILE")]
    pub set_file: Vec<String>,
    /// How long to wait for the first answer of a broker, for the other processes, and for a registry of schemas
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub connect_timeout: Duration,
}

impl KafkaArgs {
    /// How to reach the cluster that the options name.
    ///
    /// # Errors
    /// A usage error if they name none, or a property is no `KEY=VALUE` or one that librdkafka does not take.
    pub(super) fn settings(&self) -> Result<Settings> {
        let Some(brokers) = self.brokers.clone().filter(|brokers| !brokers.is_empty()) else {
            return Err(usage(
                "which cluster? Name its brokers with --brokers HOST:PORT or CUTWATER_BROKERS",
            ));
        };
        let properties = self
            .set
            .iter()
            .map(|property| match property.split_once('=') {
                Some(("group.id", "")) => Err(usage("--set group.id=: the group's name is empty")),
                Some((key, value)) if !key.is_empty() => {
                    if SERVERS.contains(&key) {
                        address::check_brokers(value)
                            .map_err(|error| usage(format!("--set {property}: {error}")))?;
                    }
                    Ok((key.to_owned(), value.to_owned()))
                }
                _ => Err(usage(format!("--set {property}: expected KEY=VALUE"))),
            })
            .collect::<Result<_>>()?;
        address::check_brokers(&brokers).map_err(|error| usage(format!("--brokers {brokers}: {error}")))?;
        let file = |typed: &String| match typed.split_once('=') {
            Some((key, path)) if !key.is_empty() && !path.is_empty() => Ok((key.to_owned(), path.into())),
            _ => Err(usage(format!("--set-file {typed}: expected KEY=FILE"))),
        };
        let files = self.set_file.iter().map(file).collect::<Result<_>>()?;
        let settings = Settings {
            brokers,
            properties,
            files,
            connect_timeout: self.connect_timeout,
            fetch: Fetch::default(),
        };
        settings.check().map_err(|error| usage(format!("{error:#}")))?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_an_end() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        for wrong in ["", "10", "2years", "580000000000y"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
