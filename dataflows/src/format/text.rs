//! Text: the whole value is one column.

use super::{Decoder, Format, RowWriter, Undecoded};
use crate::record::{Malformed, Record};
use crate::rows::{Kind, Schema, Value};

/// `text`: the whole value is one column, of text, which has to be UTF-8, or of bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl Format for Text {
    fn name(&self) -> &str {
        "text"
    }

    fn open(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        match &schema.columns[..] {
            [column] if matches!(column.kind, Kind::Text | Kind::Any) => Ok(Box::new(Utf8)),
            [column] if column.kind == Kind::Bytes => Ok(Box::new(Raw)),
            [column] => {
                Err(format!("text fills a column of text or bytes, but {:?} is {}", column.name, column.kind))
            }
            columns => Err(format!("text fills one column, but {} has {}", schema.name, columns.len())),
        }
    }
}

struct Utf8;

impl Decoder for Utf8 {
    fn decode(&mut self, payload: &[u8], _: &Record<'_>, row: &mut RowWriter<'_>) -> Result<(), Undecoded> {
        Ok(row.push(Value::Text(utf8(payload)?))?)
    }
}

struct Raw;

impl Decoder for Raw {
    fn decode(&mut self, payload: &[u8], _: &Record<'_>, row: &mut RowWriter<'_>) -> Result<(), Undecoded> {
        Ok(row.push(Value::Bytes(payload))?)
    }
}

/// The text that these bytes are.
pub(super) fn utf8(payload: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(payload)
        .map_err(|error| Malformed(format!("not UTF-8 from byte {}", error.valid_up_to()).into()))
}
