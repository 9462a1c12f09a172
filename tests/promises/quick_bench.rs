//! `cutwater bench`, on the in-process broker: what it measures, and that it is what it seems.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::broker::mock;
use crate::support::program::cutwater;
use crate::support::rows::{Counts, assert_counts, recount};
use crate::support::text::licenses;

/// A number of the report.
#[track_caller]
fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} of {report:#}"))
}

#[test]
fn a_quick_look_is_a_table_a_report_and_a_picture() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (json, svg) = (folder.path().join("report.json"), folder.path().join("picture.svg"));
    let ended = cutwater(["bench"])
        .with("--records 3000 --words 3 --vocabulary 100 --rounds 1 -n 2 --rates 200,400 --seconds 1")
        .args(["--json".as_ref(), json.as_os_str(), "--svg".as_ref(), svg.as_os_str()])
        .run()
        .expect(0);
    let table = ended.stdout.join("\n");
    for text in [
        "in-process broker",
        "until the end of 3,000",
        "2 bare consumers ",
        "2 bare consumers, one a call ",
        "hand-written, one thread",
        "word-count, 2 workers",
        "cutwater run -w 1 -n 2",
        "offered, --epoch 10 ms",
        "200/s",
        "400/s",
    ] {
        assert!(table.contains(text), "{text}:\n{table}");
    }
    let report: Value =
        serde_json::from_slice(&std::fs::read(&json).expect("a report")).expect("the report is JSON");
    for row in ["/until_end/0", "/until_end/1", "/until_end/2", "/until_end/3"] {
        assert_eq!(number(&report, &format!("{row}/records")), 3000.0);
        for figure in ["seconds", "cpu_seconds_per_million", "peak_bytes", "of_ceiling"] {
            assert!(number(&report, &format!("{row}/{figure}")) > 0.0, "{figure} of {report:#}");
        }
    }
    assert!(number(&report, "/processes/of_one_process") > 0.0);
    for (row, rate) in [("/offered/0", 200.0), ("/offered/1", 400.0)] {
        let figure = |name: &str| number(&report, &format!("{row}/{name}"));
        assert_eq!(figure("rate"), rate);
        assert!(figure("records_per_second") <= 1.02 * rate, "{report:#}");
        let latencies = ["p50", "p95", "p99", "max"].map(|name| figure(&format!("latency_ms/{name}")));
        assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{report:#}");
    }
    let svg = std::fs::read_to_string(&svg).expect("a picture");
    assert!(svg.starts_with("<svg"), "{svg}");
    assert_eq!(
        svg.matches("<circle").count(),
        2 * 6 + 2,
        "a point of each rate and line, and the legend: {svg}"
    );
}

#[test]
fn every_contestant_reads_all_and_those_that_count_count_exactly() {
    let topic = mock().topic(3);
    topic.send(licenses());
    let expected = recount(licenses());
    for (contestant, counts) in
        [("ceiling", false), ("single", false), ("program", true), ("word-count", true)]
    {
        let order = json!({
            "contestant": contestant,
            "settings": {
                "brokers": topic.address,
                "properties": [],
                "connect_timeout": { "secs": 240, "nanos": 0 },
            },
            "group": topic.name,
            "topic": topic.name,
            "partitions": 3,
            "workers": 2,
        });
        let ended = cutwater(["bench", "--contestant"]).input(order.to_string().as_bytes()).run().expect(0);
        let told: Value = serde_json::from_str(&ended.stdout.join("\n")).expect("a contestant tells JSON");
        assert_eq!(number(&told, "/records"), licenses().len() as f64, "{contestant}");
        if counts {
            let counted: Counts =
                serde_json::from_value(told["counts"].clone()).expect("counts are numbers of words");
            assert_counts(&counted, &expected);
        }
    }
}

#[test]
fn what_the_in_process_broker_cannot_keep_is_refused() {
    let wrong = |args: &str, texts: &[&str]| {
        cutwater(["bench"]).with(args).run().fails(2, texts);
    };
    wrong("--records 1000000", &["--records 1000000", "in-process broker keeps", "--brokers"]);
    wrong("-X linger.ms=1", &["--set", "--brokers"]);
    wrong("--rates fast", &["--rates", "fast"]);
    wrong("--rates 1e7 --seconds 60", &["--rates", "records"]);
    wrong("--rates none --svg picture.svg", &["--svg", "--rates"]);
    wrong("--vocabulary 2 --partitions 3", &["--vocabulary"]);
}

#[test]
fn another_dataflow_is_measured_on_its_samples() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let json = folder.path().join("report.json");
    let ended = cutwater(["bench"])
        .with("--dataflow top-words --records 2000 --rounds 1 --json")
        .args([json.as_os_str()])
        .with("-- --top 3")
        .run()
        .expect(0);
    let table = ended.stdout.join("\n");
    for text in [
        "top-words, until the end of 2,000 samples of seed 1",
        "bare consumer ",
        "top-words, 1 worker ",
        "top-words, 2 workers ",
        "the final rows are the same for all: top (3 rows)",
    ] {
        assert!(table.contains(text), "{text}:\n{table}");
    }
    let report: Value =
        serde_json::from_slice(&std::fs::read(&json).expect("a report")).expect("the report is JSON");
    assert_eq!(number(&report, "/records"), 2000.0);
    for row in ["/runs/0", "/runs/1"] {
        for figure in ["records_per_second", "cpu_seconds_per_million", "peak_bytes", "of_bare_consumer"] {
            assert!(number(&report, &format!("{row}/{figure}")) > 0.0, "{figure} of {report:#}");
        }
    }
    // Several inputs, a table among them.
    let sales =
        cutwater(["bench"]).with("--dataflow sales --records 1000 --rounds 1 --partitions 2").run().expect(0);
    assert!(sales.stdout.iter().any(|line| line.contains("top-sellers (")), "{:?}", sales.stdout);

    let wrong = |args: &str, texts: &[&str]| {
        cutwater(["bench"]).with(args).run().fails(2, texts);
    };
    wrong("--dataflow top-wrods", &["top-wrods", "did you mean top-words?"]);
    wrong("--dataflow sales --words 3", &["--words", "word-count's own workload"]);
    wrong("--dataflow sales -- --tpo 3", &["--dataflow sales", "--tpo"]);
    wrong("-- --top 3", &["--dataflow NAME"]);
}

#[test]
fn asked_to_stop_it_tells_what_it_has() {
    let running = cutwater(["bench"]).with("--records 1000 --rounds 1 --rates 100,200 --seconds 600").start();
    running.wait_stderr("word-count, 1 worker");
    running.signal(Signal::SIGINT);
    let ended = running.wait().expect(0);
    ended.says(&["stopped"]);
    assert!(ended.stdout.iter().any(|line| line.contains("bare consumer")), "{:?}", ended.stdout);
}

/// A variable that names a cluster for other commands must not have this one fill it.
#[test]
fn only_an_argument_names_a_cluster_to_fill() {
    let ended = cutwater(["bench"])
        .with("--records 100 --rounds 1 --rates 50 --seconds 1")
        .env("CUTWATER_BROKERS", "127.0.0.1:1")
        .run()
        .expect(0);
    ended.says(&["CUTWATER_BROKERS is not used", "--brokers"]);
    // Before it is written, what will be.
    let told = ended.says(&[
        "an in-process broker",
        "100 records (about 700 B)",
        "4 partitions",
        "50 records at 1 rate",
    ]);
    let at = |text: &str| ended.stderr.iter().position(|line| line.contains(text));
    assert!(at("(about 700 B)") < at("100 records written"), "{told}: {:?}", ended.stderr);
}
