//! A real Prometheus, and its promtool.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use super::DEADLINE;
use super::http::Http;
use super::ports::free_port;

/// A file of `config/`.
pub fn config(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs promtool with this on its standard input. It is to be content, without a word.
pub fn promtool(args: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}; install Debian's package prometheus"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("promtool reads it");
    let ended = child.wait_with_output().expect("it ends");
    let said = [&ended.stdout[..], &ended.stderr[..]].concat();
    assert!(ended.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// A Prometheus that scrapes and evaluates every second, by the rules of `config/alerts.yml` in which a minute is a second.
/// It is killed when this is dropped.
pub struct Prometheus {
    child: Child,
    http: Http,
    _folder: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Fails where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts one that scrapes these, each `HOST:PORT`.
    pub fn scraping(targets: &[&str]) -> Prometheus {
        let folder = tempfile::tempdir().expect("a folder");
        let minutes = Regex::new(r"\b(\d+)m\b").expect("an expression");
        let rules = minutes
            .replace_all(&config("alerts.yml"), "${1}s")
            .replace("age_seconds > 300", "age_seconds > 3")
            .replace("start_time_seconds > 900", "start_time_seconds > 15")
            .replace("start_time_seconds < 600", "start_time_seconds < 10");
        std::fs::write(folder.path().join("alerts.yml"), rules).expect("the rules are written");
        let settings = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [alerts.yml]\n\
             scrape_configs:\n- {{ job_name: cutwater, static_configs: [{{ targets: {targets:?} }}] }}\n"
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, settings).expect("the settings are written");
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}; install Debian's package prometheus"));
        let http = Http::at(&format!("http://{address}"));
        let prometheus = Prometheus { child, http, _folder: folder };
        prometheus.until("it is ready", || std::net::TcpStream::connect(&address).is_ok());
        prometheus.until("it is ready", || prometheus.http.get("/-/ready").status == 200);
        prometheus
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: not so; the alerts are {:?}", self.alerts());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The result of a query.
    pub fn query(&self, query: &str) -> Vec<Value> {
        let encoded = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let answer = self.http.json(&format!("/api/v1/query?query={encoded}"));
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// The alerts that fire, each with the instance that it is about.
    pub fn alerts(&self) -> Vec<(String, String)> {
        let answer = self.http.get("/api/v1/alerts");
        let answer: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
        firing.map(|alert| (label(alert, "alertname"), label(alert, "instance"))).collect()
    }

    /// Does this alert fire about that instance?
    pub fn fires(&self, alert: &str, instance: &str) -> bool {
        self.alerts().iter().any(|(name, of)| name == alert && of == instance)
    }
}
