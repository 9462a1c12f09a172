//! An in-process broker as a process: for trying things by hand, and for tests that are not in Rust.
//!
//! `broker TOPIC:PARTITIONS...` prints its address, and ends when its standard input does.

#![expect(clippy::print_stdout, reason = "the address is for whoever started it")]

use std::io::Read as _;

use anyhow::{Context as _, Result};
use rdkafka::mocking::MockCluster;

fn main() -> Result<()> {
    let broker = MockCluster::new(1).context("starting the in-process broker")?;
    for topic in std::env::args().skip(1) {
        let (name, partitions) = topic.rsplit_once(':').context("expected TOPIC:PARTITIONS")?;
        let partitions = partitions.parse().with_context(|| format!("{topic}: how many partitions?"))?;
        broker.create_topic(name, partitions, 1).with_context(|| format!("making the topic {name}"))?;
    }
    println!("{}", broker.bootstrap_servers());
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).context("reading standard input")?;
    Ok(())
}
