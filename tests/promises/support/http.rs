//! Asks a run over HTTP.
#![allow(dead_code, reason = "tests of views, figures and page use it, each a part")]

use std::collections::BTreeMap;
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
        Http { url: url.to_owned(), token: None, agent: config.build().into() }
    }

    /// Asks with this token.
    pub fn with_token(self, token: &str) -> Http {
        Http { token: Some(token.to_owned()), ..self }
    }

    /// The answer to a GET of a path with these headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().unwrap_or_else(|error| panic!("GET {path}: {error}"));
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
