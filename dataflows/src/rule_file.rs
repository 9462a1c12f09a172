//! Files of rules: TOML whose tables are rules. A mistake is told by file, table and key, with what was found and what to do.

use std::time::Duration;

use toml::{Table, Value};

use crate::duration;

/// One table of a file of rules.
pub(crate) struct Rule {
    /// The file, the table and its number: what a mistake begins with.
    place: String,
    table: Table,
    known: &'static [&'static str],
}

/// The tables of a kind that a file may have, `[[name]]`, and the keys that they may have.
pub(crate) type Kinds = [(&'static str, &'static [&'static str])];

/// Reads the tables of a file, of each kind those that there are.
///
/// # Errors
/// If the file can't be read, is no TOML, or has something else in it.
pub(crate) fn read(path: &str, kinds: &Kinds) -> Result<Vec<Vec<Rule>>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    parse(path, &text, kinds)
}

/// As [`read`], of a text.
pub(crate) fn parse(file: &str, text: &str, kinds: &Kinds) -> Result<Vec<Vec<Rule>>, String> {
    let mut all: Table = text.parse().map_err(|error| format!("{file}: {}", shown(&error)))?;
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    let mut found = Vec::new();
    for (name, known) in kinds {
        let tables = match all.remove(*name) {
            None => Vec::new(),
            Some(Value::Array(tables)) => tables,
            Some(_) => {
                return Err(format!("{file}: {name} is one table or value: write [[{name}]] above each"));
            }
        };
        let rule = |(number, table): (usize, Value)| match table {
            Value::Table(table) => Ok(Rule { place: format!("{file}: [[{name}]] {number}"), table, known }),
            other => {
                Err(format!("{file}: {name} {number} is {}, not a table: write [[{name}]]", kind(&other)))
            }
        };
        found.push((1..).zip(tables).map(rule).collect::<Result<_, String>>()?);
    }
    match all.keys().next() {
        Some(other) => Err(format!("{file}: {}", unknown("there are no rules", other, &names))),
        None => Ok(found),
    }
}

/// A mistake of TOML, in one line.
fn shown(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Says that there is no such name, and which one may be meant.
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), *known)).min();
    match near {
        Some((distance, near)) if distance <= 2 => format!("{what} {name:?}; did you mean {near:?}?"),
        _ => format!("{what} {name:?}, but {}", known.join(", ")),
    }
}

/// What a value is, in words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a floating-point number",
        Value::Boolean(_) => "a truth value",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}

impl Rule {
    /// Adds the rule's name to what its mistakes begin with.
    pub(crate) fn call(&mut self, name: &str) {
        self.place = format!("{} ({name:?})", self.place);
    }

    /// A mistake of the rule.
    pub(crate) fn wrong(&self, why: impl std::fmt::Display) -> String {
        format!("{}: {why}", self.place)
    }

    /// A mistake of a key's value.
    pub(crate) fn wrong_key(&self, key: &str, why: impl std::fmt::Display) -> String {
        format!("{}, key {key:?}: {why}", self.place)
    }

    /// Takes the value of a key.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        debug_assert!(self.known.contains(&key), "{key} is not among the keys that there may be");
        self.table.remove(key)
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong_key(key, format_args!("expected text, found {}", kind(&other)))),
        }
    }

    /// Takes a text that has to be there.
    pub(crate) fn needed(&mut self, key: &str) -> Result<String, String> {
        self.text(key)?.ok_or_else(|| self.wrong(format_args!("it has no {key:?}: add one")))
    }

    /// Takes an integer.
    pub(crate) fn integer(&mut self, key: &str) -> Result<Option<i64>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Integer(number)) => Ok(Some(number)),
            Some(other) => {
                Err(self.wrong_key(key, format_args!("expected an integer, found {}", kind(&other))))
            }
        }
    }

    /// Takes a duration, as options have them.
    pub(crate) fn duration(&mut self, key: &str) -> Result<Option<Duration>, String> {
        const EXPECTED: &str = "expected a duration in quotes, such as \"90s\" or \"1h 30m\"";
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let wrong = |why| self.wrong_key(key, format_args!("{EXPECTED}, found {text:?}: {why}"));
                duration::parse(&text).map(Some).map_err(wrong)
            }
            Some(other) => Err(self.wrong_key(key, format_args!("{EXPECTED}, found {}", kind(&other)))),
        }
    }

    /// Takes a truth value; false where there is none.
    pub(crate) fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Boolean(flag)) => Ok(flag),
            Some(other) => {
                Err(self.wrong_key(key, format_args!("expected true or false, found {}", kind(&other))))
            }
        }
    }

    /// All keys that are left are some that there may be. Asked before they are taken, it finds one that seems to be missing
    /// and is misspelt.
    ///
    /// # Errors
    /// If there are others.
    pub(crate) fn is_spelt(&self) -> Result<(), String> {
        match self.table.keys().find(|key| !self.known.contains(&key.as_str())) {
            Some(key) => Err(self.wrong(unknown("there is no key", key, self.known))),
            None => Ok(()),
        }
    }
}
