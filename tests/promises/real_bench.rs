//! `cutwater bench` on a real broker leaves nothing behind.

use nix::sys::signal::Signal;

use crate::support::broker::Broker;
use crate::support::kafka::Kafka;
use crate::support::program::cutwater;

#[test]
fn its_topics_are_deleted_at_the_end_and_when_it_is_stopped() {
    // One of its own: others bench as well.
    let broker = Broker::start();
    let kafka = Kafka::at(&broker.address);
    let args =
        ["bench", "--brokers", &broker.address, "--records", "5000", "--rates", "500", "--seconds", "1"];
    let left = || kafka.topics().into_iter().filter(|topic| topic.starts_with("cutwater-bench")).count();

    let ended = cutwater(args).args(["--rounds", "1"]).run().expect(0);
    assert!(ended.stdout.iter().any(|line| line.contains("a real broker")), "{:?}", ended.stdout);
    assert_eq!(left(), 0, "topics are left");

    let running = cutwater(args).args(["--rounds", "1000"]).start();
    running.wait_stderr("records written");
    assert!(left() > 0, "a topic is there while it runs");
    running.signal(Signal::SIGTERM);
    running.wait().expect(0);
    assert_eq!(left(), 0, "topics are left");
}
