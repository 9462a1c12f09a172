//! What a run says of itself at `--http`.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use cutwater_dataflows::reasons::{kind, without_values};
use serde_json::Value;

use super::Gathered;
use crate::usage::usage;

/// What is asked of a run, and what it is called.
const ASKED: [(&str, &str); 7] = [
    ("status", "/v1/status"),
    ("readiness", "/readyz"),
    ("last warnings and errors", "/v1/messages"),
    ("graph", "/v1/graph"),
    ("state as the run sees it", "/v1/state"),
    ("dead letters by reason", "/v1/dead-letters?limit=1"),
    ("metrics", "/metrics"),
];

/// Asks for all of it.
///
/// # Errors
/// If `url` is not one, or the token's file can't be read.
pub(super) fn all(gathered: &mut Gathered, url: &str, token: Option<&Path>) -> Result<()> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(usage(format!("--http {url}: expected http://HOST:PORT or https://HOST:PORT")));
    }
    let token = token.map(|path| {
        let token = std::fs::read_to_string(path);
        token.with_context(|| format!("reading --http-token-file {}", path.display()))
    });
    let (token, agent) = (token.transpose()?, crate::http::agent(false));
    let url = url.trim_end_matches('/');
    let mut out_of_reach = None;
    for (name, path) in ASKED {
        let answer = match &out_of_reach {
            None => ask(&agent, url, path, token.as_deref()),
            Some(why) => Err(anyhow!("{why}")),
        };
        // A run that is not reached once need not be asked, and waited for, again.
        if gathered.asked == 0 {
            let error = answer.as_ref().err().filter(|error| error.is::<ureq::Error>());
            out_of_reach = error.map(|error| format!("{error:#}"));
        }
        gathered.part(&format!("{name} (GET {path})"), answer.map(|body| tidy(path, &body)));
    }
    Ok(())
}

/// The body of an answer.
fn ask(agent: &ureq::Agent, url: &str, path: &str, token: Option<&str>) -> Result<String> {
    let mut request = agent.get(format!("{url}{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.trim()));
    }
    let mut answer = request.call().with_context(|| format!("asking {url}"))?;
    let body = answer.body_mut().with_config().limit(64 << 20).read_to_string()?;
    ensure!(answer.status() != 401, "a token is asked for: name its file with --http-token-file");
    Ok(body)
}

/// JSON in lines, without what is in records: dead letters are left out but for their numbers, and what is quoted of them in
/// messages is.
fn tidy(path: &str, body: &str) -> String {
    let Ok(mut json) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    if let Some(fields) = json.as_object_mut() {
        if path.starts_with("/v1/dead-letters") {
            fields.remove("dead_letters");
        }
        let reasons = fields.get_mut("by_reason").and_then(Value::as_array_mut);
        for reason in reasons.into_iter().flatten().filter_map(|counted| counted.get_mut("reason")) {
            *reason = kind(reason.as_str().unwrap_or_default()).into();
        }
        let messages = fields.get_mut("messages").and_then(Value::as_array_mut);
        for text in messages.into_iter().flatten().filter_map(|message| message.get_mut("text")) {
            if let Some(letter) = text.as_str().filter(|text| text.starts_with("dead letter: ")) {
                *text = without_values(letter).into();
            }
        }
    }
    serde_json::to_string_pretty(&json).unwrap_or_else(|_| body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::{SupportArgs, gather};

    #[test]
    fn nothing_of_a_record_is_in_it() {
        let letters = r#"{"total":1,"by_reason":[{"reason":"found \"hunter2\"","count":1}],"dead_letters":[{"bytes":"aHVudGVyMg=="}]}"#;
        let tidied = tidy("/v1/dead-letters?limit=1", letters);
        assert!(
            tidied.contains("\"total\": 1") && !tidied.contains("aHVu") && !tidied.contains("hunter2"),
            "{tidied}"
        );
        let messages = r#"{"messages":[{"text":"dead letter: t partition 0 offset 7: price: found \"hunter2\""},
            {"text":"topic \"t\" is gone"}]}"#;
        let tidied = tidy("/v1/messages", messages);
        assert!(!tidied.contains("hunter2") && tidied.contains("price: found"), "{tidied}");
        assert!(tidied.contains(r#"topic \"t\" is gone"#), "{tidied}");
        assert_eq!(tidy("/metrics", "a 1\n"), "a 1\n");
    }

    #[test]
    fn what_can_not_be_had_is_said() {
        let args = SupportArgs {
            file: "unused".into(),
            http: Some("http://127.0.0.1:1/".into()),
            http_token_file: None,
            state: Some("/nowhere/at/all".into()),
        };
        let Gathered { text, asked, not_had } = gather(&args).unwrap();
        assert_eq!((asked, not_had.len()), (ASKED.len() + 1, ASKED.len() + 1), "{not_had:?}");
        assert!(text.contains(concat!("cutwater ", env!("CARGO_PKG_VERSION"))), "{text}");
        assert!(text.contains("processors: "), "{text}");
        assert_eq!(text.matches("not had: ").count(), ASKED.len() + 1, "{text}");
    }
}
