//! The configuration file: options by their long names, of the command that is run or in sections of a command each. What
//! it says becomes the default of the option, so that flags and the environment win and one parser checks both.
//!
//! ```toml
//! brokers = "kafka:9092"     # of whatever command
//! [run]                      # of `run` and of `check`, which takes the same options
//! workers = 2
//! [run.word-count]           # of `run word-count`: its own options have the same place
//! tokenizer = "unicode"
//! [produce]
//! partitions = 4
//! ```

mod value;

use std::ffi::OsString;
use std::ops::Range;

use anyhow::{Context as _, Result};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::secrets;
use crate::usage::{Usage, usage};
use value::{Placed, Wrong, values};

/// What a configuration file has set: for errors that are found later, and name an option.
#[derive(Debug, Default)]
pub(super) struct Applied {
    file: String,
    /// The option of each key; what counts comes last.
    options: Vec<Located>,
}

/// Where an option stands.
#[derive(Debug)]
struct Located {
    id: clap::Id,
    long: String,
    place: Place,
    /// Each of its values, or of the entries of its table, as it would be typed.
    values: Vec<(String, Place)>,
}

impl Located {
    /// Where the value stands that `text` is about, which begins with the option and the value, or with the option alone.
    fn place(&self, text: &str) -> Option<Place> {
        let text = text.strip_prefix("reading ").unwrap_or(text);
        let after = |option: &str| {
            let rest = text.strip_prefix("--")?.strip_prefix(option)?;
            (!rest.starts_with(|c: char| c.is_alphanumeric() || c == '-')).then_some(rest)
        };
        let pairs = ["set", "set-file"].contains(&self.long.as_str());
        // What is in a file is a property as one that is typed.
        let rest = after(&self.long).or_else(|| after("set").filter(|_| pairs))?;
        let about = rest.trim_start_matches(" of").trim_start();
        let is_about = |value: &str| {
            let whole = about.strip_prefix(value);
            let key = value.split_once('=').and_then(|(key, _)| about.strip_prefix(key));
            whole.or(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['=', ',', ':', ' ']))
        };
        let value = self.values.iter().find(|(value, _)| is_about(value)).map(|(_, place)| *place);
        value.or_else(|| after(&self.long).map(|_| self.place))
    }
}

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn of(text: &str, span: &Range<usize>) -> Place {
        let before = &text[..text.floor_char_boundary(span.start)];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Applies the file that `--config` names, if the arguments name one.
///
/// # Errors
/// If it can't be read, names an option that its command doesn't have, or has a value that can't be: each names the file,
/// the line and the column, in sections of other commands, too.
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
    let chosen = Chosen { command: name, dataflow: below.map(|(name, _)| name) };
    fill(command, chosen, &file, &text)
}

/// The command that is run, and its dataflow.
#[derive(Clone, Copy)]
struct Chosen<'a> {
    command: &'a str,
    dataflow: Option<&'a str>,
}

impl Chosen<'_> {
    /// How near the section of a command is to what is run: of two sections the nearer one wins. `None`: it is of another
    /// command.
    fn rank(self, command: &str) -> Option<u8> {
        match (self.command, command) {
            ("check", "run") => Some(1),
            (chosen, command) => (chosen == command).then_some(2),
        }
    }
}

/// Makes the values that `text` has the defaults of the options of a subcommand, and of the one below that.
fn fill(command: Command, chosen: Chosen<'_>, file: &str, text: &str) -> Result<(Command, Applied)> {
    let wrong =
        |Wrong { span, why }: Wrong| usage(format!("--config {file}, {}: {why}", Place::of(text, &span)));
    let table = DeTable::parse(text).map_err(|error| {
        let why = format!("this is not TOML: {}", error.message().replace('\n', ", "));
        wrong(Wrong { span: error.span().unwrap_or_default(), why })
    })?;
    let mut reader = Reader { root: &command, chosen, settings: Vec::new() };
    reader.file(table.into_inner()).map_err(wrong)?;
    let mut settings = reader.settings;
    settings.sort_by_key(|setting| setting.rank);
    let mut applied = Applied { file: file.to_owned(), options: Vec::new() };
    let mut command = command;
    for Setting { key: long, values, span, .. } in settings {
        let id;
        let typed = values.iter().map(|(value, _)| value.clone()).collect();
        (command, id) = set(command, chosen, &long, typed);
        let placed = |(value, span): Placed| (value, Place::of(text, &span));
        let values = values.into_iter().map(placed).collect();
        applied.options.push(Located { id, long, place: Place::of(text, &span), values });
    }
    Ok((command, applied))
}

impl Applied {
    /// Adds to a usage error of a value that came from the file where it stands: the error begins with the option's name,
    /// after `reading` where it names a file, and `matches` say that nothing else has set it.
    pub(super) fn locate(&self, error: anyhow::Error, matches: &ArgMatches) -> anyhow::Error {
        let Some(Usage(text)) = error.downcast_ref() else { return error };
        let levels = std::iter::successors(Some(matches), |matches| Some(matches.subcommand()?.1));
        let levels: Vec<&ArgMatches> = levels.collect();
        let ours = |id: &clap::Id| {
            let known = levels.iter().filter(|matches| matches.try_contains_id(id.as_str()).is_ok());
            let mut sources = known.filter_map(|matches| matches.value_source(id.as_str())).peekable();
            sources.peek().is_some() && sources.all(|source| source == ValueSource::DefaultValue)
        };
        let mut options = self.options.iter().rev().filter(|option| ours(&option.id));
        match options.find_map(|option| Some((&option.long, option.place(text)?))) {
            Some((long, place)) => usage(format!("{text} ({long} is set in {}, {place})", self.file)),
            None => error,
        }
    }
}

/// A value that the file has for the command that is run.
struct Setting {
    key: String,
    values: Vec<Placed>,
    /// Where all of them stand.
    span: Range<usize>,
    /// Higher ones win.
    rank: u8,
}

/// What the file has for a key: the key, with its place, and the value.
type Pair<'a> = (Spanned<std::borrow::Cow<'a, str>>, Spanned<DeValue<'a>>);

/// Reads the file: all of it is checked, and what is of the command that is run is kept.
struct Reader<'a> {
    root: &'a Command,
    chosen: Chosen<'a>,
    settings: Vec<Setting>,
}

impl Reader<'_> {
    /// The whole file.
    fn file(&mut self, table: DeTable<'_>) -> Result<(), Wrong> {
        let chosen = self.root.find_subcommand(self.chosen.command);
        let below = chosen.and_then(|chosen| chosen.find_subcommand(self.chosen.dataflow?));
        let known: Vec<&Command> = [Some(self.root), chosen, below].into_iter().flatten().collect();
        for (key, value) in in_order(table) {
            match self.root.find_subcommand(&**key.get_ref()) {
                Some(section) if matches!(value.get_ref(), DeValue::Table(_)) => {
                    self.section(section, value)?
                }
                _ => self.option((key, value), &known, Some(0), true)?,
            }
        }
        Ok(())
    }

    /// The section of a command.
    fn section(&mut self, command: &Command, value: Spanned<DeValue<'_>>) -> Result<(), Wrong> {
        let DeValue::Table(table) = value.into_inner() else { return Ok(()) };
        let rank = self.chosen.rank(command.get_name());
        let below = rank.and(self.chosen.dataflow).and_then(|name| command.find_subcommand(name));
        let mut known = vec![self.root, command];
        match below {
            Some(below) => known.push(below),
            // Whichever will be run.
            None => known.extend(command.get_subcommands()),
        }
        for (key, value) in in_order(table) {
            let dataflow = command.find_subcommand(&**key.get_ref());
            match (dataflow, value.get_ref()) {
                (Some(dataflow), DeValue::Table(_)) => {
                    let DeValue::Table(table) = value.into_inner() else { unreachable!("it is one") };
                    let is_chosen = self.chosen.dataflow == Some(dataflow.get_name());
                    let rank = rank.filter(|_| is_chosen).map(|rank| rank + 2);
                    for pair in in_order(table) {
                        self.option(pair, &[self.root, command, dataflow], rank, false)?;
                    }
                }
                _ => self.option((key, value), &known, rank, false)?,
            }
        }
        Ok(())
    }

    /// An option of one of the commands that are `known` here. It is kept where it has a rank. `top`: in no section.
    fn option(
        &mut self,
        (key, value): Pair<'_>,
        known: &[&Command],
        rank: Option<u8>,
        top: bool,
    ) -> Result<(), Wrong> {
        let (at, key) = (key.span(), key.into_inner());
        let wrong = |span: Range<usize>, why: String| Wrong { span, why: format!("{key}: {why}") };
        if key == "config" {
            return Err(wrong(at, "a configuration file can't name another".to_owned()));
        }
        let Some(arg) = known.iter().find_map(|command| option(command, &key)) else {
            return Err(wrong(at, self.unknown(&key, known, top)));
        };
        let span = value.span();
        // Those of other commands may not be set now.
        let values = values(arg, &value, rank.is_some()).map_err(|Wrong { span, why }| wrong(span, why))?;
        if rank.is_some() || !values.iter().any(|(value, _)| value.contains("${")) {
            check(arg, &key, &values).map_err(|why| wrong(span.clone(), why))?;
        }
        if key != "set-file" {
            values.iter().for_each(|(value, _)| secrets::learn_typed(value));
        }
        if let Some(rank) = rank {
            self.settings.push(Setting { key: key.into_owned(), values, span, rank });
        }
        Ok(())
    }

    /// What to say of a key that none of the commands has.
    fn unknown(&self, key: &str, known: &[&Command], top: bool) -> String {
        let named = known.last().map_or("", |command| command.get_name());
        // An option of another command, or of another dataflow.
        let (within, prefix) = match known {
            [_, command, _] if !top => (*command, format!("{}.", command.get_name())),
            _ => (self.root, String::new()),
        };
        let has = |command: &&Command| option(command, key).is_some();
        if let Some(other) = within.get_subcommands().find(has) {
            let other = other.get_name();
            return format!(
                "{named} has no such option, but {other} has: write it in the section [{prefix}{other}]"
            );
        }
        let options = known.iter().flat_map(|command| command.get_arguments()).filter_map(Arg::get_long);
        let sections = within.get_subcommands().map(Command::get_name);
        let close = options
            .chain(sections)
            .map(|known| (strsim::jaro_winkler(known, key), known))
            .filter(|&(likeness, _)| likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match close {
            Some((_, known)) => format!("there is no such option; did you mean {known}?"),
            None => "there is no such option".to_owned(),
        }
    }
}

/// The entries of a table as they come in the file: the first fault is the one that is told.
fn in_order(table: DeTable<'_>) -> Vec<Pair<'_>> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn option<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(long))
}

/// Makes `values` the default of an option that the program, the chosen command or its dataflow has.
fn set(command: Command, chosen: Chosen<'_>, key: &str, values: Vec<String>) -> (Command, clap::Id) {
    let Chosen { command: name, dataflow } = chosen;
    let id = |command: &Command| option(command, key).map(|arg| arg.get_id().clone());
    if let Some(id) = id(&command) {
        return (command.mut_arg(&id, |arg| default(arg, values)), id);
    }
    let subcommand = command.find_subcommand(name).expect("it was chosen");
    if let Some(id) = id(subcommand) {
        let command = command.mut_subcommand(name, |c| c.mut_arg(&id, |arg| default(arg, values)));
        return (command, id);
    }
    let dataflow = dataflow.expect("one of the three has the option");
    let id = subcommand.find_subcommand(dataflow).and_then(id).expect("one of the three has the option");
    let command = command
        .mut_subcommand(name, |c| c.mut_subcommand(dataflow, |c| c.mut_arg(&id, |arg| default(arg, values))));
    (command, id)
}

/// Checks values as if they were typed: later, nobody could tell that they were not.
fn check(arg: &Arg, key: &str, values: &[Placed]) -> Result<(), String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Ok(());
    }
    if !matches!(arg.get_action(), ArgAction::Append) && values.len() != 1 {
        return Err(format!("expected one value, but there are {}", values.len()));
    }
    let alone = Command::new("config").no_binary_name(true).disable_help_flag(true).arg(arg.clone());
    let typed = values.iter().map(|(value, _)| format!("--{key}={value}"));
    match alone.try_get_matches_from(typed) {
        Err(error) if TYPED.contains(&error.kind()) => Err(reason(&error)),
        _ => Ok(()),
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
    // `--help` shows defaults.
    let secret = values.iter().any(|value| *secrets::hidden(value) != **value);
    let arg = if secret { arg.hide_default_value(true) } else { arg };
    match arg.get_action() {
        ArgAction::SetTrue => arg.default_value(values.into_iter().next().unwrap_or_else(|| "true".into())),
        _ => arg.default_values(values).required(false),
    }
}

#[cfg(test)]
mod tests;
