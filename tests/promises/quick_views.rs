//! Views over HTTP: what is asked while records flow, by whom, and at which epoch.

use nix::sys::signal::Signal;

use crate::support::broker::mock;
use crate::support::http::Http;
use crate::support::kafka::Topic;
use crate::support::program::{Program, word_count};

/// Counts the words of a topic, and answers.
fn counting(topic: &Topic, more: &[&str]) -> Program {
    word_count(&topic.address, &topic.name).with("--http 127.0.0.1:0 -o none -e 1ms").args(more)
}

#[test]
fn a_run_says_where_it_listens_and_what_can_be_asked() {
    let topic = mock().topic(1);
    let run = counting(&topic, &[]).start();
    let http = Http::of(&run);
    let described = http.json("/v1/openapi.json");
    assert_eq!(described["openapi"], "3.1.0");
    http.get("/v1/output").fails(404, &["\"/v1/output\"", "/v1/openapi.json"]);
    // A second run can't have the same port.
    let taken = http.url.strip_prefix("http://").expect("no TLS");
    let second = word_count(&topic.address, &topic.name).args(["--http", taken]);
    second.run().fails(1, &[&format!("--http {taken}"), "in use"]);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn others_than_this_machine_can_not_ask_unless_told() {
    let topic = mock().topic(1);
    word_count(&topic.address, &topic.name).with("--http 0.0.0.0:0").run().fails(2, &["--http 0.0.0.0:0"]);
    word_count(&topic.address, &topic.name).with("--http 8080").run().fails(2, &["HOST:PORT"]);
}
