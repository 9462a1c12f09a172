//! Asks a run over HTTP.
#![allow(dead_code, reason = "tests of views, figures and page use it, each a part")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::DEADLINE;
use super::program::Running;

/// A run's HTTP server.
pub struct Http {
    /// Its URL, without a slash at the end.
    pub url: String,
    token: Option<String>,
    agent: ureq::Agent,
}

/// Server-sent events.
pub struct Events(BufReader<ureq::BodyReader<'static>>);

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: String,
}

impl Iterator for Events {
    type Item = Event;
    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            // The server ends the stream, or the connection.
            if self.0.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = data.to_owned(),
                _ if !event.name.is_empty() => return Some(event),
                _ => {}
            }
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// By name, in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Http {
    /// Of a run with `--http`: once it listens.
    pub fn of(run: &Running) -> Http {
        let line = run.wait_stderr("listening on http");
        let url = line.split_whitespace().last().expect("the line ends with the URL").to_owned();
        Http::at(&url)
    }

    /// At a URL.
    pub fn at(url: &str) -> Http {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE));
        // Certificates of tests are nobody's.
        let config = config.tls_config(ureq::tls::TlsConfig::builder().disable_verification(true).build());
        Http { url: url.to_owned(), token: None, agent: config.build().into() }
    }

    /// Asks with this token.
    pub fn with_token(self, token: &str) -> Http {
        Http { token: Some(token.to_owned()), ..self }
    }

    fn call(&self, path: &str, headers: &[(&str, &str)]) -> ureq::http::Response<ureq::Body> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.call().unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// The events of a stream, from when the server has accepted it.
    pub fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let response = self.call(path, headers);
        assert_eq!(response.status(), 200, "GET {path}");
        Events(BufReader::new(response.into_body().into_reader()))
    }

    /// The answer to a GET of a path with these headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut response = self.call(path, headers);
        let named = response.headers().iter();
        let headers = named.map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let (status, headers) = (response.status().as_u16(), headers.collect());
        let body = response.body_mut().read_to_string().expect("a body of text");
        Answer { status, headers, body }
    }

    /// The answer to a GET of a path.
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// The JSON of an answer that is to be 200.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        self.get(path).json(path)
    }

    /// Asks until the JSON of an answer 200 is as wanted.
    #[track_caller]
    pub fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.get(path);
            if answer.status == 200 {
                let json = answer.json(path);
                if wanted(&json) {
                    return json;
                }
            }
            assert!(Instant::now() < deadline, "GET {path}: the last answer is {answer:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Answer {
    /// The JSON of an answer that is to be 200, of what was asked.
    #[track_caller]
    pub fn json(&self, asked: &str) -> Value {
        assert_eq!(self.status, 200, "GET {asked}: {self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("GET {asked}: {error}: {self:?}"))
    }

    /// It is an error of this status, that holds all of `texts`.
    #[track_caller]
    pub fn fails(&self, status: u16, texts: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        let json: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let error = json["error"].as_str().unwrap_or_else(|| panic!("{self:?}"));
        assert!(texts.iter().all(|text| error.contains(text)), "{error:?} holds not all of {texts:?}");
    }
}
