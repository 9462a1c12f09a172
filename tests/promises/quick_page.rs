//! What the page asks for that no other test does: its parts, dead letters, and the state.

use std::time::Instant;

use serde_json::Value;

use crate::support::DEADLINE;
use crate::support::broker::mock;
use crate::support::program::{Running, word_count};

/// A run that answers, and where.
struct Asked {
    running: Running,
    address: String,
}

impl Asked {
    fn start(topic: &crate::support::kafka::Topic, args: &str) -> Asked {
        let run = word_count(&topic.address, &topic.name).with("-o none --http 127.0.0.1:0").with(args);
        let running = run.start();
        let line = running.wait_stderr("listening on ");
        let address =
            line.split_whitespace().find(|word| word.starts_with("http://")).expect("where").to_owned();
        Asked { running, address }
    }

    fn get(&self, path: &str) -> (u16, ureq::http::HeaderMap, String) {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE));
        let agent: ureq::Agent = config.build().into();
        let mut response = match agent.get(format!("{}{path}", self.address)).call() {
            Ok(response) => response,
            Err(error) => self.running.fail(&format!("GET {path}: {error}")),
        };
        let text = response.body_mut().read_to_string().expect("text");
        (response.status().as_u16(), response.headers().clone(), text)
    }

    fn json(&self, path: &str) -> Value {
        let (status, _, text) = self.get(path);
        assert_eq!(status, 200, "GET {path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The first answer that `holds`.
    fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.json(path);
            if holds(&answer) {
                return answer;
            }
            if Instant::now() > deadline {
                self.running.fail(&format!("GET {path}: the last answer was {answer}"));
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn the_page_is_served_and_may_ask_this_server_alone() {
    let asked = Asked::start(&mock().topic(1), "");
    let (status, headers, text) = asked.get("/");
    assert_eq!(status, 200);
    assert!(text.starts_with("<!doctype html>"), "{text}");
    let policy = headers["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    let (status, headers, _) = asked.get("/page/main.js");
    assert_eq!(
        (status, headers["content-type"].to_str().ok()),
        (200, Some("text/javascript; charset=utf-8"))
    );
    assert_eq!(asked.get("/page/other.js").0, 404);
}

#[test]
fn dead_letters_are_answered_with_their_bytes_and_reason_the_newest_first() {
    let topic = mock().topic(1);
    let asked = Asked::start(&topic, "");
    topic.send_to(0, Some(b"\xff\x00a"));
    topic.send_to(0, None);
    let answer = asked.until("/v1/dead-letters", |answer| answer["total"] == 2);
    let [newest, first] = answer["dead_letters"].as_array().expect("a list").as_slice() else {
        asked.running.fail(&format!("not two: {answer}"))
    };
    assert_eq!((&first["bytes"], &newest["bytes"]), (&Value::from("/wBh"), &Value::Null));
    assert_eq!((&first["offset"], &newest["offset"]), (&Value::from(0), &Value::from(1)));
    assert_eq!(
        (&first["input"], &first["topic"]),
        (&Value::from("lines"), &Value::from(topic.name.as_str()))
    );
    assert_eq!(first["truncated"], false);
    let counted: u64 =
        answer["by_reason"].as_array().into_iter().flatten().filter_map(|of| of["count"].as_u64()).sum();
    assert_eq!(counted, 2, "{answer}");
    assert_eq!(asked.json("/v1/dead-letters?limit=1")["dead_letters"].as_array().map(Vec::len), Some(1));
    for wrong in ["limit=0", "limit=1001", "limits=1"] {
        assert_eq!(asked.get(&format!("/v1/dead-letters?{wrong}")).0, 400, "{wrong}");
    }
}

#[test]
fn a_state_is_answered_with_its_checkpoints_its_ledger_and_its_cut() {
    let topic = mock().topic(1);
    assert_eq!(Asked::start(&topic, "").json("/v1/state"), serde_json::json!({ "state": null }));

    let dir = tempfile::tempdir().expect("a folder");
    let place = dir.path().to_str().expect("text");
    let args = format!("--state {place} --checkpoint 10ms --epoch 10ms");
    topic.send(["a b"]);
    let asked = Asked::start(&topic, &args);
    let answer = asked.until("/v1/state", |answer| !answer["state"]["checkpoints"][0].is_null());
    let state = &answer["state"];
    assert_eq!(state["place"], place);
    assert_eq!(state["cut"][&topic.name]["0"], 1);
    assert_eq!(state["ledger"]["first"], 1);
    let newest = &state["checkpoints"][0];
    assert_eq!(
        (&newest["rows"], &newest["collections"]["words"]["rows"]),
        (&Value::from(2), &Value::from(2))
    );
    assert!(newest["bytes"].as_u64() > Some(0) && newest["at"].as_str().is_some_and(|at| at.ends_with('Z')));
    drop(asked);

    // What another run has left is known to the next before it has written anything.
    let asked = Asked::start(&topic, &format!("--state {place}"));
    let answer = asked.until("/v1/state", |answer| !answer["state"]["ledger"].is_null());
    assert_eq!(answer["state"]["cut"][&topic.name]["0"], 1, "{answer}");
    assert!(answer["state"]["checkpoints"].as_array().is_some_and(|all| !all.is_empty()), "{answer}");
}
