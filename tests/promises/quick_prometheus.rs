//! A real Prometheus, with the rules and the dashboard of `config/`.

use serde_json::Value;

use crate::support::broker::mock;
use crate::support::http::Http;
use crate::support::kafka::Topic;
use crate::support::metrics::until;
use crate::support::program::{Program, Running, word_count};
use crate::support::prometheus::{Prometheus, config, promtool};

/// Counts the words of a topic, and answers.
fn counting(topic: &Topic, more: &[&str]) -> Program {
    word_count(&topic.address, &topic.name).with("--http 127.0.0.1:0 -e 1ms").args(more)
}

/// Where a run answers: `HOST:PORT`.
fn address(run: &Running) -> String {
    Http::of(run).url.trim_start_matches("http://").to_owned()
}

/// All expressions of the dashboard.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&config("grafana.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let typed = targets.map(|target| target["expr"].as_str().expect("an expression").to_owned());
    // What Grafana puts in.
    typed
        .map(|expr| expr.replace("$__rate_interval", "10s").replace("$job", ".*").replace("$instance", ".*"))
        .collect()
}

#[test]
fn every_query_of_the_dashboard_is_answered_and_the_metrics_are_clean() {
    let topic = mock().topic(2);
    topic.send(["a b", "b c"]);
    topic.send_to(0, None);
    let out = mock().topic(1);
    let folder = tempfile::tempdir().unwrap();
    let to = format!("kafka:{}", out.name);
    let state = folder.path().to_str().unwrap();
    let run = counting(&topic, &["-o", &to, "--state", state, "--checkpoint", "1ms", "-w", "2"]).start();
    let address = address(&run);
    let http = Http::at(&format!("http://{address}"));
    until(&http, |metrics| metrics.count("cutwater_worker_busy_seconds_total") == 2);
    promtool(&["check", "metrics"], &http.get("/metrics").body);

    let prometheus = Prometheus::scraping(&[&address]);
    let expressions = expressions();
    assert!(expressions.len() > 40, "{expressions:?}");
    let mut unanswered = expressions;
    // This one is empty while all is well.
    unanswered.retain(|expr| !expr.contains("silence_seconds"));
    let writer = topic.writer();
    prometheus.until("every query is answered", || {
        writer.send(0, Some(b"more words"));
        writer.flush();
        unanswered.retain(|expr| prometheus.query(expr).is_empty());
        unanswered.is_empty() || {
            run.has_said("panicked").then(|| run.fail("it panicked"));
            false
        }
    });
}

#[test]
fn alerts_fire_when_a_producer_floods_or_stops_and_when_a_run_is_gone() {
    // One whose sink takes nothing, and one that is well until somebody sends what can't be read, and then nothing.
    let (flooded, quiet) = (mock().topic(2), mock().topic(1));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("webhook:http://{}", silent.local_addr().unwrap());
    flooded.send(["a", "b"]);
    quiet.send(["a", "b"]);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let held_up = counting(&flooded, &["-o", &url]).start();
    let well = counting(&quiet, &["-o", "none", "--state", state, "--checkpoint", "1h"]).start();
    let (flooded_at, quiet_at) = (address(&held_up), address(&well));
    let prometheus = Prometheus::scraping(&[&flooded_at, &quiet_at]);
    let scraped = format!("cutwater_records_total{{instance=\"{quiet_at}\"}} == 2");
    prometheus.until("it is scraped", || !prometheus.query(&scraped).is_empty());
    assert!(!prometheus.fires("CutwaterDeadLetters", &quiet_at));
    quiet.send_to(0, Some(b"\xff"));
    prometheus.until("dead letters fire", || prometheus.fires("CutwaterDeadLetters", &quiet_at));

    let lines = vec!["more and more"; 4000];
    prometheus.until("growing lag and the stall fire", || {
        flooded.send(&lines);
        prometheus.fires("CutwaterLagGrows", &flooded_at) && prometheus.fires("CutwaterStalled", &flooded_at)
    });
    prometheus.until("old checkpoints fire", || prometheus.fires("CutwaterCheckpointOld", &quiet_at));
    prometheus.until("the stopped producer fires", || prometheus.fires("CutwaterNoRecords", &quiet_at));
    for alert in ["CutwaterLagGrows", "CutwaterStalled", "CutwaterGone"] {
        assert!(!prometheus.fires(alert, &quiet_at), "{alert}: {:?}", prometheus.alerts());
    }
    drop(well);
    prometheus.until("the run that is gone fires", || prometheus.fires("CutwaterGone", &quiet_at));
}
