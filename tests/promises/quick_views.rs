//! Views over HTTP: what is asked while records flow, by whom, and at which epoch.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::broker::mock;
use crate::support::http::{Answer, Http};
use crate::support::kafka::Topic;
use crate::support::load::Load;
use crate::support::metrics::Metrics;
use crate::support::program::{Program, cutwater, word_count};
use crate::support::rows::{Counts, assert_counts, recount};

/// Counts the words of a topic, and answers.
fn counting(topic: &Topic, more: &[&str]) -> Program {
    word_count(&topic.address, &topic.name).with("--http 127.0.0.1:0 -o none").args(more)
}

/// The epoch of an answer: the same in its body and its headers, with the same cut.
#[track_caller]
fn epoch_of(answer: &Answer) -> u64 {
    let json = answer.json("rows");
    let epoch = json["epoch"].as_u64().unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!(answer.headers["cutwater-epoch"], epoch.to_string());
    let cut: Value = serde_json::from_str(&answer.headers["cutwater-cut"]).expect("JSON");
    assert_eq!(cut, json["cut"]);
    epoch
}

/// What the words below a cut are, counted plainly.
fn below(lines: &[Vec<String>], topic: &Topic, cut: &Value) -> Counts {
    let below = lines.iter().enumerate().flat_map(|(partition, lines)| {
        let next = cut[&topic.name][partition.to_string()].as_u64().unwrap_or(0);
        &lines[..next as usize]
    });
    recount(below)
}

fn counts(rows: &Value) -> Vec<(String, i64)> {
    let row = |row: &Value| {
        (row["word"].as_str().expect("text").to_owned(), row["count"].as_i64().expect("a number"))
    };
    rows.as_array().expect("rows").iter().map(row).collect()
}

/// The most frequent words, ties by word.
fn top(counts: &Counts, number: usize) -> Vec<(String, i64)> {
    let mut ranked: Vec<(String, i64)> = counts.iter().map(|(word, count)| (word.clone(), *count)).collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ranked.truncate(number);
    ranked
}

#[test]
fn a_run_says_where_it_listens_and_what_can_be_asked() {
    let topic = mock().topic(1);
    let run = counting(&topic, &[]).start();
    let http = Http::of(&run);
    let described = http.json("/v1/openapi.json");
    assert_eq!(described["openapi"], "3.1.0");
    http.get("/v1/output").fails(404, &["\"/v1/output\"", "/v1/openapi.json"]);
    http.get("/v1/outputs").fails(503, &["no epoch is published yet"]);
    assert_eq!(http.get("/v1/outputs/counts").headers["retry-after"], "1");
    topic.send(["the end"]);
    let listed = http.until("/v1/outputs", |_| true);
    assert_eq!(
        listed["outputs"][0]["columns"],
        serde_json::json!([
            {"name": "word", "type": "text", "nullable": false},
            {"name": "count", "type": "i64", "nullable": false},
        ])
    );
    assert_eq!((&listed["outputs"][0]["rows"], &listed["outputs"][0]["key"][0]), (&2.into(), &"word".into()));
    http.get("/v1/outputs/count").fails(404, &["no output \"count\", but counts"]);
    http.get("/v1/outputs/counts?kye=the").fails(400, &["no parameter \"kye\"", "key, prefix"]);
    http.get("/v1/outputs/counts?epoch=99").fails(404, &["not published yet", "newest is 1"]);
    let lines = http.get_with("/v1/outputs/counts?limit=1", &[("accept", "application/x-ndjson")]);
    assert_eq!(lines.body, "{\"word\":\"end\",\"count\":1}\n");
    let next = format!("/v1/outputs/counts?cursor={}", lines.headers["cutwater-next"]);
    assert_eq!(http.get_with(&next, &[("accept", "text/csv")]).body, "word,count\r\nthe,1\r\n");
    http.get(&format!("{next}&key=the")).fails(400, &["cursor"]);
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
    let run = |more: &str| word_count(&topic.address, &topic.name).with(more).run();
    run("--http 0.0.0.0:0").fails(2, &["--http 0.0.0.0:0"]);
    run("--http 8080").fails(2, &["HOST:PORT"]);
    run("--view-history 1m").fails(2, &["--view-history", "--http ADDR"]);
    run("--http 127.0.0.1:0 --http-cert c").fails(2, &["--http-cert", "--http-key"]);
    run("--http 127.0.0.1:0 --http-token-file no-such-file").fails(1, &["--http-token-file no-such-file"]);
    run("--http 127.0.0.1:0 --http-allow-origin example.com").fails(2, &["--http-allow-origin example.com"]);
    let run = word_count(&topic.address, &topic.name).with("--http 0.0.0.0:0 --http-open").start();
    let url = Http::of(&run).url.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(Http::at(&url).get_with("/v1/openapi.json", &[("host", "any.example")]).status, 200);
    let run = counting(&topic, &[]).start();
    Http::of(&run).get_with("/v1/openapi.json", &[("host", "any.example")]).fails(421, &["any.example"]);
}

/// A certificate and its key, which nobody trusts.
fn certificate(folder: &Path) -> (String, String) {
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-keyout", &key, "-out", &cert])
        .output()
        .expect("starting openssl");
    assert!(made.status.success(), "{made:?}");
    (cert, key)
}

#[test]
fn those_may_ask_who_know_the_token_over_tls() {
    let topic = mock().topic(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (cert, key) = certificate(folder.path());
    let file = folder.path().join("token").display().to_string();
    std::fs::write(&file, "0123456789abcdef-0\n").expect("there is room");
    let options = ["--http-token-file", &file, "--http-cert", &cert, "--http-key", &key];
    let run =
        counting(&topic, &[&options[..], &["--http-allow-origin", "https://example.com"]].concat()).start();
    let http = Http::of(&run);
    assert!(http.url.starts_with("https://"), "{}", http.url);
    let refused = http.get("/v1/openapi.json");
    refused.fails(401, &["Authorization: Bearer TOKEN", "none"]);
    assert!(refused.headers["www-authenticate"].starts_with("Bearer"));
    assert_eq!(refused.headers["access-control-allow-origin"], "https://example.com");
    http.get_with("/v1/openapi.json", &[("authorization", "Bearer x")]).fails(401, &["another token"]);
    http.with_token("0123456789abcdef-0").json("/v1/openapi.json");
    run.signal(Signal::SIGTERM);
    let ended = run.wait().expect(0);
    let said = ended.stderr.join("\n");
    assert!(!said.contains("0123456789abcdef"), "{said}");

    let (other, _) = {
        std::fs::create_dir(folder.path().join("b")).expect("a folder");
        certificate(&folder.path().join("b"))
    };
    let with = |cert: &str, key: &str| counting(&topic, &["--http-cert", cert, "--http-key", key]).run();
    with(&other, &key).fails(1, &[&other, &key]);
    with(&file, &key).fails(1, &[&file, "no certificate"]);
    with(&cert, "no-such-key").fails(1, &["--http-key no-such-key"]);
}

#[test]
fn requests_are_bounded() {
    let topic = mock().topic(1);
    let run = counting(&topic, &[]).start();
    let http = Http::of(&run);
    let address = http.url.strip_prefix("http://").expect("no TLS").to_owned();
    let raw = |text: &str| {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        // Fails where the server has heard enough.
        let _ = stream.write_all(text.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let head = "GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    assert!(raw(&format!("{head}\r\n")).starts_with("HTTP/1.1 200"));
    assert!(raw(&format!("{head}Content-Length: 3\r\n\r\nabc")).starts_with("HTTP/1.1 413"));
    assert!(!raw(&format!("{head}X: {}\r\n\r\n", "x".repeat(100_000))).starts_with("HTTP/1.1 200"));
    assert!(
        raw("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 405")
    );
    assert!(!raw("nonsense\r\n\r\n").starts_with("HTTP/1.1 200"));
    // Who holds connections, however many, and asks nothing, keeps nobody out, and is told of.
    let many = || -> Vec<TcpStream> {
        (0..300).map(|_| TcpStream::connect(&address).expect("it listens")).collect()
    };
    let mut held = many();
    for _ in 0..3 {
        assert!(raw(&format!("{head}\r\n")).starts_with("HTTP/1.1 200"));
        held = many();
    }
    let dropped = Metrics::of(&http).value("cutwater_http_dropped_connections_total");
    assert!(dropped >= 44.0, "{dropped}");
    run.wait_stderr("all 256 connections are taken: one from 127.0.0.1:");
    drop(held);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn answers_are_as_the_description_says() {
    let topic = mock().topic(2);
    topic.send(["the cat and the hat", "a \u{e9} \u{1f980}"]);
    topic.send_to(0, Some(b"\xff"));
    let run = counting(&topic, &[]).start();
    let http = Http::of(&run);
    http.until("/v1/outputs", |_| true);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked =
        Command::new(root.join("scripts/schemathesis")).arg(&http.url).output().expect("starting it");
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{told}{}", String::from_utf8_lossy(&checked.stderr));
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

/// Asks a run under load, and checks each answer against a plain recount below its cut.
fn asked_under_load(size: &[&str]) {
    let topic = mock().topic(3);
    let load = Load::start(&topic);
    let run = counting(&topic, &[&["-e", "10ms"], size].concat()).start();
    let http = Http::of(&run);
    http.until("/v1/outputs", |listed| listed["outputs"][0]["rows"].as_u64() > Some(1000));
    let mut answers = Vec::new();
    for _ in 0..20 {
        let answer = http.get("/v1/outputs/counts?by=count&top=20");
        let epoch = epoch_of(&answer);
        answers.push((epoch, answer.json("top")));
        http.until("/v1/outputs", |listed| listed["epoch"].as_u64() > Some(epoch));
    }
    let (first, earliest) = answers[0].clone();
    assert!(answers.iter().map(|(epoch, _)| epoch).is_sorted_by(|a, b| a < b));
    assert_eq!(http.json(&format!("/v1/outputs/counts?by=count&top=20&epoch={first}")), earliest);
    // All words, page by page, at one epoch, while others are published.
    let (mut pages, mut next) = (Vec::new(), String::new());
    let paged = loop {
        let page = http.get(&format!("/v1/outputs/counts?limit=500{next}"));
        let json = page.json("a page");
        pages.extend(counts(&json["rows"]));
        match json["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break json,
        }
        http.until("/v1/outputs", |listed| listed["epoch"].as_u64() > json["epoch"].as_u64());
    };
    let lines = load.finish();
    for (epoch, answer) in &answers {
        let expected = top(&below(&lines, &topic, &answer["cut"]), 20);
        assert_eq!(counts(&answer["rows"]), expected, "epoch {epoch}");
    }
    assert!(pages.is_sorted_by(|a, b| a.0 < b.0));
    assert_counts(&pages.into_iter().collect(), &below(&lines, &topic, &paged["cut"]));
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn the_most_frequent_words_and_all_pages_are_those_of_one_cut_while_records_flow() {
    asked_under_load(&["-w", "2"]);
}

#[test]
fn process_0_answers_for_several() {
    asked_under_load(&["-n", "2"]);
}

#[test]
fn what_was_produced_is_in_the_answer_that_waits_for_it() {
    let topic = mock().topic(2);
    topic.send(["x", "y"]);
    let run = counting(&topic, &["-e", "1ms"]).start();
    let http = Http::of(&run);
    http.until("/v1/outputs", |listed| listed["outputs"][0]["rows"] == 2);
    for offset in 1..30 {
        topic.send_to(1, Some(b"mine"));
        let path = format!("/v1/outputs/counts?key=mine&after={}:1:{offset}&wait=60", topic.name);
        assert_eq!(http.json(&path)["rows"], serde_json::json!([{"word": "mine", "count": offset}]));
    }
    let path = format!("/v1/outputs/counts?after={}:1:30&wait=0", topic.name);
    http.get(&path).fails(504, &[&topic.name, "offset 30", "0 s"]);
    http.get("/v1/outputs/counts?after=x:1").fails(400, &["after=x:1", "TOPIC:PARTITION:OFFSET"]);
    http.get(&format!("{path}&epoch=1")).fails(400, &["after", "epoch"]);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn several_outputs_are_of_one_epoch() {
    let topic = mock().topic(2);
    let run = cutwater(["run", "balances", "-b", &topic.address, "-t", &topic.name, "-o", "balances=none"]);
    let run = run.with("-o total=none -e 1ms -w 2 --max-records 20 --http 127.0.0.1:0").start();
    let http = Http::of(&run);
    let writer = topic.writer();
    for number in 0..4000 {
        let (from, to) = (number * 7 % 50, number * 13 % 60);
        let transfer = format!(r#"{{"from":"{from}","to":"{to}","amount":"{number}.25"}}"#);
        writer.send(number % 2, Some(transfer.as_bytes()));
    }
    let (mut epochs, mut last) = (0, 0);
    while last < 4000 {
        let both = http.until("/v1/outputs/balances,total?limit=1000", |_| true);
        let (balances, total) = (&both["outputs"][0]["rows"], &both["outputs"][1]["rows"]);
        let cents = |row: &Value| -> i64 {
            row["balance"].as_str().expect("text").replace('.', "").parse().expect("a number")
        };
        let sum: i64 = balances.as_array().expect("rows").iter().map(cents).sum();
        assert_eq!(sum, 0, "{both}");
        assert_eq!(*total, serde_json::json!([{"name": "total", "total": "0.00"}]));
        let cut = both["cut"][&topic.name].as_object().expect("a topic");
        let read = cut.values().map(|next| next.as_u64().expect("an offset")).sum();
        epochs += usize::from(read != last);
        last = read;
    }
    writer.flush();
    assert!(epochs > 0);
    // The largest by value, not by text.
    let first = http.json("/v1/outputs/balances?by=balance&top=1");
    let balance = |row: &Value| row["balance"].as_str().expect("text").parse::<f64>().expect("a number");
    let all = http.json("/v1/outputs/balances?limit=1000");
    let largest = all["rows"].as_array().expect("rows").iter().map(balance).fold(f64::MIN, f64::max);
    assert_eq!(balance(&first["rows"][0]), largest);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

/// Adds the changes of an event to counts.
fn apply(counts: &mut Counts, data: &Value) {
    for change in data["changes"].as_array().expect("changes") {
        let (word, count) = (&change["row"]["word"], change["row"]["count"].as_i64().expect("a number"));
        let word = word.as_str().expect("text").to_owned();
        *counts.entry(word).or_default() += count * change["diff"].as_i64().expect("a number");
    }
    counts.retain(|_, count| *count != 0);
}

#[test]
fn changes_come_once_across_reconnects() {
    let topic = mock().topic(2);
    let load = Load::start(&topic);
    let run = counting(&topic, &["-e", "5ms"]).start();
    let http = Http::of(&run);
    http.until("/v1/outputs", |_| true);
    let (mut last, mut found, mut cut) = ("0".to_owned(), Counts::new(), Value::Null);
    for connection in 0..10 {
        for event in http.events("/v1/outputs/counts/changes", &[("last-event-id", &last)]).take(8) {
            assert_eq!(event.name, "epoch", "{connection}");
            let data: Value = serde_json::from_str(&event.data).expect("JSON");
            assert_eq!(data["epoch"].to_string(), event.id);
            apply(&mut found, &data);
            (last, cut) = (event.id, data["cut"].clone());
        }
    }
    let lines = load.finish();
    assert_counts(&found, &below(&lines, &topic, &cut));
    // `from` says the same, and without either it begins with what is new.
    let number = |id: &str| id.parse::<u64>().expect("a number");
    let mut new = http.events("/v1/outputs/counts/changes", &[]);
    topic.send(["new"]);
    assert!(new.next().is_some_and(|event| number(&event.id) > number(&last)));
    let from = format!("/v1/outputs/counts/changes?from={last}");
    assert!(http.events(&from, &[]).next().is_some_and(|event| number(&event.id) > number(&last)));
    http.get("/v1/outputs/counts/changes?from=999999999").fails(404, &["not published yet"]);
    http.get_with("/v1/outputs/counts/changes", &[("last-event-id", "x")]).fails(400, &["Last-Event-ID"]);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn a_reader_that_is_too_slow_is_told_and_dropped_and_holds_nothing_back() {
    let topic = mock().topic(3);
    let load = Load::start(&topic);
    let run = counting(&topic, &["-e", "1ms", "--view-history-bytes", "50000"]).start();
    let http = Http::of(&run);
    let listed = http.until("/v1/outputs", |_| true);
    let slow = http.events("/v1/outputs/counts/changes", &[]);
    // It reads nothing while many epochs are published: more than all buffers on the way hold.
    let began = listed["epoch"].as_u64().expect("a number");
    http.until("/v1/outputs", |listed| listed["epoch"].as_u64() > Some(began + 200));
    load.finish();
    let events: Vec<_> = slow.collect();
    let (last, epochs) = events.split_last().expect("events");
    assert_eq!(last.name, "dropped", "after {} epochs", epochs.len());
    let told: Value = serde_json::from_str(&last.data).expect("JSON");
    let reached = told["epoch"].as_u64().expect("a number");
    // Where the machine is busy, none may have gone out before the reader was too slow.
    assert!(epochs.last().is_none_or(|event| event.id == reached.to_string()), "{reached}");
    let gone = format!("/v1/outputs/counts/changes?from={reached}");
    http.get(&gone).fails(410, &["no longer held"]);
    http.get("/v1/outputs/counts?epoch=1").fails(410, &["no longer held", "--view-history"]);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn a_restart_from_state_has_all_rows_at_once_and_goes_on() {
    let topic = mock().topic(2);
    topic.send(["a b", "b c"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().display().to_string();
    let start =
        || counting(&topic, &["-e", "1ms", "--state", &state, "--checkpoint", "1h", "-w", "2"]).start();
    let run = start();
    let http = Http::of(&run);
    let before =
        http.until("/v1/outputs/counts", |answer| answer["rows"].as_array().expect("rows").len() == 3);
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);

    let run = start();
    let http = Http::of(&run);
    assert_eq!(http.until("/v1/outputs/counts", |_| true), before);
    topic.send_to(0, Some(b"c"));
    let path = format!("/v1/outputs/counts?key=c&after={}:0:1", topic.name);
    assert_eq!(http.json(&path)["rows"], serde_json::json!([{"word": "c", "count": 2}]));
    // After a crash what was read before is read again first.
    run.signal(Signal::SIGKILL);
    drop(run);
    let run = start();
    let http = Http::of(&run);
    let wanted = BTreeMap::from([("a", 1), ("b", 2), ("c", 2)]);
    let all = http.until("/v1/outputs/counts", |_| true);
    let found = counts(&all["rows"]);
    assert!(found.iter().map(|(word, count)| (word.as_str(), *count)).eq(wanted));
    run.signal(Signal::SIGTERM);
    run.wait().expect(0);
}

#[test]
fn rows_after_the_end_and_dead_letters_go_with_a_view() {
    let topic = mock().topic(1);
    topic.send(["the end"]);
    topic.send_to(0, Some(b"\xff"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let letters = folder.path().join("dead");
    let run =
        word_count(&topic.address, &topic.name).with("--http 127.0.0.1:0 --until-end --emit final -e 1ms");
    let rows = run.args(["--dead-letter", &format!("file:{}", letters.display())]).rows();
    assert_eq!(rows, [r#"{"word":"end","count":1}"#, r#"{"word":"the","count":1}"#]);
    assert_eq!(std::fs::read_to_string(letters).expect("the file").lines().count(), 1);
}
