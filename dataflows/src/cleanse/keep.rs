//! `[[keep]]`: which records come out at all.

use std::cmp::Ordering;

use regex::Regex;

use super::field::{Field, named, parse_pattern};
use super::value::Owned;
use crate::rows::{Kind, Value};
use crate::rule_file::Rule;

/// The keys of a rule that keeps: `field` and one of the others.
pub(super) const KEYS: &[&str] = &["field", "equals", "pattern", "min", "max", "exists"];

/// What a field has to be, or its record is left out.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    /// Which of the fields.
    pub(super) field: usize,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Equals(Owned),
    Pattern(Regex),
    Min(Owned),
    Max(Owned),
    Exists(bool),
}

impl Keep {
    /// Reads a rule of one of these fields.
    ///
    /// # Errors
    /// If it can't be: names the key and what to do.
    pub(super) fn parse(rule: &mut Rule, fields: &[Field]) -> Result<Self, String> {
        let name = rule.needed("field")?;
        rule.call(&name);
        let Some(field) = fields.iter().position(|field| field.name == name) else {
            let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
            let why = format_args!("there is no field {name:?}, but {}", names.join(", "));
            return Err(rule.wrong_key("field", why));
        };
        let kind = &fields[field].kind;
        let mut tests = Vec::new();
        for (key, test) in
            [("equals", Test::Equals as fn(Owned) -> Test), ("min", Test::Min), ("max", Test::Max)]
        {
            let Some(value) = rule.take(key) else { continue };
            if key != "equals" && matches!(kind, Kind::Text | Kind::Bool) {
                let why = format_args!(
                    "it is for numbers and times, but the field's type is {}: use pattern or equals",
                    named(kind)
                );
                return Err(rule.wrong_key(key, why));
            }
            tests.push(test(Owned::parse(&value, kind).map_err(|why| rule.wrong_key(key, why))?));
        }
        if let Some(pattern) = parse_pattern(rule)? {
            if *kind != Kind::Text {
                let why = format_args!("it is for text, but the field's type is {}", named(kind));
                return Err(rule.wrong_key("pattern", why));
            }
            tests.push(Test::Pattern(pattern));
        }
        match rule.take("exists") {
            None => {}
            Some(toml::Value::Boolean(exists)) => tests.push(Test::Exists(exists)),
            Some(_) => return Err(rule.wrong_key("exists", "expected true or false")),
        }
        rule.is_spelt()?;
        let found = tests.len();
        match (tests.pop(), found) {
            (Some(test), 1) => Ok(Keep { field, test }),
            _ => Err(rule.wrong(format_args!(
                "it has {found} of equals, pattern, min, max and exists: write one, and a [[keep]] for each other one"
            ))),
        }
    }

    /// Is a record kept whose field has this value?
    pub(super) fn keeps(&self, value: Option<Value<'_>>) -> bool {
        let against = |bound: &Owned| value.and_then(|value| bound.against(value));
        match &self.test {
            Test::Equals(bound) => against(bound) == Some(Ordering::Equal),
            Test::Min(bound) => against(bound).is_some_and(Ordering::is_ge),
            Test::Max(bound) => against(bound).is_some_and(Ordering::is_le),
            Test::Pattern(pattern) => matches!(value, Some(Value::Text(text)) if pattern.is_match(text)),
            Test::Exists(exists) => value.is_some() == *exists,
        }
    }
}
