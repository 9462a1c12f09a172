//! `event-monitor` from the command line: a file of rules, and calls that come once for their cause, across a crash.

use std::collections::BTreeSet;
use std::path::Path;

use nix::sys::signal::Signal;
use rdkafka::message::Message as _;
use serde_json::Value;

use crate::support::broker::mock;
use crate::support::committed;
use crate::support::kafka::Topic;
use crate::support::program::{Program, cutwater};
use crate::support::server::{Post, Server};

const RULES: &str = r#"
    [[rule]]
    name = "bad"
    kind = "bad|worse"
    window = "10s"
    raise-above = 2
    clear-below = 2
"#;

fn event(second: u64, source: &str, kind: &str) -> String {
    format!(r#"{{"source":"{source}","kind":"{kind}","at":{}}}"#, second * 1000)
}

/// An epoch a record, posted to the server.
fn monitor(folder: &Path, topic: &Topic, server: &Server) -> Program {
    let rules = folder.join("rules.toml");
    std::fs::write(&rules, RULES).expect("the rules are written");
    cutwater([
        "run",
        "event-monitor",
        "-b",
        &topic.address,
        "-t",
        &topic.name,
        "-e",
        "1ms",
        "--max-records",
        "1",
    ])
    .args(["--rules".as_ref(), rules.as_os_str()])
    .args(["--state".as_ref(), folder.join("state").as_os_str()])
    .args(["-o", &format!("webhook:http://{}/alarms", server.address)])
}

/// The rows of a POST, each with its difference.
fn rows(post: &Post) -> Vec<(i64, Value)> {
    let row = |line| {
        let change: Value = serde_json::from_str(line).expect("a change");
        (change["diff"].as_i64().expect("a difference"), change["row"].clone())
    };
    post.body.lines().map(row).collect()
}

/// The first and the last offset that a POST names of the topic's only partition.
fn offsets(post: &Post, topic: &Topic) -> (u64, u64) {
    let header = &post.headers["cutwater-offsets"];
    let range = header.strip_prefix(&format!("events={} 0: ", topic.name)).expect("the topic's partition");
    let (first, next) = range.split_once('-').expect("a range");
    (first.parse().expect("an offset"), next.parse::<u64>().expect("an offset") - 1)
}

#[test]
fn a_raise_and_a_clear_are_called_once_for_their_cause_across_a_crash() {
    let topic = mock().topic(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    topic.send([event(1, "a", "bad"), event(2, "a", "worse"), event(3, "a", "bad")]);
    // Nobody takes the call, and the run is killed while it tries.
    let deaf = Server::start(vec![Some("503 Service Unavailable\r\nContent-Length: 0"); 100]);
    let run = monitor(folder.path(), &topic, &deaf).start();
    run.wait_stderr("trying again");
    run.signal(Signal::SIGKILL);
    drop(run);
    let tried = deaf.posts().remove(0);

    topic.send([event(4, "b", "bad"), event(5, "a", "bad"), event(14, "b", "fine")]);
    let server = Server::start(Vec::new());
    monitor(folder.path(), &topic, &server).with("--until-end -w 2").run().expect(0);
    let posts = server.posts();
    let row = |count: u64| {
        serde_json::json!({
            "rule": "bad", "source": "a", "raised": true, "since": "1970-01-01T00:00:03Z", "count": count
        })
    };
    let called: Vec<_> = posts.iter().map(rows).collect();
    assert_eq!(called, [vec![(1, row(3))], vec![(-1, row(3)), (1, row(4))], vec![(-1, row(4))]]);
    // The record that was one too many, the one more, and the one that moved the watermark.
    let causes: Vec<_> = posts.iter().map(|post| offsets(post, &topic)).collect();
    assert_eq!(causes, [(2, 2), (4, 4), (5, 5)]);
    // What was tried before the crash is the same call.
    let without_host = |post: &Post| {
        let mut post = post.clone();
        post.headers.remove("host");
        post
    };
    assert_eq!(without_host(&tried), without_host(&posts[0]));
    let keys: BTreeSet<&String> = posts.iter().map(|post| &post.headers["idempotency-key"]).collect();
    assert_eq!(keys.len(), 3, "{keys:?}");

    // Whatever comes again has the same keys.
    monitor(folder.path(), &topic, &server).with("--until-end").run().expect(0);
    assert!(server.posts().iter().all(|post| posts.contains(post)), "{:#?}", server.posts());
}

#[test]
fn a_record_of_an_alarm_says_the_offsets_that_caused_it() {
    let (topic, alarms) = (mock().topic(1), mock().topic(1));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules.toml");
    std::fs::write(&rules, RULES).expect("the rules are written");
    let monitor = || {
        let run = cutwater(["run", "event-monitor", "-b", &topic.address, "-t", &topic.name]);
        let run = run.with("-e 1ms --max-records 1 --until-end --emit changes");
        let run = run.args(["--rules".as_ref(), rules.as_os_str()]);
        run.args(["--state".as_ref(), folder.path().join("state").as_os_str()])
            .args(["-o", &format!("kafka:{}", alarms.name)])
    };
    let seen = || {
        let mut seen = Vec::new();
        committed::each(&alarms, "read_committed", |message| {
            let value: Value = serde_json::from_slice(message.payload().expect("a change")).expect("JSON");
            let offsets = committed::header(message, "offsets").expect("a header offsets");
            seen.push((value["diff"].as_i64().expect("a difference"), offsets.to_owned()));
        });
        seen
    };
    let caused = |diff: i64, range: &str| (diff, format!("events={} 0: {range}", topic.name));

    topic.send([event(1, "a", "bad"), event(2, "a", "worse"), event(3, "a", "bad")]);
    monitor().run().expect(0);
    assert_eq!(seen(), [caused(1, "2-3")]);
    // A run that resumes knows where the one before has come to.
    topic.send([event(14, "b", "fine")]);
    monitor().run().expect(0);
    assert_eq!(seen(), [caused(1, "2-3"), caused(-1, "3-4")]);
}

#[test]
fn mistakes_of_rules_are_wrong_usage() {
    let topic = mock().topic(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rules.toml");
    std::fs::write(&path, RULES.replace("raise-above", "raise_above")).expect("the rules are written");
    let said = format!(
        "{}: [[rule]] 1: there is no key \"raise_above\"; did you mean \"raise-above\"?",
        path.display()
    );
    let run = cutwater(["run", "event-monitor", "-b", &topic.address, "-t", &topic.name]);
    run.args(["--rules".as_ref(), path.as_os_str()]).run().fails(2, &["--rules", &said]);
    let run = cutwater(["run", "event-monitor", "-b", &topic.address, "-t", &topic.name]);
    run.run().expect(2).says(&["--rules <FILE>"]);
}
