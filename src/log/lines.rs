//! How a line of the log is written: for people, or as a JSON object.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::secrets::hidden;
use crate::shown::steers;

/// Events as JSON objects, one a line.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // What comes by the crate log has its own target and level among its fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(out, "{}", object(*metadata.level(), metadata.target(), &fields.message, fields.others))
    }
}

/// A JSON object on one line; nothing in it steers a terminal, and nothing in it is secret.
pub(super) fn object(level: Level, target: &str, message: &str, fields: Map<String, Value>) -> String {
    let mut time = String::new();
    // Fails where the clock is before 1970.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let object = json!({
        "time": time,
        "level": level.as_str().to_lowercase(),
        "target": target,
        "message": hidden(message),
        "fields": fields,
        "process": super::process(),
    });
    let text = object.to_string();
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(c);
        }
    }
    line
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        // How the crate log hands over what is in the metadata.
        if !name.starts_with("log.") {
            self.others.insert(name.to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, hidden(value).into());
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, hidden(&text).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_on_one_line_and_whole_json() {
        let fields = Map::from_iter([("epoch".to_owned(), json!(7))]);
        let line = object(
            Level::WARN,
            "librdkafka",
            "a \"b\"\n\u{1b}[31m \u{2028}\u{202e} https://me:pw@h/x",
            fields,
        );
        assert!(!line.contains(steers), "{line}");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["message"], "a \"b\"\n\u{1b}[31m \u{2028}\u{202e} https://***@h/x");
        assert_eq!((&read["level"], &read["target"]), (&json!("warn"), &json!("librdkafka")));
        assert_eq!((&read["fields"], &read["process"]), (&json!({ "epoch": 7 }), &Value::Null));
        assert!(read["time"].as_str().unwrap().ends_with('Z'));
    }
}
