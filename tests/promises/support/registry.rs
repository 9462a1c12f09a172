//! Registries of schemas: a real one, and one that answers as it is told, a GET with what there is for its path.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use super::keeper::Keeper;

/// A real registry, by `scripts/registry`. It ends when this is dropped or this process ends.
pub struct Real {
    /// Its URL.
    pub url: String,
    _keeper: Keeper,
}

impl Real {
    /// Starts one without schemas.
    pub fn start() -> Real {
        let keeper = Keeper::of("registry");
        let url = keeper.run("start", &[]).trim().to_owned();
        Real { url, _keeper: keeper }
    }
}

/// A registry on loopback. It lives as long as this process.
pub struct Registry {
    /// Its URL.
    pub url: String,
    answers: Arc<Mutex<BTreeMap<String, (u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    /// Starts one without schemas.
    pub fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/apis/ccompat", listener.local_addr().expect("it listens"));
        let registry = Registry { url, answers: Arc::default(), asked: Arc::default() };
        let (answers, asked) = (Arc::clone(&registry.answers), Arc::clone(&registry.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
                let Some(Ok(first)) = lines.next() else { continue };
                let path = first.split(' ').nth(1).expect("a path").to_owned();
                // The head ends with an empty line.
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let none = (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned());
                let answer = answers.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
                let (status, body) = answer.unwrap_or(none);
                asked.lock().unwrap_or_else(PoisonError::into_inner).push(path);
                let length = body.len();
                // Whoever has asked may have gone.
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        registry
    }

    /// From now on, it answers a path below its URL so.
    pub fn answer(&self, path: &str, status: u16, body: &str) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(format!("/apis/ccompat/{path}"), (status, body.to_owned()));
    }

    /// From now on, it has the schema of an id, which names others by subject and version.
    pub fn has(&self, id: u32, schema: &str, references: &[(&str, i64)]) {
        let references: Vec<_> = references
            .iter()
            .map(
                |(subject, version)| serde_json::json!({"name": "n", "subject": subject, "version": version}),
            )
            .collect();
        let body = serde_json::json!({"schema": schema, "references": references});
        self.answer(&format!("schemas/ids/{id}"), 200, &body.to_string());
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
