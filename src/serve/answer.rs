//! What holds for every answer: errors as JSON, and parameters of which none is unknown.

use std::borrow::Cow;

use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

/// An answer that says what was asked, what was found and what to do.
#[derive(Debug)]
pub struct Failed {
    status: StatusCode,
    error: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failed {
    /// An error of this status, which is 400 or above.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Failed { status, error: error.into(), headers: Vec::new() }
    }

    /// What was asked can't be: 400.
    pub fn wrong(error: impl Into<String>) -> Self {
        Failed::new(StatusCode::BAD_REQUEST, error)
    }

    /// It is not there: 404.
    pub fn unknown(error: impl Into<String>) -> Self {
        Failed::new(StatusCode::NOT_FOUND, error)
    }

    /// It can't be answered now, but after `seconds` perhaps: 503.
    pub fn later(seconds: u64, error: impl Into<String>) -> Self {
        Failed::new(StatusCode::SERVICE_UNAVAILABLE, error).with(header::RETRY_AFTER, seconds)
    }

    /// With a header.
    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.error }).to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        response.headers_mut().extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response
    }
}

/// The answer to a path that is not there.
pub(super) async fn no_such_path(uri: Uri) -> Failed {
    let path = uri.path();
    Failed::unknown(format!("there is no {path:?}: /v1/openapi.json describes what there is"))
}

/// The answer of another process than 0.
pub(super) async fn at_process_0(uri: Uri) -> Failed {
    let path = uri.path();
    Failed::unknown(format!(
        "there is no {path:?} here: process 0 answers for the whole run, this one says at /healthz and /readyz whether it is well"
    ))
}

/// The answer to a method that no path takes.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Failed {
    let path = uri.path();
    Failed::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} {path}: nothing can be changed here, only asked with GET"),
    )
    .with(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}

/// The parameters of a request, in their order.
#[derive(Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query. `known`: the parameters that the path knows.
    ///
    /// # Errors
    /// 400 if there is another one, or it is not UTF-8.
    pub fn read(query: Option<&str>, known: &[&str]) -> Result<Params, Failed> {
        let mut params = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !known.contains(&name.as_str()) {
                return Err(Failed::wrong(match known {
                    [] => format!("there is no parameter {name:?}: this path has none"),
                    known => format!("there is no parameter {name:?}: this path knows {}", known.join(", ")),
                }));
            }
            params.push((name, value));
        }
        Ok(Params(params))
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be there once.
    ///
    /// # Errors
    /// 400 if it is there twice.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Failed> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Failed::wrong(format!("{name} is there twice: once is enough"))),
            (value, None) => Ok(value),
        }
    }

    /// The value of a parameter that is a whole number of `from` to `to`.
    ///
    /// # Errors
    /// 400 if it is not, or there twice.
    pub fn number(&self, name: &str, from: u64, to: u64) -> Result<Option<u64>, Failed> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && (from..=to).contains(&number) => Ok(Some(number)),
            _ => Err(Failed::wrong(format!("{name}={text}: expected a whole number from {from} to {to}"))),
        }
    }
}

/// A name or a value, as it was before it was written in a query.
fn decoded(text: &str) -> Result<String, Failed> {
    let text = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    match percent_decode_str(&text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Failed::wrong(format!("{text:?} is not UTF-8: percent-encode the bytes of its UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Params, String> {
        Params::read(Some(query), &["key", "limit"]).map_err(|failed| failed.error)
    }

    #[test]
    fn parameters_are_decoded_and_unknown_ones_refused() {
        let params = read("key=a%20b+c%26&key=&limit=7").unwrap();
        assert_eq!(params.all("key").collect::<Vec<_>>(), ["a b c&", ""]);
        assert_eq!(params.number("limit", 1, 7).unwrap(), Some(7));
        assert!(params.one("key").unwrap_err().error.contains("twice"));
        assert_eq!(read("keys=1").unwrap_err(), "there is no parameter \"keys\": this path knows key, limit");
        assert!(read("key=%ff").unwrap_err().contains("not UTF-8"));
        for wrong in ["0", "8", "", "+1", "-1", "1.0", "99999999999999999999"] {
            let params = read(&format!("limit={}", wrong.replace('+', "%2B"))).unwrap();
            assert!(params.number("limit", 1, 7).is_err(), "{wrong}");
        }
    }
}
