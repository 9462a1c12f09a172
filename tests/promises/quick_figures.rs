//! Figures over HTTP: they are those of the run, whatever its size and whatever holds it up.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::DEADLINE;
use crate::support::broker::mock;
use crate::support::http::Http;
use crate::support::kafka::Topic;
use crate::support::metrics::{Metrics, until};
use crate::support::program::{Program, cutwater, word_count};

/// Counts the words of a topic, and answers.
fn counting(topic: &Topic, more: &[&str]) -> Program {
    word_count(&topic.address, &topic.name).with("--http 127.0.0.1:0 -e 1ms").args(more)
}

/// So many lines of two words, of which no two are the same.
fn unlike(from: usize, lines: usize) -> Vec<String> {
    (from..from + lines).map(|line| format!("a{line} b{line}")).collect()
}

/// A web server that takes connections and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("webhook:http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

/// What the workers together have of an operator of that name.
fn of_operator(graph: &Value, name: &str, field: &str) -> u64 {
    let operators = graph["operators"].as_array().expect("operators");
    let named: Vec<&Value> = operators.iter().filter(|operator| operator["name"] == name).collect();
    let [operator] = named[..] else { panic!("there are {} of {name:?} in {graph}", named.len()) };
    operator["workers"].as_array().expect("workers").iter().map(|on| on[field].as_u64().expect(field)).sum()
}

#[test]
fn figures_are_those_of_what_was_read_and_of_the_closing_line() {
    let topic = mock().topic(3);
    topic.send(unlike(0, 100));
    let writer = topic.writer();
    for (partition, bad) in [(0, b"\xff" as &[u8]), (1, b"ab\xff"), (2, b"\xfe\xff")] {
        writer.send(partition, Some(bad));
    }
    writer.send(0, None);
    writer.flush();
    let run = counting(&topic, &["-o", "none", "-w", "2"]).start();
    let http = Http::of(&run);
    let status = http.until("/v1/status", |status| status["totals"]["records"] == 104);
    assert_eq!(status["phase"], "running");
    assert_eq!((&status["totals"]["rows"], &status["totals"]["dead_letters"]), (&200.into(), &4.into()));
    let offsets: u64 =
        status["partitions"].as_array().unwrap().iter().map(|one| one["offset"].as_u64().unwrap()).sum();
    assert_eq!(offsets, 104);
    let metrics = until(&http, |metrics| metrics.sum("cutwater_consumer_lag_records") == 0.0);
    for (name, value) in [
        ("cutwater_records_total", 104.0),
        ("cutwater_rows_total", 200.0),
        ("cutwater_dead_letters_total{reason=\"the value is not UTF-8 from byte N\"}", 3.0),
        ("cutwater_dead_letters_total{reason=\"the value is null, not a line of text\"}", 1.0),
        ("cutwater_dead_letters_total{reason=\"other\"}", 0.0),
        ("cutwater_phase{phase=\"running\"}", 1.0),
        ("cutwater_epoch_records_sum", 104.0),
        ("cutwater_workers", 2.0),
    ] {
        assert_eq!(metrics.value(name), value, "{name}");
    }
    let epochs = metrics.value("cutwater_epochs_total");
    assert_eq!(metrics.value("cutwater_epoch_records_count"), epochs);
    assert_eq!(metrics.value("cutwater_end_to_end_latency_seconds_count"), epochs);
    assert_eq!(metrics.value("cutwater_epoch_latency_seconds_bucket{le=\"+Inf\"}"), epochs);
    let bytes = metrics.value("cutwater_record_bytes_total");
    assert_eq!(status["totals"]["bytes"].as_f64(), Some(bytes));
    run.signal(Signal::SIGTERM);
    let ended = run.wait().expect(0);
    let line = ended.says(&["done: 104 records", "200 rows", "4 dead letters"]);
    let shown = if epochs == 1.0 { "1 epoch,".to_owned() } else { format!("{epochs} epochs,") };
    assert!(line.contains(&shown), "{shown} in {line}");
}

#[test]
fn the_lag_and_what_blocks_are_told_while_a_sink_stalls() {
    let topic = mock().topic(2);
    topic.send(["a", "b", "c"]);
    let (_silent, url) = silent();
    let run = counting(&topic, &["-o", &url, "--in-flight", "1", "--max-records", "2"]).start();
    let http = Http::of(&run);
    until(&http, |metrics| metrics.sum("cutwater_consumer_lag_records") == 3.0);
    topic.send(vec!["d"; 20]);
    let metrics = until(&http, |metrics| metrics.sum("cutwater_consumer_lag_records") == 23.0);
    assert_eq!(metrics.value("cutwater_records_total"), 0.0, "nothing is published");
    // The sink holds an epoch, and the next one is full: both go on.
    let blocked = |metrics: &Metrics, cause: &str| {
        metrics.value(&format!("cutwater_blocked_seconds_total{{cause=\"{cause}\"}}"))
    };
    let before = until(&http, |metrics| blocked(metrics, "sink") > 0.0 && blocked(metrics, "bounds") > 0.0);
    let grown = |metrics: &Metrics, cause: &str| blocked(metrics, cause) > blocked(&before, cause) + 0.1;
    let after = until(&http, |metrics| grown(metrics, "sink") && grown(metrics, "bounds"));
    assert!(blocked(&after, "ledger") < blocked(&after, "sink"));
    assert_eq!(http.json("/healthz")["phase"], "running");
}

#[test]
fn readiness_says_how_far_a_replay_is() {
    let topic = mock().topic(1);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let (_silent, url) = silent();
    let first = counting(&topic, &["-o", &url, "--state", state, "--max-records", "5", "--in-flight", "3"]);
    topic.send(unlike(0, 15));
    let run = first.start();
    let http = Http::of(&run);
    http.until("/readyz", |ready| ready["phase"] == "running");
    // Three epochs are in the ledger, and none has left.
    let noted = || {
        let ended = cutwater(["ledger", state]).run();
        ended.stdout.iter().filter(|line| line.contains("lines=")).count()
    };
    let deadline = Instant::now() + DEADLINE;
    while noted() < 3 {
        assert!(Instant::now() < deadline, "{} epochs are in the ledger", noted());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    run.signal(Signal::SIGKILL);
    run.wait();
    let run = counting(&topic, &["-o", &url, "--state", state]).start();
    let http = Http::of(&run);
    let status = http.until("/v1/status", |status| status["phase"] == "replaying");
    assert_eq!(status["replay"], serde_json::json!({"epochs": 0, "of": 3}));
    http.get("/readyz").fails(503, &["replaying: 0 of 3 epochs"]);
    assert_eq!(http.json("/healthz")["phase"], "replaying");
    assert_eq!(Metrics::of(&http).value("cutwater_replay_remaining_epochs"), 3.0);
    drop(run);
    // Where the sink takes them, it is ready, and what was read again is told apart.
    let run = counting(&topic, &["-o", "none", "--state", state]).start();
    let http = Http::of(&run);
    http.until("/readyz", |ready| ready["phase"] == "running");
    let metrics = Metrics::of(&http);
    assert_eq!(metrics.value("cutwater_reread_records_total"), 15.0);
    assert_eq!(metrics.value("cutwater_records_total"), 0.0);
}

#[test]
fn checkpoints_and_what_is_restored_are_told() {
    let topic = mock().topic(2);
    topic.send(unlike(0, 50));
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let with_state = |more: &[&str]| {
        counting(&topic, &["-o", "none", "--state", state, "--checkpoint", "1ms"]).args(more).start()
    };
    let run = with_state(&["-w", "2"]);
    let http = Http::of(&run);
    http.until("/v1/status", |status| status["totals"]["records"] == 50);
    topic.send(unlike(50, 1));
    http.until("/v1/status", |status| status["totals"]["records"] == 51);
    let metrics =
        until(&http, |metrics| metrics.get("cutwater_checkpoint_epoch").is_some_and(|epoch| epoch > 0.0));
    assert!(metrics.value("cutwater_checkpoint_size_bytes") > 0.0);
    assert!(metrics.value("cutwater_checkpoint_duration_seconds_count") >= 1.0);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
    let run = with_state(&["-w", "1"]);
    let http = Http::of(&run);
    let metrics =
        until(&http, |metrics| metrics.get("cutwater_restored_rows_total").is_some_and(|rows| rows > 0.0));
    assert_eq!(metrics.value("cutwater_restored_rows_total"), 102.0);
    assert_eq!(metrics.value("cutwater_checkpoint_age_seconds"), 0.0, "nothing was published since");
    assert!(metrics.value("cutwater_checkpoint_epoch") > 0.0, "it is that which was resumed from");
    // Nothing is replayed, and nothing comes.
    assert_eq!(metrics.value("cutwater_published_epoch"), metrics.value("cutwater_checkpoint_epoch"));
    let (status, outputs) = (http.json("/v1/status"), http.json("/v1/outputs"));
    assert_eq!(status["epoch"], outputs["epoch"]);
    let read: i64 = cut(&status).values().sum();
    assert_eq!(read, 51, "{status}");
}

/// The cut of the topic that a status tells.
fn cut(status: &Value) -> BTreeMap<String, i64> {
    let topics = status["cut"].as_object().expect("a cut");
    let partitions = topics.values().flat_map(|topic| topic.as_object().expect("partitions"));
    partitions.map(|(partition, next)| (partition.clone(), next.as_i64().expect("an offset"))).collect()
}

#[test]
fn what_comes_before_a_silence_is_checkpointed_without_more_to_come() {
    for size in ["-w 1", "-w 3", "-w 1 -n 2"] {
        let topic = mock().topic(2);
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().to_str().unwrap();
        let run =
            counting(&topic, &["-o", "none", "--state", state, "--checkpoint", "2s"]).with(size).start();
        let http = Http::of(&run);
        topic.send(["a b"]);
        // That is told last.
        let made = "cutwater_checkpoint_duration_seconds_count";
        let due = until(&http, |metrics| metrics.get(made).is_some_and(|made| made > 0.0));
        assert_eq!(due.value("cutwater_checkpoint_epoch"), due.value("cutwater_published_epoch"), "{size}");
        assert_eq!(due.value("cutwater_checkpoint_age_seconds"), 0.0, "{size}");
        assert_eq!(due.value(made), 1.0, "{size}");
        run.signal(Signal::SIGTERM);
        let ended = run.wait().expect(0);
        let made = ended.stderr.iter().filter(|line| line.contains("checkpoint of epoch")).count();
        assert_eq!(made, 1, "nothing has changed since: {:#?}", ended.stderr);
    }
}

#[test]
fn rows_of_operators_are_right_on_one_worker_and_on_several() {
    let topic = mock().topic(4);
    topic.send(unlike(0, 300));
    for size in [&["-w", "1"], &["-w", "3"]] {
        let run = counting(&topic, &["-o", "none"]).args(size).start();
        let http = Http::of(&run);
        http.until("/v1/status", |status| status["totals"]["records"] == 300);
        let graph = http.until("/v1/graph", |graph| {
            graph["operators"].as_array().is_some_and(|all| !all.is_empty())
                && of_operator(graph, "Count", "rows_out") == 600
        });
        // No word is there twice: each is a row everywhere.
        for (operator, field) in [
            ("Source: lines", "rows_out"),
            ("Arrange: Count", "rows_in"),
            ("Arrange: Count", "rows_out"),
            ("Arrange: Count", "arranged_rows"),
            ("Count", "rows_in"),
        ] {
            assert_eq!(of_operator(&graph, operator, field), 600, "{operator}: {field}, with {size:?}");
        }
        assert_eq!(of_operator(&graph, "Source: lines", "rows_in"), 0);
        let bytes = of_operator(&graph, "Arrange: Count", "arranged_bytes");
        assert!((600 * 20..600 * 100).contains(&bytes), "{bytes}");
        let metrics = until(&http, |metrics| {
            metrics.sum_of("cutwater_operator_rows_out_total", "operator=\"Count\"") == 600.0
        });
        assert!(metrics.sum("cutwater_operator_busy_seconds_total") > 0.0);
        // The dataflow's name leads to each.
        let operators = graph["operators"].as_array().unwrap();
        let root = operators.iter().find(|operator| operator["parent"].is_null()).unwrap();
        assert_eq!(root["name"], "word-count");
        assert!(operators.iter().any(|operator| operator["path"] == "word-count/Source: lines"));
        assert!(
            operators.iter().any(|operator| operator["name"] == "Exchange, for Arrange: Count"),
            "{graph}"
        );
    }
}

#[test]
fn operators_of_all_workers_of_all_processes_are_told() {
    let topic = mock().topic(8);
    topic.send(unlike(0, 400));
    let run = counting(&topic, &["-o", "none", "-w", "2", "-n", "2"]).start();
    let http = Http::of(&run);
    let graph = http.until("/v1/graph", |graph| {
        graph["operators"].as_array().is_some_and(|all| !all.is_empty())
            && of_operator(graph, "Count", "rows_out") == 800
    });
    let source =
        graph["operators"].as_array().unwrap().iter().find(|one| one["name"] == "Source: lines").unwrap();
    let mut read: BTreeMap<u64, u64> = BTreeMap::new();
    for on in source["workers"].as_array().unwrap() {
        read.insert(on["worker"].as_u64().unwrap(), on["rows_out"].as_u64().unwrap());
    }
    assert_eq!(read, BTreeMap::from([(0, 200), (1, 200), (2, 200), (3, 200)]), "two partitions each");
    let skew = source["skew"].as_f64().expect("they were busy");
    assert!((1.0..=4.0).contains(&skew), "{skew}");
    let metrics = until(&http, |metrics| metrics.count("cutwater_worker_busy_seconds_total") == 4);
    assert_eq!(metrics.value("cutwater_processes"), 2.0);
    assert_eq!(http.json("/v1/status")["processes"], 2);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0).says(&["done: 400 records"]);
}

#[test]
fn a_run_that_measures_ends_as_one_that_does_not() {
    let topic = mock().topic(3);
    topic.send(unlike(0, 50));
    for size in ["-w 1", "-w 3", "-w 2 -n 2"] {
        let ended = counting(&topic, &["--until-end"]).with(size).run().expect(0);
        assert_eq!(ended.stdout.len(), 100, "{size}");
    }
}

#[test]
fn a_profile_is_of_the_next_seconds() {
    let topic = mock().topic(2);
    topic.send(unlike(0, 1000));
    let run = counting(&topic, &["-o", "none", "-w", "2"]).start();
    let http = Http::of(&run);
    http.until("/v1/status", |status| status["totals"]["records"] == 1000);
    http.until("/v1/graph", |graph| {
        graph["operators"].as_array().is_some_and(|all| !all.is_empty())
            && of_operator(graph, "Count", "rows_out") == 2000
    });
    // What was before is not in it.
    let profile = http.json("/v1/profile?seconds=4");
    let operators = profile["operators"].as_array().unwrap();
    assert!(!operators.is_empty(), "workers look for what is due four times a second: {profile}");
    let rows: u64 = operators
        .iter()
        .flat_map(|operator| operator["workers"].as_array().unwrap())
        .map(|on| on["rows_out"].as_u64().unwrap())
        .sum();
    assert_eq!(rows, 0, "{profile}");
    let busy: Vec<f64> = operators.iter().map(|operator| operator["busy"].as_f64().unwrap()).collect();
    assert!(busy.windows(2).all(|pair| pair[0] >= pair[1]), "the costliest comes first: {busy:?}");
    let picture = http.get_with("/v1/profile?seconds=4", &[("accept", "image/svg+xml")]);
    assert_eq!((picture.status, &*picture.headers["content-type"]), (200, "image/svg+xml"));
    assert!(picture.body.contains("<svg") && picture.body.contains("worker 1"), "{}", picture.body);
    http.get("/v1/profile?seconds=61").fails(400, &["seconds=61", "from 1 to 60"]);
    http.get("/v1/graph?seconds=1").fails(400, &["\"seconds\""]);
}

#[test]
fn the_history_has_a_point_a_second() {
    let topic = mock().topic(1);
    topic.send(unlike(0, 10));
    let run = counting(&topic, &["-o", "none"]).start();
    let http = Http::of(&run);
    let status = http.until("/v1/status", |status| {
        let points = status["history"].as_array().expect("points");
        points.len() >= 2 && points.last().is_some_and(|last| last["epoch"] == status["epoch"])
    });
    let points = status["history"].as_array().unwrap();
    let read: f64 = points.iter().map(|point| point["records_per_second"].as_f64().unwrap()).sum();
    assert!(read > 1.0, "ten records were read in about a second: {points:?}");
    let with_latency = points.iter().filter(|point| point["latency_p50"].is_number()).count();
    assert!(with_latency >= 1 && with_latency < points.len(), "{points:?}");
}

#[test]
fn support_has_all_but_data_and_secrets() {
    let topic = mock().topic(1);
    topic.send(["hunter3 secret-word"]);
    topic.send_to(0, Some(b"hunter3 \xff"));
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (_silent, url) = silent();
    let url = url.replace("http://", "http://me:hunter2@");
    let run = counting(&topic, &["-o", &url, "--state", state.to_str().unwrap(), "-X", "client.rack=r1"]);
    let run = run.args(["-X", "ssl.key.password=hunter2"]).start();
    let http = Http::of(&run);
    http.until("/v1/messages", |said| said["messages"].as_array().is_some_and(|all| !all.is_empty()));
    let file = folder.path().join("support.txt");
    let file = file.to_str().unwrap();
    let support =
        || cutwater(["support", file, "--http", &http.url, "--state", state.to_str().unwrap()]).run();
    support().expect(0).says(&["wrote", "support.txt"]);
    let text = std::fs::read_to_string(file).unwrap();
    for wanted in [
        "cutwater 0.",
        "librdkafka",
        "processors: ",
        "\"dataflow\": \"word-count\"",
        "client.rack=r1",
        "ssl.key.password=***",
        "not UTF-8 from byte N",
        "Arrange: Count",
        "# HELP cutwater_records_total",
        "group       cutwater-word-count",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    for secret in ["hunter2", "hunter3", "secret-word"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    support().fails(1, &["support.txt is there already"]);
    // What can't be had is said at once, not in the file alone.
    let other = folder.path().join("other.txt");
    let nobody = ["support", other.to_str().unwrap(), "--http", "http://127.0.0.1:1"];
    let with_state = nobody.into_iter().chain(["--state", state.to_str().unwrap()]);
    cutwater(with_state)
        .run()
        .expect(0)
        .says(&["7 parts could not be had: asking http://127.0.0.1:1: ", "refused"]);
    // Where nothing can be had, that is an error, once.
    std::fs::remove_file(&other).unwrap();
    cutwater(nobody).run().fails(1, &["nothing could be had: asking http://127.0.0.1:1: ", "refused"]);
    assert!(!other.exists(), "no file is left where nothing was had");
    let wrong = folder.path().join("wrong.txt");
    cutwater(["support", wrong.to_str().unwrap(), "--http", "127.0.0.1:1"]).run().fails(2, &["http://"]);
    assert!(!wrong.exists(), "no file is left where nothing was asked");
    cutwater(["support", "-h"]).run().expect(0);
    assert!(Path::new(file).exists());
}

#[test]
fn explain_needs_no_broker() {
    let text = cutwater(["explain", "sales"]).rows().join("\n");
    for wanted in [
        "sales",
        "Source: orders",
        "Join: lines with categories",
        "TopK: top-sellers",
        "Render: revenue",
        "Exchange, for Arrange: lines",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let dot = cutwater(["explain", "sales", "--format", "dot"]).rows().join("\n");
    assert!(dot.starts_with("digraph {") && dot.contains("[label=\"Source: products\"]"), "{dot}");
    let json = cutwater(["explain", "--format", "json", "word-count"]).rows().join("\n");
    let graph: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(graph["operators"][0]["name"], "word-count");
    cutwater(["explain", "word-cuont"]).run().fails(2, &["did you mean word-count?"]);
    cutwater(["explain"]).run().fails(2, &["name a dataflow: cutwater explain DATAFLOW"]);
}
