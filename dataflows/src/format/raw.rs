//! Values as formats write them that say their types, and as columns have them.

use std::borrow::Cow;

use crate::rows::{Kind, Timestamp, Value, decimal_text, decimal_units};

/// A value as it is written.
#[derive(Clone, Debug)]
pub(crate) enum Raw<'p> {
    Null,
    Bool(bool),
    Long(i64),
    Double(f64),
    Bytes(&'p [u8]),
    /// As it is in the payload, or made of that.
    Text(Cow<'p, str>),
    Decimal(i128, u8),
    Time(Timestamp),
}

/// A value for a column: as it is, or a text that was made of it.
#[derive(Clone, Debug, Default)]
pub(crate) enum Slot<'p> {
    #[default]
    Missing,
    Value(Value<'p>),
    Text(String),
}

/// Why it is none, in words that quote nothing.
pub(crate) type Why = Cow<'static, str>;

impl<'p> Raw<'p> {
    /// What it is in a column of this type. `as_text`: columns of text take whatever is one value.
    ///
    /// # Errors
    /// If it is of another type, or out of its range: in words that quote nothing.
    pub(crate) fn into_slot(self, kind: &Kind, as_text: bool) -> Result<Slot<'p>, Why> {
        let value = match (kind, self) {
            (_, Raw::Null) => Value::Null,
            (Kind::Text | Kind::Any, Raw::Text(Cow::Owned(text))) => return Ok(Slot::Text(text)),
            (Kind::Text | Kind::Any, Raw::Text(Cow::Borrowed(text))) => Value::Text(text),
            (Kind::Text, raw) if as_text => return raw.text().map(Slot::Text),
            (Kind::Int | Kind::Any, Raw::Long(number)) => Value::Int(number),
            (Kind::Float | Kind::Any, Raw::Double(number)) => Value::Float(number.into()),
            (Kind::Float, Raw::Long(number)) => Value::Float((number as f64).into()),
            (Kind::Bool | Kind::Any, Raw::Bool(value)) => Value::Bool(value),
            (Kind::Bytes | Kind::Any, Raw::Bytes(bytes)) => Value::Bytes(bytes),
            (Kind::Timestamp | Kind::Any, Raw::Time(time)) => Value::Timestamp(time),
            (Kind::Timestamp, Raw::Long(millis)) => {
                Value::Timestamp(Timestamp::from_millis(millis).ok_or("it is out of range")?)
            }
            (Kind::Timestamp, Raw::Text(text)) => {
                Value::Timestamp(text.parse().map_err(|_| "it is not an RFC 3339 time")?)
            }
            (Kind::Any, Raw::Decimal(units, scale)) if scale <= 38 => Value::Decimal(units, scale),
            (Kind::Decimal(scale), raw) => Value::Decimal(raw.decimal(*scale, kind)?, *scale),
            (kind, raw) => return Err(raw.unexpected(kind)),
        };
        Ok(Slot::Value(value))
    }

    fn unexpected(self, kind: &Kind) -> Why {
        let found = match self {
            Raw::Null => "null",
            Raw::Bool(_) => "a truth value",
            Raw::Long(_) => "an integer",
            Raw::Double(_) => "a floating-point number",
            Raw::Bytes(_) => "bytes",
            Raw::Text(_) => "text",
            Raw::Decimal(..) => "a decimal",
            Raw::Time(_) => "a time",
        };
        format!("expected {kind}, found {found}").into()
    }

    fn decimal(self, scale: u8, kind: &Kind) -> Result<i128, Why> {
        let (units, from) = match self {
            Raw::Decimal(units, from) => (units, from),
            Raw::Long(number) => (number.into(), 0),
            Raw::Text(text) => return decimal_units(&text, scale).map_err(|why| why.to_string().into()),
            Raw::Double(number) => {
                return decimal_units(&number.to_string(), scale).map_err(|why| why.to_string().into());
            }
            raw => return Err(raw.unexpected(kind)),
        };
        let large = || format!("it is too large for a decimal of scale {scale}");
        if from <= scale {
            let factor = 10_i128.checked_pow((scale - from).into());
            return Ok(factor.and_then(|factor| units.checked_mul(factor)).ok_or_else(large)?);
        }
        let factor = 10_i128.checked_pow((from - scale).into());
        match factor {
            Some(factor) if units % factor == 0 => Ok(units / factor),
            None if units == 0 => Ok(0),
            _ => Err(format!("it has more than {scale} digits after the point").into()),
        }
    }

    /// As it would be written.
    fn text(self) -> Result<String, Why> {
        Ok(match self {
            Raw::Bool(value) => value.to_string(),
            Raw::Long(number) => number.to_string(),
            Raw::Double(number) => number.to_string(),
            Raw::Text(text) => text.into_owned(),
            Raw::Time(time) => time.to_string(),
            Raw::Decimal(units, scale) => decimal_text(units, scale),
            Raw::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?.to_owned(),
            Raw::Null => return Err(self.unexpected(&Kind::Text)),
        })
    }
}
