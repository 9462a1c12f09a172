//! The configuration file: options by their long names. What it says becomes the default of the option, so that
//! flags and the environment win and one parser checks both.

use std::ffi::OsString;

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

use super::usage;

/// Applies the file that `--config` names, if the arguments name one.
///
/// # Errors
/// If it can't be read, or names an option that the chosen subcommand doesn't have.
pub(super) fn apply(command: Command, args: &[OsString]) -> Result<Command> {
    // A first look for the file and the subcommand; what else is wrong is found by the second.
    let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(args) else {
        return Ok(command);
    };
    let Some((name, matches)) = matches.subcommand() else { return Ok(command) };
    let below = matches.subcommand();
    let path = below
        .and_then(|(_, matches)| matches.get_one::<std::path::PathBuf>("config"))
        .or_else(|| matches.get_one("config"));
    let Some(path) = path else { return Ok(command) };
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading --config {shown}"))?;
    let table: Table = toml::from_str(&text).map_err(|error| usage(format!("--config {shown}: {error}")))?;
    let inner = below.map(|(name, _)| name.to_owned());
    let mut command = command;
    for (key, value) in table {
        let values = values(&key, &value).map_err(|error| usage(format!("--config {shown}: {error}")))?;
        command = set(command, name, inner.as_deref(), &key, values)
            .map_err(|error| usage(format!("--config {shown}: {error}")))?;
    }
    Ok(command)
}

/// Makes `values` the default of option `key`, of the program, its subcommand, or the one below that.
fn set(
    command: Command,
    name: &str,
    inner: Option<&str>,
    key: &str,
    values: Vec<String>,
) -> Result<Command, String> {
    let subcommand = command.find_subcommand(name).ok_or("no such subcommand")?;
    let innermost = inner.and_then(|inner| subcommand.find_subcommand(inner));
    let id = |command: &Command| {
        command.get_arguments().find(|arg| arg.get_long() == Some(key)).map(|arg| arg.get_id().clone())
    };
    if key == "config" {
        return Err("config: a configuration file can't name another".to_owned());
    }
    if let Some(id) = id(&command) {
        return Ok(command.mut_arg(id, |arg| default(arg, values)));
    }
    if let Some(id) = id(subcommand) {
        return Ok(command.mut_subcommand(name, |c| c.mut_arg(id, |arg| default(arg, values))));
    }
    if let (Some(innermost), Some(inner)) = (innermost, inner)
        && let Some(id) = id(innermost)
    {
        return Ok(command.mut_subcommand(name, |c| {
            c.mut_subcommand(inner, |c| c.mut_arg(id, |arg| default(arg, values)))
        }));
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

fn default(arg: Arg, values: Vec<String>) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg.default_value(values.into_iter().next().unwrap_or_else(|| "true".into())),
        _ => arg.default_values(values).required(false),
    }
}

/// The values of an option: one, several from an array, or `key=value` from each entry of a table.
fn values(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => expand(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(yes) => Ok(yes.to_string()),
        other => Err(format!("{key}: a {} is no value of an option", other.type_str())),
    };
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        Value::Table(table) => {
            table.iter().map(|(name, value)| Ok(format!("{name}={}", one(value)?))).collect()
        }
        value => Ok(vec![one(value)?]),
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
                .arg(Arg::new("topic").long("topic").action(ArgAction::Append))
                .arg(Arg::new("until_end").long("until-end").action(ArgAction::SetTrue))
                .subcommand(Command::new("flow").arg(Arg::new("tokenizer").long("tokenizer"))),
        )
    }

    fn run(file: &str, args: &[&str]) -> Result<clap::ArgMatches, String> {
        let mut command = sample();
        for (key, value) in toml::from_str::<Table>(file).unwrap() {
            command = set(command, "run", Some("flow"), &key, values(&key, &value)?)?;
        }
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
            "worker: there is no such option; did you mean workers?"
        );
    }

    #[test]
    fn secrets_come_from_the_environment() {
        // Cargo sets this one for every test.
        assert_eq!(expand("a-${CARGO_PKG_NAME}-b").unwrap(), "a-cutwater-b");
        assert!(expand("${CUTWATER_NO_SUCH_VARIABLE}").unwrap_err().contains("CUTWATER_NO_SUCH_VARIABLE"));
        assert!(expand("${x").is_err());
    }
}
