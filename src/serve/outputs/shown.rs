//! Rows as JSON, as JSON lines and as CSV.

use axum::http::{HeaderMap, StatusCode, header};
use cutwater_dataflows::rows::json::write_json;
use cutwater_dataflows::rows::{Json, Schema, Value};

use crate::serve::answer::Failed;

/// How rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// In a JSON object with all that is said of the answer.
    Json,
    /// A JSON object a line.
    Lines(&'static str),
    /// Comma-separated values, with a line of the columns' names first.
    Csv,
}

/// Media types, each with what it shows.
const TYPES: [(&str, Shown); 4] = [
    ("application/json", Shown::Json),
    ("application/jsonl", Shown::Lines("application/jsonl")),
    ("application/x-ndjson", Shown::Lines("application/x-ndjson")),
    ("text/csv", Shown::Csv),
];

impl Shown {
    /// As the client accepts it: of what it likes best, the first.
    ///
    /// # Errors
    /// 406 if it accepts none of what there is.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Failed> {
        let texts: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let mut best: Option<(f32, Shown)> = None;
        for range in texts.iter().flat_map(|text| text.split(',')).filter(|range| !range.trim().is_empty()) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight =
                parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse).unwrap_or(0.0);
            let fits = |of: &str| {
                name == "*/*"
                    || name == of
                    || name.strip_suffix("/*").is_some_and(|kind| of.split('/').next() == Some(kind))
            };
            let found = TYPES.iter().find(|(of, _)| fits(of));
            if let Some(&(_, shown)) =
                found.filter(|_| weight > 0.0 && best.is_none_or(|(than, _)| weight > than))
            {
                best = Some((weight, shown));
            }
        }
        match best {
            Some((_, shown)) => Ok(shown),
            None if texts.is_empty() => Ok(Shown::Json),
            None => Err(Failed::new(
                StatusCode::NOT_ACCEPTABLE,
                format!(
                    "Accept: {}: rows are application/json, application/jsonl, application/x-ndjson or text/csv",
                    texts.join(", ")
                ),
            )),
        }
    }

    /// The media type of the answer.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Shown::Json => "application/json",
            Shown::Lines(name) => name,
            Shown::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// Writes rows of an output.
pub(super) struct Writer<'a> {
    schema: &'a Schema,
    json: Json,
    shown: Shown,
    rows: usize,
}

impl<'a> Writer<'a> {
    /// Writes what comes before the first row.
    pub(super) fn begin(schema: &'a Schema, shown: Shown, out: &mut Vec<u8>) -> Self {
        if shown == Shown::Csv {
            for (index, column) in schema.columns.iter().enumerate() {
                separate(index, out);
                field(&column.name, out);
            }
            out.extend_from_slice(b"\r\n");
        }
        Writer { schema, json: Json::new(schema.clone()), shown, rows: 0 }
    }

    /// Writes an encoded row.
    pub(super) fn row(&mut self, row: &[u8], out: &mut Vec<u8>) {
        self.rows += 1;
        // Rows of a view are encoded rows of its schema.
        match self.shown {
            Shown::Json => {
                separate(self.rows - 1, out);
                let _ = self.json.write(row, out);
            }
            Shown::Lines(_) => {
                let _ = self.json.write(row, out);
                out.push(b'\n');
            }
            Shown::Csv => {
                for (index, value) in self.schema.values(row).map_while(Result::ok).enumerate() {
                    separate(index, out);
                    match value {
                        Value::Null => {}
                        Value::Text(text) => field(text, out),
                        value => other_field(value, out),
                    }
                }
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// How many rows were written.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// Appends a field of CSV (RFC 4180). An empty text is in quotes: nothing is not.
fn field(text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

/// A value that is no text: as JSON shows it, without quotes around it.
fn other_field(value: Value<'_>, out: &mut Vec<u8>) {
    let mut shown = Vec::new();
    let _ = write_json(value, &mut shown);
    let text = String::from_utf8_lossy(&shown);
    field(text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text), out);
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use cutwater_dataflows::rows::{Column, Decimal, Text, encode};

    use super::*;

    fn accepted(text: &'static str) -> Option<Shown> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))]);
        Shown::accepted(&headers).ok()
    }

    #[test]
    fn what_is_accepted_best_is_shown() {
        assert_eq!(Shown::accepted(&HeaderMap::new()).unwrap(), Shown::Json);
        for (accept, shown) in [
            ("*/*", Some(Shown::Json)),
            ("text/csv", Some(Shown::Csv)),
            ("text/*;q=0.5, application/json;q=0.4", Some(Shown::Csv)),
            ("application/x-ndjson, */*;q=0.1", Some(Shown::Lines("application/x-ndjson"))),
            ("image/png, Application/JSONL", Some(Shown::Lines("application/jsonl"))),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Shown::Json)),
            ("image/png", None),
            ("text/csv;q=0", None),
        ] {
            assert_eq!(accepted(accept), shown, "{accept}");
        }
    }

    #[test]
    fn csv_tells_nothing_from_an_empty_text_and_quotes_what_it_must() {
        let mut schema = Schema::of::<(Text, (Option<Text>, Decimal<2>))>();
        for (column, name) in schema.columns.iter_mut().zip(["a", "b,c", "d"]) {
            *column = Column::new(name, column.kind.clone());
        }
        let mut out = Vec::new();
        let mut writer = Writer::begin(&schema, Shown::Csv, &mut out);
        let amount: Decimal<2> = "-1.50".parse().unwrap();
        for row in [("x \"y\"", None), ("", Some("1,2\n3")), ("plain", Some(""))] {
            let row: (Text, (Option<Text>, Decimal<2>)) = (row.0.into(), (row.1.map(Into::into), amount));
            writer.row(&encode(&row), &mut out);
        }
        let expected =
            "a,\"b,c\",d\r\n\"x \"\"y\"\"\",,-1.50\r\n\"\",\"1,2\n3\",-1.50\r\nplain,\"\",-1.50\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
