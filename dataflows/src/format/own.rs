//! Columns that are the record's own, whatever its format: `_topic`, `_partition`, `_offset`, `_timestamp`, `_key` and
//! `_headers.NAME`.

use std::borrow::Cow;

use crate::record::Record;
use crate::rows::{Column, Kind, Schema, Value};

/// What such a column is of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Header(String),
}

const HEADERS: &str = "_headers.";

impl Own {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "_topic" => Own::Topic,
            "_partition" => Own::Partition,
            "_offset" => Own::Offset,
            "_timestamp" => Own::Timestamp,
            "_key" => Own::Key,
            name => Own::Header(name.strip_prefix(HEADERS).filter(|name| !name.is_empty())?.to_owned()),
        })
    }

    /// What the column of this name is of the record; `None` for one that the format fills.
    ///
    /// # Errors
    /// If it is of a type that can't hold that.
    pub(super) fn of(name: &str, kind: &Kind, optional: bool) -> Result<Option<Self>, String> {
        let Some(own) = Own::named(name) else { return Ok(None) };
        let wanted = match own {
            Own::Topic => "text",
            Own::Partition | Own::Offset => "i64",
            Own::Timestamp => "timestamp",
            Own::Key | Own::Header(_) => "bytes? or text?",
        };
        let fits = match own {
            Own::Topic => *kind == Kind::Text,
            Own::Partition | Own::Offset => *kind == Kind::Int,
            Own::Timestamp => *kind == Kind::Timestamp,
            // A record need not have one.
            Own::Key | Own::Header(_) => optional && matches!(kind, Kind::Bytes | Kind::Text),
        };
        if fits || *kind == Kind::Any {
            return Ok(Some(own));
        }
        let option = if optional { "?" } else { "" };
        Err(format!("column {name:?} is the record's own: it has to be {wanted}, but it is {kind}{option}"))
    }

    /// Its value, of a type that [`Own::of`] has let through.
    ///
    /// # Errors
    /// If it is to be text, and is none: in words that quote nothing.
    pub(super) fn value<'a>(&self, record: &Record<'a>, kind: &Kind) -> Result<Value<'a>, Cow<'static, str>> {
        let bytes = |bytes: Option<&'a [u8]>| match (bytes, kind) {
            (None, _) => Ok(Value::Null),
            (Some(bytes), Kind::Text) => {
                std::str::from_utf8(bytes).map(Value::Text).map_err(|_| "it is not UTF-8".into())
            }
            (Some(bytes), _) => Ok(Value::Bytes(bytes)),
        };
        match self {
            Own::Topic => Ok(Value::Text(record.topic)),
            Own::Partition => Ok(Value::Int(record.partition.into())),
            Own::Offset => Ok(Value::Int(record.offset)),
            Own::Timestamp => Ok(record.event_time().map_or(Value::Null, Value::Timestamp)),
            Own::Key => bytes(record.key),
            Own::Header(name) => bytes(record.headers.last(name)),
        }
    }
}

/// True iff a column of this name is the record's own.
pub(crate) fn is_own(name: &str) -> bool {
    Own::named(name).is_some()
}

/// The schema with which a format is opened: without the columns that are the record's own.
pub(crate) fn without(schema: &Schema) -> Schema {
    let of_format = |column: &&Column| Own::named(&column.name).is_none();
    let key = schema.columns[..schema.key].iter().filter(of_format).count();
    let columns = schema.columns.iter().filter(of_format).cloned().collect();
    Schema { name: schema.name.clone(), columns, key }
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;
    use crate::testing::{Sample, Test};

    #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Line {
        #[row(name = "_partition")]
        partition: i64,
        #[row(name = "_offset")]
        offset: i64,
        line: Text,
        #[row(name = "_topic")]
        topic: Text,
        #[row(name = "_key")]
        key: Option<Text>,
        #[row(name = "_headers.trace")]
        trace: Option<Bytes>,
        #[row(name = "_timestamp")]
        at: Option<Timestamp>,
        _id: Option<i64>,
    }

    fn lines(flow: &Flow<'_>) {
        let lines = flow.input("lines").rows::<Line>();
        lines.output("lines", &["p", "o"], &["line", "topic", "key", "trace", "at", "_id"]);
    }

    #[test]
    fn the_records_own_columns_are_filled_in_around_those_of_the_format() {
        let sample = |key: &[u8], value: &str| Sample {
            key: Some(key.to_vec()),
            value: Some(value.into()),
            timestamp: Some(7),
        };
        let outcome = Test::building("lines", lines)
            .epoch([
                ("lines", sample(b"k", r#"{"line":"a","_offset":99,"_id":5}"#)),
                ("lines", r#"{"line":"b"}"#.into()),
                ("lines", sample(b"\xff", r#"{"line":"c"}"#)),
            ])
            .check();
        assert_eq!(
            outcome.rows("lines"),
            [
                r#"{"p":0,"o":0,"line":"a","topic":"test","key":"k","trace":null,"at":"1970-01-01T00:00:00.007Z","_id":5}"#,
                r#"{"p":0,"o":1,"line":"b","topic":"test","key":null,"trace":null,"at":null,"_id":null}"#,
            ]
        );
        let letter = outcome.dead_letters().first().expect("one");
        assert!(letter.contains("_key: it is not UTF-8"), "{letter}");
    }

    #[test]
    fn a_column_of_the_record_has_the_type_of_that() {
        #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        struct Wrong {
            #[row(name = "_key")]
            key: Bytes,
        }
        let build = |flow: &Flow<'_>| flow.input("a").rows::<Wrong>().output("a", &["k"], &[]);
        let wrong = std::panic::catch_unwind(|| Test::building("wrong", build).run());
        let why = *wrong.expect_err("refused").downcast::<String>().expect("a text");
        assert!(why.contains("column \"_key\" is the record's own: it has to be bytes? or text?"), "{why}");
    }
}
