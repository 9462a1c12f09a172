//! `[[field]]`: a column, where its value is found, and what it has to be.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::Regex;

use super::value::Owned;
use crate::format::scalar;
use crate::record::Malformed;
use crate::rows::{Kind, Value};
use crate::rule_file::Rule;

/// The keys of a field.
pub(super) const KEYS: &[&str] =
    &["name", "from", "type", "default", "required", "trim", "lower", "pattern", "min", "max", "one-of"];

/// A field of the rows that come out.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// The path of its value.
    pub(super) from: String,
    /// Where that stands in a row that is read.
    pub(super) column: usize,
    pub(super) kind: Kind,
    default: Option<Owned>,
    required: bool,
    trim: bool,
    lower: bool,
    pattern: Option<Regex>,
    min: Option<Owned>,
    max: Option<Owned>,
    one_of: Vec<Owned>,
}

impl Field {
    /// Reads a rule.
    ///
    /// # Errors
    /// If it can't be: names the key and what to do.
    pub(super) fn parse(rule: &mut Rule) -> Result<Self, String> {
        let name = rule.needed("name")?;
        rule.call(&name);
        let from = rule.text("from")?.unwrap_or_else(|| name.clone());
        if from.split('.').any(str::is_empty) {
            let why =
                format_args!("{from:?} is no path: write the names of fields with a dot between them, a.b");
            return Err(rule.wrong_key("from", why));
        }
        let kind = parse_kind(rule)?;
        let mut value = |key: &str| {
            let value = rule.take(key);
            value.map(|value| Owned::parse(&value, &kind).map_err(|why| rule.wrong_key(key, why))).transpose()
        };
        let (default, min, max) = (value("default")?, value("min")?, value("max")?);
        let one_of = parse_one_of(rule, &kind)?;
        let (required, trim, lower) = (rule.flag("required")?, rule.flag("trim")?, rule.flag("lower")?);
        let pattern = parse_pattern(rule)?;
        rule.is_spelt()?;
        let field =
            Field { name, from, column: 0, kind, default, required, trim, lower, pattern, min, max, one_of };
        field.check(rule)?;
        Ok(field)
    }

    /// Looks for keys that can't be together.
    fn check(&self, rule: &Rule) -> Result<(), String> {
        let is_text = self.kind == Kind::Text;
        let no_text = |key| {
            rule.wrong_key(key, format_args!("it is for text, but the field's type is {}", named(&self.kind)))
        };
        match self {
            Field { lower: true, .. } if !is_text => return Err(no_text("lower")),
            Field { pattern: Some(_), .. } if !is_text => return Err(no_text("pattern")),
            Field { default: Some(_), required: true, .. } => {
                return Err(rule
                    .wrong_key("required", "with a default, nothing is missing: leave one of the two out"));
            }
            _ => {}
        }
        if is_text || self.kind == Kind::Bool {
            let bound =
                [("min", &self.min), ("max", &self.max)].into_iter().find(|(_, bound)| bound.is_some());
            if let Some((key, _)) = bound {
                let why = format_args!(
                    "it is for numbers and times, but the field's type is {}: use pattern or one-of",
                    named(&self.kind)
                );
                return Err(rule.wrong_key(key, why));
            }
        }
        if let (Some(min), Some(max)) = (&self.min, &self.max)
            && max.against(min.value()) == Some(Ordering::Greater)
        {
            return Err(rule.wrong_key("min", "it is more than max, so no value is right: swap them"));
        }
        if let Some(default) = &self.default {
            self.allows(default.value()).map_err(|why| {
                rule.wrong_key("default", format_args!("{why}: choose one that the rule allows"))
            })?;
        }
        Ok(())
    }

    /// The value that the field has, where its text is this; `None` where it is missing.
    ///
    /// # Errors
    /// If it breaks the rule: names the field.
    pub(super) fn value<'a>(
        &'a self,
        text: Option<&'a str>,
        scratch: &'a mut Scratch,
    ) -> Result<Option<Value<'a>>, Malformed> {
        let wrong = |why: &dyn std::fmt::Display| Malformed(format!("{}: {why}", self.name).into());
        let text = if self.trim { text.map(str::trim).filter(|text| !text.is_empty()) } else { text };
        let Some(text) = text else {
            return match &self.default {
                None if self.required => Err(wrong(&"it is missing")),
                default => Ok(default.as_ref().map(Owned::value)),
            };
        };
        scratch.text = if self.lower { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed("") };
        let text = if self.lower { &*scratch.text } else { text };
        let value = scalar::parse(&self.kind, text, &mut scratch.bytes).map_err(|why| wrong(&why))?;
        self.allows(value).map_err(|why| wrong(&why))?;
        Ok(Some(value))
    }

    /// Does the rule allow this value?
    fn allows(&self, value: Value<'_>) -> Result<(), &'static str> {
        if let (Some(pattern), Value::Text(text)) = (&self.pattern, value)
            && !pattern.is_match(text)
        {
            return Err("it does not match the pattern");
        }
        if self.min.as_ref().and_then(|min| min.against(value)) == Some(Ordering::Less) {
            return Err("it is less than min");
        }
        if self.max.as_ref().and_then(|max| max.against(value)) == Some(Ordering::Greater) {
            return Err("it is more than max");
        }
        let is_one = |one: &Owned| one.against(value) == Some(Ordering::Equal);
        if !self.one_of.is_empty() && !self.one_of.iter().any(is_one) {
            return Err("it is none of one-of");
        }
        Ok(())
    }
}

/// Memory of values that are not in the record as they are.
#[derive(Default)]
pub(super) struct Scratch {
    text: Cow<'static, str>,
    bytes: Vec<u8>,
}

/// A type as a file of rules names it.
pub(super) fn named(kind: &Kind) -> String {
    match kind {
        Kind::Int => "int".to_owned(),
        Kind::Float => "float".to_owned(),
        kind => kind.to_string(),
    }
}

fn parse_kind(rule: &mut Rule) -> Result<Kind, String> {
    const TYPES: &str = "text, int, float, decimal(N), bool and timestamp";
    let text = rule.text("type")?.unwrap_or_else(|| "text".to_owned());
    let scale = text.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
    Ok(match (text.as_str(), scale) {
        ("text", _) => Kind::Text,
        ("int", _) => Kind::Int,
        ("float", _) => Kind::Float,
        ("bool", _) => Kind::Bool,
        ("timestamp", _) => Kind::Timestamp,
        (_, Some(scale)) => match scale.trim().parse() {
            Ok(scale) if scale <= MOST_DIGITS => Kind::Decimal(scale),
            _ => {
                let why = format_args!(
                    "found {text:?}: write the digits after the point, from decimal(0) to decimal({MOST_DIGITS})"
                );
                return Err(rule.wrong_key("type", why));
            }
        },
        _ => return Err(rule.wrong_key("type", format_args!("found {text:?}, but there are {TYPES}"))),
    })
}

/// Digits of a decimal after its point, at most: what is sure to be read.
const MOST_DIGITS: u8 = 28;

fn parse_one_of(rule: &mut Rule, kind: &Kind) -> Result<Vec<Owned>, String> {
    let values = match rule.take("one-of") {
        None => return Ok(Vec::new()),
        Some(toml::Value::Array(values)) if !values.is_empty() => values,
        Some(_) => return Err(rule.wrong_key("one-of", "expected an array of values, [\"a\", \"b\"]")),
    };
    values
        .iter()
        .map(|value| Owned::parse(value, kind).map_err(|why| rule.wrong_key("one-of", why)))
        .collect()
}

/// Takes a regular expression.
pub(super) fn parse_pattern(rule: &mut Rule) -> Result<Option<Regex>, String> {
    let Some(text) = rule.text("pattern")? else { return Ok(None) };
    let pattern = Regex::new(&text);
    let why = |error: regex::Error| {
        let last = error.to_string().lines().last().unwrap_or_default().to_owned();
        rule.wrong_key("pattern", format_args!("{text:?} is no regular expression: {last}"))
    };
    pattern.map(Some).map_err(why)
}
