//! Values that rules name, and how they compare.

use std::cmp::Ordering;

use toml::Value as Toml;

use super::field::named;
use crate::format::scalar;
use crate::rows::{Float, Kind, Timestamp, Value};

/// A value of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Owned {
    Bool(bool),
    Int(i64),
    Float(Float),
    Text(String),
    Timestamp(Timestamp),
    Decimal(i128, u8),
}

impl Owned {
    /// Of a column's value.
    fn of(value: Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Owned::Bool(value),
            Value::Int(value) => Owned::Int(value),
            Value::Float(value) => Owned::Float(value),
            Value::Text(value) => Owned::Text(value.to_owned()),
            Value::Timestamp(value) => Owned::Timestamp(value),
            Value::Decimal(units, scale) => Owned::Decimal(units, scale),
            _ => return None,
        })
    }

    /// What a file of rules says, as a value of this type.
    ///
    /// # Errors
    /// If it is of another one.
    pub(super) fn parse(value: &Toml, kind: &Kind) -> Result<Self, String> {
        let text = match value {
            Toml::String(text) => text.clone(),
            Toml::Array(_) | Toml::Table(_) => {
                return Err(format!(
                    "expected a value of type {}, found {}",
                    named(kind),
                    crate::rule_file::kind(value)
                ));
            }
            Toml::Float(number) if matches!(kind, Kind::Decimal(_)) && digits(&number.to_string()) > 15 => {
                return Err(format!("{number} may have been rounded by TOML: write it in quotes"));
            }
            other => other.to_string(),
        };
        let mut bytes = Vec::new();
        let parsed = scalar::parse(kind, &text, &mut bytes);
        let why = |why: &dyn std::fmt::Display| {
            format!("found {value}, but the field's type is {}: {why}", named(kind))
        };
        let parsed = parsed.map_err(|not| why(&not))?;
        Owned::of(parsed).ok_or_else(|| why(&"no rule can name such a value"))
    }

    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Owned::Bool(value) => Value::Bool(*value),
            Owned::Int(value) => Value::Int(*value),
            Owned::Float(value) => Value::Float(*value),
            Owned::Text(value) => Value::Text(value),
            Owned::Timestamp(value) => Value::Timestamp(*value),
            Owned::Decimal(units, scale) => Value::Decimal(*units, *scale),
        }
    }

    /// How a value of the same type compares with it.
    pub(super) fn against(&self, value: Value<'_>) -> Option<Ordering> {
        Some(match (value, self) {
            (Value::Bool(one), Owned::Bool(two)) => one.cmp(two),
            (Value::Int(one), Owned::Int(two)) => one.cmp(two),
            (Value::Float(one), Owned::Float(two)) => one.cmp(two),
            (Value::Text(one), Owned::Text(two)) => one.cmp(two.as_str()),
            (Value::Timestamp(one), Owned::Timestamp(two)) => one.cmp(two),
            // Both have the scale of the field's type.
            (Value::Decimal(one, _), Owned::Decimal(two, _)) => one.cmp(two),
            _ => return None,
        })
    }
}

/// How many digits a number has but for zeros before and behind them: 15 are sure to be what was written.
fn digits(number: &str) -> usize {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len()
}
