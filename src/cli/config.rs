//! The configuration file: options by their long names. What it says becomes the default of the option, so that
//! flags and the environment win and one parser checks both.

use std::ffi::OsString;
use std::ops::Range;

use anyhow::{Context as _, Result};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::de::{DeInteger, DeTable, DeValue};

use super::{Usage, usage};

/// What a configuration file has set: for errors that are found later, and name an option.
#[derive(Debug, Default)]
pub(super) struct Applied {
    file: String,
    /// The option of each key, as its id and long name, with the line on which its value stands.
    options: Vec<(clap::Id, String, usize)>,
}

/// Applies the file that `--config` names, if the arguments name one.
///
/// # Errors
/// If it can't be read, names an option that the chosen subcommand doesn't have, or has a value that can't be: each names
/// the file and the line.
pub(super) fn apply(command: Command, args: &[OsString]) -> Result<(Command, Applied)> {
    // A first look for the file and the subcommand; what else is wrong is found by the second.
    let none = Applied::default();
    let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(args) else {
        return Ok((command, none));
    };
    let Some((name, matches)) = matches.subcommand() else { return Ok((command, none)) };
    let below = matches.subcommand();
    let path = below
        .and_then(|(_, matches)| matches.get_one::<std::path::PathBuf>("config"))
        .or_else(|| matches.get_one("config"));
    let Some(path) = path else { return Ok((command, none)) };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading --config {file}"))?;
    let inner = below.map(|(name, _)| name.to_owned());
    fill(command, name, inner.as_deref(), &file, &text)
}

/// Makes the values that `text` has the defaults of the options of a subcommand, and of the one below that.
fn fill(
    command: Command,
    name: &str,
    inner: Option<&str>,
    file: &str,
    text: &str,
) -> Result<(Command, Applied)> {
    let line = |span: &Range<usize>| text[..span.start.min(text.len())].matches('\n').count() + 1;
    let wrong = |line: usize, why: &str| usage(format!("--config {file}, line {line}: {why}"));
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().as_ref().map_or(1, line);
        wrong(at, &format!("this is not TOML: {}", error.message().replace('\n', ", ")))
    })?;
    let mut command = command;
    let mut applied = Applied { file: file.to_owned(), options: Vec::new() };
    // In the order of the file: the first fault is the one that is told.
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let (line, key) = (line(&key.span()), key.into_inner());
        let wrong = |why: String| wrong(line, &why);
        let values = values(&key, value.get_ref()).map_err(wrong)?;
        let id;
        (command, id) = set(command, name, inner, &key, values).map_err(wrong)?;
        applied.options.push((id, key.into_owned(), line));
    }
    Ok((command, applied))
}

impl Applied {
    /// Adds to a usage error of a value that came from the file where it stands: the error begins with the option's name,
    /// and `matches` say that nothing else has set it.
    pub(super) fn locate(&self, error: anyhow::Error, matches: &ArgMatches) -> anyhow::Error {
        let Some(Usage(text)) = error.downcast_ref() else { return error };
        let named = |long: &str| {
            let rest = text.strip_prefix("--").and_then(|text| text.strip_prefix(long));
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
        };
        let levels = std::iter::successors(Some(matches), |matches| Some(matches.subcommand()?.1));
        let levels: Vec<&ArgMatches> = levels.collect();
        let ours = |id: &clap::Id| {
            let known = levels.iter().filter(|matches| matches.try_contains_id(id.as_str()).is_ok());
            let mut sources = known.filter_map(|matches| matches.value_source(id.as_str())).peekable();
            sources.peek().is_some() && sources.all(|source| source == ValueSource::DefaultValue)
        };
        match self.options.iter().find(|(id, long, _)| named(long) && ours(id)) {
            Some((_, long, line)) => usage(format!("{text} ({long} is set in {}, line {line})", self.file)),
            None => error,
        }
    }
}

/// Makes `values` the default of option `key`, of the program, its subcommand, or the one below that.
fn set(
    command: Command,
    name: &str,
    inner: Option<&str>,
    key: &str,
    values: Vec<String>,
) -> Result<(Command, clap::Id), String> {
    let subcommand = command.find_subcommand(name).ok_or("no such subcommand")?;
    let innermost = inner.and_then(|inner| subcommand.find_subcommand(inner));
    if key == "config" {
        return Err("config: a configuration file can't name another".to_owned());
    }
    let option = |command: &Command| command.get_arguments().find(|arg| arg.get_long() == Some(key)).cloned();
    if let Some(arg) = option(&command) {
        check(&arg, key, &values)?;
        let id = arg.get_id().clone();
        return Ok((command.mut_arg(&id, |arg| default(arg, values)), id));
    }
    if let Some(arg) = option(subcommand) {
        check(&arg, key, &values)?;
        let id = arg.get_id().clone();
        return Ok((command.mut_subcommand(name, |c| c.mut_arg(&id, |arg| default(arg, values))), id));
    }
    if let (Some(innermost), Some(inner)) = (innermost, inner)
        && let Some(arg) = option(innermost)
    {
        check(&arg, key, &values)?;
        let id = arg.get_id().clone();
        let command = command.mut_subcommand(name, |c| {
            c.mut_subcommand(inner, |c| c.mut_arg(&id, |arg| default(arg, values)))
        });
        return Ok((command, id));
    }
    let known = [Some(&command), Some(subcommand), innermost];
    let close = known
        .into_iter()
        .flatten()
        .flat_map(Command::get_arguments)
        .filter_map(Arg::get_long)
        .map(|long| (strsim::jaro_winkler(long, key), long))
        .filter(|&(likeness, _)| likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Err(match close {
        Some((_, long)) => format!("{key}: there is no such option; did you mean {long}?"),
        None => format!("{key}: there is no such option"),
    })
}

/// Checks values as if they were typed: later, nobody could tell that they were not.
fn check(arg: &Arg, key: &str, values: &[String]) -> Result<(), String> {
    match arg.get_action() {
        ArgAction::SetTrue => match values {
            [value] if value == "true" || value == "false" => Ok(()),
            values => Err(format!("{key}: expected true or false, but it is {:?}", values.join(", "))),
        },
        action if !matches!(action, ArgAction::Append) && values.len() != 1 => {
            Err(format!("{key}: expected one value, but there are {}", values.len()))
        }
        _ => {
            let alone = Command::new("config").no_binary_name(true).disable_help_flag(true).arg(arg.clone());
            let typed = values.iter().map(|value| format!("--{key}={value}"));
            match alone.try_get_matches_from(typed) {
                Err(error) if TYPED.contains(&error.kind()) => Err(format!("{key}: {}", reason(&error))),
                _ => Ok(()),
            }
        }
    }
}

/// What is wrong with a value that can't be.
const TYPED: [ErrorKind; 3] = [ErrorKind::InvalidValue, ErrorKind::ValueValidation, ErrorKind::NoEquals];

/// What clap says of a value, on one line.
fn reason(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.trim_start_matches("error: ").lines().map(str::trim);
    let lines = lines.take_while(|line| !line.starts_with("For more information"));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn default(arg: Arg, values: Vec<String>) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg.default_value(values.into_iter().next().unwrap_or_else(|| "true".into())),
        _ => arg.default_values(values).required(false),
    }
}

/// The values of an option: one, several from an array, or `key=value` from each entry of a table.
fn values(key: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let one = |value: &DeValue<'_>| match value {
        DeValue::String(text) => expand(text).map_err(|error| format!("{key}: {error}")),
        DeValue::Integer(number) => Ok(decimal(number)),
        DeValue::Float(number) => Ok(number.to_string().replace('_', "")),
        DeValue::Boolean(yes) => Ok(yes.to_string()),
        other => Err(format!("{key}: {} is not a value of an option", kind(other))),
    };
    match value {
        DeValue::Array(values) => values.iter().map(|value| one(value.get_ref())).collect(),
        DeValue::Table(table) => table
            .iter()
            .map(|(name, value)| Ok(format!("{}={}", name.get_ref(), one(value.get_ref())?)))
            .collect(),
        value => Ok(vec![one(value)?]),
    }
}

/// A whole number in decimal digits; one that is larger than any option takes stays as it is.
fn decimal(number: &DeInteger<'_>) -> String {
    let digits = number.as_str().replace('_', "");
    i128::from_str_radix(&digits, number.radix()).map_or(digits, |number| number.to_string())
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "an array in an array or table",
        DeValue::Table(_) => "a table in an array or table",
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => "this",
    }
}

/// Puts environment variables in the place of `${NAME}`: secrets don't belong in files.
fn expand(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("{text:?}: ${{ without }}"))?;
        out += before;
        out += &std::env::var(name).map_err(|_| format!("{text:?}: the environment has no {name}"))?;
        rest = after;
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Command {
        Command::new("c").subcommand(
            Command::new("run")
                .arg(Arg::new("workers").long("workers").default_value("1"))
                .arg(Arg::new("number").long("number").value_parser(clap::value_parser!(u8)))
                .arg(Arg::new("topic").long("topic").action(ArgAction::Append))
                .arg(Arg::new("until_end").long("until-end").action(ArgAction::SetTrue))
                .subcommand(Command::new("flow").arg(Arg::new("tokenizer").long("tokenizer"))),
        )
    }

    fn run(file: &str, args: &[&str]) -> Result<clap::ArgMatches, String> {
        let (command, _) =
            fill(sample(), "run", Some("flow"), "job.toml", file).map_err(|e| e.to_string())?;
        let args = ["c", "run"].iter().chain(args);
        Ok(command.try_get_matches_from(args).unwrap().subcommand().unwrap().1.clone())
    }

    #[test]
    fn the_file_gives_defaults_and_flags_win() {
        let file = "workers = 2\ntopic = [\"a\", \"b\"]\nuntil-end = true\ntokenizer = \"unicode\"";
        let matches = run(file, &["flow"]).unwrap();
        assert_eq!(matches.get_one::<String>("workers").unwrap(), "2");
        assert_eq!(matches.get_many::<String>("topic").unwrap().collect::<Vec<_>>(), ["a", "b"]);
        assert!(matches.get_flag("until_end"));
        let flow = matches.subcommand().unwrap().1;
        assert_eq!(flow.get_one::<String>("tokenizer").unwrap(), "unicode");
        let matches = run(file, &["--workers", "3", "--topic", "c", "flow"]).unwrap();
        assert_eq!(matches.get_one::<String>("workers").unwrap(), "3");
        assert_eq!(matches.get_many::<String>("topic").unwrap().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_a_close_one() {
        assert_eq!(
            run("worker = 2", &["flow"]).unwrap_err(),
            "--config job.toml, line 1: worker: there is no such option; did you mean workers?"
        );
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_file_line_and_key() {
        for (file, why) in [
            ("# one\nnumber = \"x\"", "line 2: number: invalid value 'x' for '--number <number>'"),
            (
                "number = 256",
                "line 1: number: invalid value '256' for '--number <number>': 256 is not in 0..=255",
            ),
            ("\n\nnumber = [1, 2]", "line 3: number: expected one value, but there are 2"),
            ("until-end = \"perhaps\"", "line 1: until-end: expected true or false, but it is \"perhaps\""),
            ("workers = 2\nnumber = ", "line 2: this is not TOML"),
            ("number = 1979-05-27", "line 1: number: a time is not a value of an option"),
            ("number = \"${CUTWATER_NO_SUCH_VARIABLE}\"", "line 1: number: \"${CUTWATER_NO_SUCH_VARIABLE}\""),
        ] {
            // A flag that wins does not hide what is wrong with the file.
            let error = run(file, &["--number", "3", "flow"]).unwrap_err();
            assert!(error.starts_with(&format!("--config job.toml, {why}")), "{error}");
        }
        let matches = run("number = 0x1_0", &["flow"]).unwrap();
        assert_eq!(matches.get_one::<u8>("number"), Some(&16));
    }

    #[test]
    fn an_error_that_is_found_later_is_located_where_the_file_has_the_value() {
        let (command, applied) =
            fill(sample(), "run", Some("flow"), "job.toml", "\ntopic = [\"^(\"]").unwrap();
        let located = |args: &[&str], text: &str| {
            let matches = command.clone().try_get_matches_from(args).unwrap();
            applied.locate(usage(text), &matches).to_string()
        };
        let wrong = "--topic ^(: not a regular expression";
        let there = format!("{wrong} (topic is set in job.toml, line 2)");
        assert_eq!(located(&["c", "run", "flow"], wrong), there);
        assert_eq!(located(&["c", "run", "--topic", "^(", "flow"], wrong), wrong, "it was typed");
        assert_eq!(located(&["c", "run", "flow"], "--topics: no"), "--topics: no", "another option");
    }

    #[test]
    fn secrets_come_from_the_environment() {
        // Cargo sets this one for every test.
        assert_eq!(expand("a-${CARGO_PKG_NAME}-b").unwrap(), "a-cutwater-b");
        assert!(expand("${CUTWATER_NO_SUCH_VARIABLE}").unwrap_err().contains("CUTWATER_NO_SUCH_VARIABLE"));
        assert!(expand("${x").is_err());
    }
}
