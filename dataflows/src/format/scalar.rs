//! Values of columns from their text, for formats in which all is text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rows::{Kind, NotDecimal, Timestamp, Value, decimal_units};

/// Why a text is no value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotValue {
    /// Text that has to be something and is nothing.
    Empty,
    NotWhole,
    NotIn64Bits,
    NotANumber,
    NotFinite,
    NotBool,
    NotATime,
    TimeOutOfRange,
    NotBase64,
    Decimal(NotDecimal),
    /// A column that no text fills.
    NoText,
}

impl std::fmt::Display for NotValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NotValue::Empty => "it is empty",
            NotValue::NotWhole => "it is not a whole number",
            NotValue::NotIn64Bits => "it is out of range of 64 bits",
            NotValue::NotANumber => "it is not a number",
            NotValue::NotFinite => "it is out of range",
            NotValue::NotBool => "it is neither true nor false",
            NotValue::NotATime => "it is neither an RFC 3339 time nor whole milliseconds",
            NotValue::TimeOutOfRange => "it is out of range",
            NotValue::NotBase64 => "it is not base 64",
            NotValue::Decimal(why) => return why.fmt(f),
            NotValue::NoText => "it can't be read from text",
        })
    }
}

/// The value that `text` is in a column of this type. Bytes are decoded into `bytes`.
pub(crate) fn parse<'a>(kind: &Kind, text: &'a str, bytes: &'a mut Vec<u8>) -> Result<Value<'a>, NotValue> {
    if text.is_empty() && !matches!(kind, Kind::Text | Kind::Any | Kind::Bytes) {
        return Err(NotValue::Empty);
    }
    Ok(match kind {
        Kind::Text | Kind::Any => Value::Text(text),
        Kind::Int => Value::Int(integer(text)?),
        Kind::Float => Value::Float(float(text)?.into()),
        Kind::Bool => Value::Bool(match text {
            "true" => true,
            "false" => false,
            _ => return Err(NotValue::NotBool),
        }),
        Kind::Timestamp => Value::Timestamp(time(text)?),
        Kind::Decimal(scale) => {
            Value::Decimal(decimal_units(text, *scale).map_err(NotValue::Decimal)?, *scale)
        }
        Kind::Bytes => {
            bytes.clear();
            STANDARD.decode_vec(text, bytes).map_err(|_| NotValue::NotBase64)?;
            Value::Bytes(bytes)
        }
        _ => return Err(NotValue::NoText),
    })
}

fn integer(text: &str) -> Result<i64, NotValue> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        PosOverflow | NegOverflow => NotValue::NotIn64Bits,
        _ => NotValue::NotWhole,
    })
}

fn float(text: &str) -> Result<f64, NotValue> {
    // Rust's own parser reads "inf" and "nan" as well.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return Err(NotValue::NotANumber);
    }
    let value: f64 = text.parse().map_err(|_| NotValue::NotANumber)?;
    if value.is_finite() { Ok(value) } else { Err(NotValue::NotFinite) }
}

fn time(text: &str) -> Result<Timestamp, NotValue> {
    match integer(text) {
        Ok(millis) => Timestamp::from_millis(millis).ok_or(NotValue::TimeOutOfRange),
        Err(NotValue::NotIn64Bits) => Err(NotValue::TimeOutOfRange),
        Err(_) => text.parse().map_err(|_| NotValue::NotATime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_value_of_its_column_or_it_is_said_why_not() {
        let read = |kind: Kind, text: &str| {
            let mut bytes = Vec::new();
            parse(&kind, text, &mut bytes).map(|value| format!("{value:?}")).map_err(|why| why.to_string())
        };
        for (kind, text, value) in [
            (Kind::Int, "-7", "Int(-7)"),
            (Kind::Int, "9223372036854775807", "Int(9223372036854775807)"),
            (Kind::Float, "1e3", "Float(1000.0)"),
            (Kind::Bool, "true", "Bool(true)"),
            (Kind::Timestamp, "1000", "Timestamp(1970-01-01T00:00:01Z)"),
            (Kind::Timestamp, "1970-01-01T01:00:00+01:00", "Timestamp(1970-01-01T00:00:00Z)"),
            (Kind::Decimal(2), "12.5", "Decimal(1250, 2)"),
            (Kind::Bytes, "/wA=", "Bytes([255, 0])"),
            (Kind::Any, "7", "Text(\"7\")"),
            (Kind::Text, "", "Text(\"\")"),
        ] {
            assert_eq!(read(kind, text).as_deref(), Ok(value), "{text}");
        }
        for (kind, text, why) in [
            (Kind::Int, "", "it is empty"),
            (Kind::Int, "1.0", "it is not a whole number"),
            (Kind::Int, "9223372036854775808", "it is out of range of 64 bits"),
            (Kind::Float, "nan", "it is not a number"),
            (Kind::Float, "-inf", "it is not a number"),
            (Kind::Float, "1e999", "it is out of range"),
            (Kind::Float, ".", "it is not a number"),
            (Kind::Bool, "True", "it is neither true nor false"),
            (Kind::Timestamp, "99999999999999999999", "it is out of range"),
            (Kind::Timestamp, "9223372036854775807", "it is out of range"),
            (Kind::Timestamp, "today", "it is neither an RFC 3339 time nor whole milliseconds"),
            (Kind::Decimal(1), "0.05", "it has more than 1 digits after the point"),
            (Kind::Bytes, "?", "it is not base 64"),
        ] {
            assert_eq!(read(kind, text).unwrap_err(), why, "{text}");
        }
    }
}
