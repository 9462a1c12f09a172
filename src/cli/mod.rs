//! The command line.

#[cfg(feature = "bench")]
mod bench;
mod bind;
mod check;
mod completions;
mod config;
mod emit;
mod explain;
mod first;
mod formats;
mod generate;
#[cfg(feature = "http")]
mod http;
mod kafka;
mod ledger;
mod list;
#[cfg(feature = "live")]
mod live;
#[cfg(not(feature = "live"))]
#[path = "not_live.rs"]
mod live;
mod new;
mod options;
mod plan;
mod processes;
mod produce;
mod progress;
#[cfg(feature = "http")]
mod redact;
mod reinject;
mod resume;
mod run;
mod running;
#[cfg(feature = "http")]
mod served;
#[cfg(not(feature = "http"))]
#[path = "unserved.rs"]
mod served;
mod state;
mod support;
mod test;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Result;
#[cfg(feature = "bench")]
use clap::builder::{OsStr, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use cutwater_dataflows::Entry;

use crate::cluster::LostPeer;
use crate::out::Closed;
use crate::secrets;
use crate::signals;
use crate::sink::SinkKind;
use crate::stopping::Late;
use crate::supervised::{CLOSED, LOST_PEER, is_supervised};
use crate::usage::{Usage, usage};
use crate::{log, out};
#[cfg(feature = "bench")]
use bench::BenchArgs;
use completions::{CompletionsArgs, ManArgs};
use explain::ExplainArgs;
use generate::GenerateArgs;
use ledger::LedgerArgs;
use new::NewArgs;
#[cfg(feature = "demo")]
use options::DemoArgs;
use options::{LogArgs, RunArgs};
use produce::ProduceArgs;
use reinject::ReinjectArgs;
use state::StateArgs;
use support::SupportArgs;
use test::TestArgs;

/// The whole program, for these dataflows and with these kinds of sinks beside its own: reads the command line, does what it says.
///
/// A crate of your own dataflows has a `main` that [`main!`](crate::main!) makes. It sets the allocator as well, without
/// which a run has half the speed. This function is for programs that set another one:
///
/// ```no_run
/// use cutwater_dataflows::{entry, word_count::WordCount};
///
/// fn main() -> std::process::ExitCode {
///     cutwater::main(&[entry::<WordCount>()], &[])
/// }
/// ```
pub fn main(registry: &[Entry], sinks: &[SinkKind]) -> ExitCode {
    main_with(registry, sinks, std::env::args_os().collect())
}

/// As [`main`], with the command line given: the program's name comes first.
pub fn main_with(registry: &[Entry], sinks: &[SinkKind], args: Vec<OsString>) -> ExitCode {
    crate::exit::report_panics();
    secrets::learn_arguments(&args);
    if let Err(error) = signals::take_hangups() {
        crate::exit::report(&error);
        return ExitCode::FAILURE;
    }
    // What is wrong with the command line is a line as well.
    let wants_json = |pair: &[OsString]| pair[0] == "--log-format" && pair[1] == "json";
    if args.windows(2).any(wants_json) || args.iter().any(|arg| arg == "--log-format=json") {
        log::as_json();
    }
    let done = try_main(registry, sinks, args);
    crate::fold::finish();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = match error.downcast::<clap::Error>() {
                Ok(clap) => match print_clap(&clap) {
                    Ok(code) => return code,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            // Whoever read the rows has seen enough.
            if error.is::<Closed>() {
                return ExitCode::from(if is_supervised() { CLOSED } else { 0 });
            }
            if let Some(late) = error.downcast_ref::<Late>()
                && late.is_success()
            {
                crate::exit::last_words(&format!("{}{late}", log::prefix()));
                return ExitCode::SUCCESS;
            }
            crate::exit::report(&error);
            ExitCode::from(match () {
                () if error.is::<Usage>() => 2,
                () if error.is::<LostPeer>() && is_supervised() => LOST_PEER,
                () => 1,
            })
        }
    }
}

/// Shows help or version, which are no errors and go to standard output, or what is wrong with the command line.
fn print_clap(clap: &clap::Error) -> Result<ExitCode> {
    if clap.use_stderr() && log::is_json() {
        let text = clap.render().to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        log::say(&lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; "));
    } else if clap.use_stderr() {
        let shown = clap.render();
        let shown = if io::stderr().is_terminal() { shown.ansi().to_string() } else { shown.to_string() };
        // Nothing can be done where standard error has gone.
        let _ = io::stderr().write_all(secrets::hidden(&shown).as_bytes());
    } else {
        clap.print().and_then(|()| io::stdout().flush()).map_err(out::failed)?;
    }
    Ok(ExitCode::from(u8::try_from(clap.exit_code()).unwrap_or(2)))
}

fn try_main(registry: &[Entry], sinks: &[SinkKind], args: Vec<OsString>) -> Result<()> {
    let program = completions::program(&args);
    let (command, applied) = config::apply(command(registry), &args)?;
    let matches = command.try_get_matches_from(args).map_err(|error| which_dataflow(error, registry))?;
    serve(registry, sinks, &matches, &program).map_err(|error| applied.locate(error, &matches))
}

/// Does what the arguments say.
fn serve(registry: &[Entry], sinks: &[SinkKind], matches: &ArgMatches, program: &str) -> Result<()> {
    let (name, matches) = matches.subcommand().expect("clap requires a subcommand");
    LogArgs::from_arg_matches(matches)?.start()?;
    // A supervisor passes them on.
    if name != "run" {
        signals::renew_on_hangup()?;
    }
    match name {
        #[cfg(feature = "demo")]
        "demo" => run_demo(&DemoArgs::from_arg_matches(matches)?, &LogArgs::from_arg_matches(matches)?),
        "run" => run_dataflow(registry, sinks, matches),
        "check" => {
            let (entry, matches) = chosen(registry, matches);
            check::check(&RunArgs::from_arg_matches(matches)?, entry.parse(matches)?, entry.formats(), sinks)
        }
        "explain" => {
            let (entry, matches) = chosen(registry, matches);
            explain::explain(&ExplainArgs::from_arg_matches(matches)?, entry.parse(matches)?)
        }
        "test" => {
            let (entry, matches) = chosen(registry, matches);
            test::test(&TestArgs::from_arg_matches(matches)?, entry.parse(matches)?, entry.formats())
        }
        "generate" => generate::generate(
            &GenerateArgs::from_arg_matches(matches)?,
            matches.value_source("brokers") == Some(ValueSource::CommandLine),
            &LogArgs::from_arg_matches(matches)?,
            registry,
        ),
        "produce" => {
            produce::produce(&ProduceArgs::from_arg_matches(matches)?, &LogArgs::from_arg_matches(matches)?)
        }
        "reinject" => reinject::reinject(
            &ReinjectArgs::from_arg_matches(matches)?,
            &LogArgs::from_arg_matches(matches)?,
        ),
        #[cfg(feature = "bench")]
        "bench" => bench::bench(
            &BenchArgs::from_arg_matches(matches)?,
            &LogArgs::from_arg_matches(matches)?,
            registry,
        ),
        "state" => state::state(&StateArgs::from_arg_matches(matches)?),
        "support" => support::support(&SupportArgs::from_arg_matches(matches)?),
        "ledger" => ledger::ledger(&LedgerArgs::from_arg_matches(matches)?),
        "new" => new::new(&NewArgs::from_arg_matches(matches)?),
        "completions" => {
            let args = CompletionsArgs::from_arg_matches(matches)?;
            completions::completions(&args, command(registry), program)
        }
        "man" => completions::man(&ManArgs::from_arg_matches(matches)?, command(registry), program),
        "list" => out::print(|out| list::list(registry, out)),
        name => unreachable!("clap knows no subcommand {name}"),
    }
}

/// The commands whose subcommands are the dataflows.
const ON_DATAFLOWS: [&str; 4] = ["run", "test", "check", "explain"];

/// A dataflow that is missing or unknown, as a user would call it: not a subcommand.
fn which_dataflow(error: clap::Error, registry: &[Entry]) -> anyhow::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let command = text(ContextKind::InvalidSubcommand).and_then(|name| name.rsplit_once(' '));
    match (error.kind(), command) {
        (ErrorKind::MissingSubcommand, Some((_, command))) if ON_DATAFLOWS.contains(&command) => {
            usage(format!(
                "name a dataflow: cutwater {command} DATAFLOW; {}. `cutwater list` tells of each, `cutwater {command} --help` \
                 of all options",
                there(registry)
            ))
        }
        // Those commands alone have such an argument.
        (ErrorKind::InvalidSubcommand, _) if error.render().to_string().contains("<DATAFLOW>") => {
            unknown(text(ContextKind::InvalidSubcommand).unwrap_or_default(), registry)
        }
        _ => error.into(),
    }
}

/// What to say of a dataflow that is not there.
fn unknown(name: &str, registry: &[Entry]) -> anyhow::Error {
    let names: Vec<&str> = registry.iter().map(Entry::name).collect();
    let close = names.iter().map(|known| (strsim::jaro_winkler(known, name), known));
    let close = close.filter(|&(likeness, _)| likeness > 0.75).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = close.map(|(_, known)| format!("; did you mean {known}?")).unwrap_or_default();
    usage(format!("there is no dataflow {name:?}{hint}: {}", there(registry)))
}

/// The dataflows that there are.
fn there(registry: &[Entry]) -> String {
    match &registry.iter().map(Entry::name).collect::<Vec<_>>()[..] {
        [] => "this program has none".to_owned(),
        names => format!("there is {}", names.join(", ")),
    }
}

/// The dataflow of that name.
///
/// # Errors
/// A usage error that names those that there are.
fn find_entry<'a>(registry: &'a [Entry], name: &str) -> Result<&'a Entry> {
    registry.iter().find(|entry| entry.name() == name).ok_or_else(|| unknown(name, registry))
}

#[cfg(feature = "demo")]
fn run_demo(args: &DemoArgs, general: &LogArgs) -> Result<()> {
    let DemoArgs { seconds, seed, workers, rate } = *args;
    let length = std::time::Duration::from_secs(seconds.into());
    crate::demo::run(&crate::demo::Options { length, seed, workers, rate, quiet: general.quiet })
}

fn run_dataflow(registry: &[Entry], sinks: &[SinkKind], matches: &ArgMatches) -> Result<()> {
    let (entry, matches) = chosen(registry, matches);
    let args = RunArgs {
        #[cfg(feature = "http")]
        options: redact::options(matches),
        ..RunArgs::from_arg_matches(matches)?
    };
    run::run(&args, &LogArgs::from_arg_matches(matches)?, entry.parse(matches)?, entry.formats(), sinks)
}

/// The dataflow that was named, and all that was typed for it.
fn chosen<'a>(registry: &'a [Entry], matches: &'a ArgMatches) -> (&'a Entry, &'a ArgMatches) {
    let (name, matches) = matches.subcommand().expect("clap requires a dataflow");
    let entry = registry.iter().find(|entry| entry.name() == name).expect("clap knows the registry's names");
    (entry, matches)
}

/// A command whose subcommands are the dataflows, each with its own options.
fn on_dataflows(command: Command, registry: &[Entry]) -> Command {
    command
        .subcommand_required(true)
        .subcommand_value_name("DATAFLOW")
        .subcommand_help_heading("Dataflows")
        .disable_help_subcommand(true)
        .mut_args(|arg| arg.global(true))
        .subcommands(registry.iter().map(|entry| {
            entry.arguments(Command::new(entry.name()).next_help_heading("Options of the dataflow"))
        }))
}

/// A command with these options. `about`: what `--help` says above them.
fn of<A: Args>(name: &'static str, about: &'static str) -> Command {
    A::augment_args(Command::new(name)).about(about.lines().next()).long_about(about)
}

#[cfg(feature = "demo")]
fn demo() -> Command {
    DemoArgs::augment_args(Command::new("demo"))
        .about("Show word-count at work: an in-process broker, a generator, a live table; no Kafka needed")
        .long_about(
            "Show word-count at work, without a Kafka: start librdkafka's in-process broker, write text with the \
             word frequencies of natural language to a topic of 4 partitions, and count its words as `cutwater run \
             word-count` does.\n\n\
             On a terminal, a live table shows it; elsewhere, a line a second on standard error. The demo ends when \
             its time is over, or with q or Ctrl-C. Then it counts what is left, compares all counts with an \
             independent recount of what was generated, prints the 10 most frequent words, as the rows that they \
             are, to standard output where that is not a terminal with the table, and fails if any count is wrong.",
        )
}

/// The command line, with a subcommand of `run` and its like for each dataflow.
fn command(registry: &[Entry]) -> Command {
    let run = RunArgs::augment_args(Command::new("run")).about("Run a dataflow").long_about(
        "Run a dataflow: read its inputs from Kafka, keep its outputs exact, epoch by epoch.\n\n\
         `cutwater run DATAFLOW --help` lists these options and the dataflow's own.",
    );
    let check = of::<RunArgs>("check", check::ABOUT);
    let test = of::<TestArgs>("test", test::ABOUT);
    let explain = of::<ExplainArgs>("explain", explain::ABOUT);
    LogArgs::augment_args(Command::new("cutwater"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Exact, incremental answers over Kafka: every output belongs to a cut of the input")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands([
            #[cfg(feature = "demo")]
            demo(),
            on_dataflows(run, registry),
            on_dataflows(test, registry),
            on_dataflows(check, registry),
            on_dataflows(explain, registry),
            of::<GenerateArgs>("generate", generate::ABOUT),
            of::<ProduceArgs>("produce", produce::ABOUT),
            of::<ReinjectArgs>("reinject", reinject::ABOUT),
            #[cfg(feature = "bench")]
            of::<BenchArgs>("bench", bench::ABOUT)
                // It fills topics: a cluster that a variable happens to name is not one to be filled.
                .mut_arg("brokers", |arg| arg.env(Resettable::<OsStr>::Reset)),
            of::<StateArgs>("state", state::ABOUT),
            of::<LedgerArgs>("ledger", ledger::ABOUT),
            of::<SupportArgs>("support", support::ABOUT),
            of::<NewArgs>("new", new::ABOUT),
            of::<CompletionsArgs>("completions", completions::COMPLETIONS),
            of::<ManArgs>("man", completions::MAN),
            Command::new("list").about("List the dataflows, what they read and write, and their options"),
        ])
        .mut_args(|arg| arg.global(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command(&cutwater_dataflows::registry()).debug_assert();
    }

    #[test]
    fn options_are_taken_before_and_after_the_dataflow() {
        for args in
            [["cutwater", "run", "-b", "x:1", "word-count"], ["cutwater", "run", "word-count", "-b", "x:1"]]
        {
            let matches = command(&cutwater_dataflows::registry()).try_get_matches_from(args).unwrap();
            let (_, run) = matches.subcommand().unwrap();
            let (_, dataflow) = run.subcommand().unwrap();
            assert_eq!(RunArgs::from_arg_matches(dataflow).unwrap().kafka.brokers.as_deref(), Some("x:1"));
        }
    }
}
