//! The rules of alarms, as a file has them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::rule_file::{self, Rule};

/// The rules of a file. Their debug form is that of what is in it, wherever it is: a state is of these rules.
#[derive(Clone)]
pub struct Rules(Arc<[AlarmRule]>);

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// When the alarm of a source is raised and cleared.
#[derive(Clone, Debug)]
pub struct AlarmRule {
    /// Tells it from other rules.
    pub name: String,
    /// Which events count.
    pub kind: Kinds,
    /// The sliding window in which they are counted.
    pub window: Duration,
    /// Raised when there are more than that,
    pub raise_above: i64,
    /// cleared when there are fewer than that.
    pub clear_below: i64,
    /// How long there must be too many before it is raised.
    pub hold: Duration,
}

const KEYS: &[&str] = &["name", "kind", "window", "raise-above", "clear-below", "hold"];
/// The tables of a file of rules.
const KINDS: &rule_file::Kinds = &[("rule", KEYS)];

impl Rules {
    /// Reads a file.
    ///
    /// # Errors
    /// If it can't be read, or a rule can't be: the error names file, rule and key, says what was found and what to do.
    pub fn read(path: &str) -> Result<Self, String> {
        Rules::of(path, rule_file::read(path, KINDS)?)
    }

    /// As [`Rules::read`], of a text; `file` is what mistakes call it.
    ///
    /// # Errors
    /// As [`Rules::read`].
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        Rules::of(file, rule_file::parse(file, text, KINDS)?)
    }

    fn of(file: &str, tables: Vec<Vec<Rule>>) -> Result<Self, String> {
        let mut rules: Vec<AlarmRule> = Vec::new();
        for mut table in tables.into_iter().flatten() {
            let rule = AlarmRule::parse(&mut table)?;
            if rules.iter().any(|other| other.name == rule.name) {
                return Err(table.wrong_key("name", "another rule has that name: choose another"));
            }
            rules.push(rule);
        }
        if rules.is_empty() {
            return Err(format!(
                "{file}: it has no [[rule]], so no alarm would be raised: write one, with {}",
                KEYS.join(", ")
            ));
        }
        Ok(Rules(rules.into()))
    }

    /// The rules, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &AlarmRule> {
        self.0.iter()
    }
}

impl AlarmRule {
    fn parse(table: &mut Rule) -> Result<Self, String> {
        table.is_spelt()?;
        let name = table.needed("name")?;
        if name.is_empty() {
            return Err(
                table.wrong_key("name", "it is empty: write one, which is the column rule of the alarms")
            );
        }
        table.call(&name);
        let pattern = table.needed("kind")?;
        let kind = Kinds::new(&pattern).map_err(|why| {
            table.wrong_key("kind", format_args!("expected a regular expression, found {pattern:?}: {why}"))
        })?;
        let window = table.duration("window")?;
        let window = window.ok_or_else(|| missing(table, "window", "\"5m\""))?;
        if window.is_zero() {
            return Err(table.wrong_key(
                "window",
                "it is 0, and no event would be in it: write how long events are counted",
            ));
        }
        let raise_above = table.integer("raise-above")?;
        let raise_above = raise_above.ok_or_else(|| missing(table, "raise-above", "10"))?;
        if raise_above < 0 {
            let why = format!(
                "expected 0 or more, found {raise_above}: an alarm without any event would never be cleared"
            );
            return Err(table.wrong_key("raise-above", why));
        }
        let most = raise_above.saturating_add(1);
        let clear_below = table.integer("clear-below")?.unwrap_or(most);
        if !(1..=most).contains(&clear_below) {
            let why = format!(
                "expected 1 to {most}, found {clear_below}: with less it would never be cleared, and with more, as many events \
                 would both raise and clear it"
            );
            return Err(table.wrong_key("clear-below", why));
        }
        let hold = table.duration("hold")?.unwrap_or_default();
        Ok(AlarmRule { name, kind, window, raise_above, clear_below, hold })
    }
}

fn missing(table: &Rule, key: &str, example: &str) -> String {
    table.wrong(format_args!("it has no {key:?}: add one, {key} = {example} say"))
}

/// Which kinds of events a rule is about.
#[derive(Clone)]
pub struct Kinds {
    pattern: String,
    /// `None` where the pattern is a kind as it is.
    regex: Option<Regex>,
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.pattern, f)
    }
}

impl Kinds {
    /// Those that a regular expression matches from their beginning to their end.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let regex = pattern.contains(|c| r"\.+*?()|[]{}^$".contains(c));
        let regex = regex.then(|| {
            let whole = |end: &str| Regex::new(&format!("^(?:{pattern}{end})$"));
            // What is wrong is said of what was written. With (?x), it may end in a comment, and that with its line.
            Regex::new(pattern).and_then(|_| whole("").or_else(|_| whole("\n")))
        });
        let regex = regex.transpose().map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        })?;
        Ok(Kinds { pattern: pattern.to_owned(), regex })
    }

    /// True iff it is one of them.
    pub fn is_match(&self, kind: &str) -> bool {
        self.regex.as_ref().map_or(kind == self.pattern, |regex| regex.is_match(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> String {
        format!("[[rule]]\n{text}\n")
    }

    #[test]
    fn rules_are_read_with_their_defaults_and_known_by_what_is_in_them() {
        let text = rule("name = \"a\"\nkind = \"x-.*\"\nwindow = \"5m\"\nraise-above = 3");
        let text = text
            + &rule(
                "name = \"b\"\nkind = \"y\"\nwindow = \"1s\"\nraise-above = 0\nclear-below = 1\nhold = \"2s\"",
            );
        let rules = Rules::parse("r.toml", &text).unwrap();
        let rule = rules.iter().next().unwrap();
        assert_eq!((rule.clear_below, rule.hold), (4, Duration::ZERO));
        assert_eq!(format!("{rules:?}"), format!("{:?}", Rules::parse("elsewhere.toml", &text).unwrap()));
        assert!(
            format!("{rules:?}")
                .contains(r#"name: "b", kind: "y", window: 1s, raise_above: 0, clear_below: 1, hold: 2s"#)
        );
    }

    #[test]
    fn a_kind_is_matched_from_its_beginning_to_its_end() {
        let is_match = |pattern: &str, kind: &str| Kinds::new(pattern).unwrap().is_match(kind);
        assert!(is_match("login-failed", "login-failed") && !is_match("login-failed", "login-failed-twice"));
        assert!(is_match("a|bc", "bc") && !is_match("a|bc", "abc"));
        assert!(is_match("login-.*", "login-failed") && !is_match("login-.*", "no-login-failed"));
        assert!(is_match("^x$", "x") && is_match(".*", ""));
        assert!(is_match("(?x) a b # in short", "ab") && !is_match("(?x) a b # in short", "abc"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_to_do() {
        let good = "name = \"a\"\nkind = \"k\"\nwindow = \"5m\"\nraise-above = 3";
        let with = |from: &str, to: &str| Rules::parse("r.toml", &rule(&good.replace(from, to))).unwrap_err();
        for (from, to, why) in [
            (
                "raise-above",
                "raise_above",
                ": there is no key \"raise_above\"; did you mean \"raise-above\"?",
            ),
            ("name = \"a\"", "", ": it has no \"name\": add one"),
            (
                "\"a\"",
                "\"\"",
                ", key \"name\": it is empty: write one, which is the column rule of the alarms",
            ),
            ("window = \"5m\"", "", " (\"a\"): it has no \"window\": add one, window = \"5m\" say"),
            ("raise-above = 3", "", " (\"a\"): it has no \"raise-above\": add one, raise-above = 10 say"),
            (
                "\"5m\"",
                "5",
                " (\"a\"), key \"window\": expected a duration in quotes, such as \"90s\" or \"1h 30m\", found an integer",
            ),
            ("3", "\"3\"", " (\"a\"), key \"raise-above\": expected an integer, found text"),
            (
                "3",
                "-1",
                " (\"a\"), key \"raise-above\": expected 0 or more, found -1: an alarm without any event would never be cleared",
            ),
        ] {
            assert_eq!(with(from, to), format!("r.toml: [[rule]] 1{why}"));
        }
        for (from, to, why) in [
            (
                "\"5m\"",
                "\"5x\"",
                "key \"window\": expected a duration in quotes, such as \"90s\" or \"1h 30m\", found \"5x\": ",
            ),
            ("\"5m\"", "\"0s\"", "key \"window\": it is 0"),
            ("\"k\"", "\"k(\"", "key \"kind\": expected a regular expression, found \"k(\": unclosed group"),
            ("3", "3\nclear-below = 5", "key \"clear-below\": expected 1 to 4, found 5: "),
            ("3", "3\nclear-below = 0", "key \"clear-below\": expected 1 to 4, found 0: "),
        ] {
            let error = with(from, to);
            assert!(error.starts_with(&format!("r.toml: [[rule]] 1 (\"a\"), {why}")), "{error}");
        }
        let twice = Rules::parse("r.toml", &(rule(good) + &rule(good))).unwrap_err();
        assert_eq!(
            twice,
            "r.toml: [[rule]] 2 (\"a\"), key \"name\": another rule has that name: choose another"
        );
        assert!(Rules::parse("r.toml", "").unwrap_err().starts_with("r.toml: it has no [[rule]]"));
        let missing = Rules::read("no/such/rules.toml").unwrap_err();
        assert!(missing.starts_with("no/such/rules.toml: "), "{missing}");
    }
}
