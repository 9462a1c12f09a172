use super::*;
use crate::cli::command as whole;

fn sample() -> Command {
    Command::new("c")
        .subcommand(
            Command::new("run")
                .arg(Arg::new("workers").long("workers").default_value("1"))
                .arg(Arg::new("number").long("number").value_parser(clap::value_parser!(u8)))
                .arg(Arg::new("topic").long("topic").action(ArgAction::Append))
                .arg(Arg::new("set").long("set").value_name("KEY=VALUE").action(ArgAction::Append))
                .arg(Arg::new("files").long("set-file").value_name("KEY=FILE").action(ArgAction::Append))
                .arg(Arg::new("until_end").long("until-end").action(ArgAction::SetTrue))
                .subcommand(Command::new("flow").arg(Arg::new("tokenizer").long("tokenizer")))
                .subcommand(Command::new("sales").arg(Arg::new("top").long("top"))),
        )
        .subcommand(Command::new("check").arg(Arg::new("workers").long("workers")))
        .subcommand(Command::new("produce").arg(Arg::new("rate").long("rate")))
}

const FLOW: Chosen<'_> = Chosen { command: "run", dataflow: Some("flow") };

fn run(file: &str, args: &[&str]) -> Result<ArgMatches, String> {
    let (command, _) = fill(sample(), FLOW, "job.toml", file).map_err(|e| e.to_string())?;
    let args = ["c", "run"].iter().chain(args);
    Ok(command.try_get_matches_from(args).unwrap().subcommand().unwrap().1.clone())
}

fn text<'a>(matches: &'a ArgMatches, id: &str) -> &'a str {
    matches.get_one::<String>(id).unwrap()
}

#[test]
fn the_file_gives_defaults_and_flags_win() {
    let file = "workers = \"2\"\ntopic = [\"a\", \"b\"]\nuntil-end = true\ntokenizer = \"unicode\"";
    let matches = run(file, &["flow"]).unwrap();
    assert_eq!(text(&matches, "workers"), "2");
    assert_eq!(matches.get_many::<String>("topic").unwrap().collect::<Vec<_>>(), ["a", "b"]);
    assert!(matches.get_flag("until_end"));
    assert_eq!(text(matches.subcommand().unwrap().1, "tokenizer"), "unicode");
    let matches = run(file, &["--workers", "3", "--topic", "c", "flow"]).unwrap();
    assert_eq!(text(&matches, "workers"), "3");
    assert_eq!(matches.get_many::<String>("topic").unwrap().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn sections_are_of_commands_and_the_nearer_one_wins() {
    let file = "workers = \"2\"\n[run]\nworkers = \"3\"\nnumber = 1\n[run.flow]\nnumber = 2\ntokenizer = \"a\"\n\
                [run.sales]\nnumber = 3\ntop = \"9\"\n[produce]\nrate = \"5\"\n[set]\n";
    let file = file.trim_end_matches("[set]\n");
    let matches = run(file, &["flow"]).unwrap();
    assert_eq!((text(&matches, "workers"), matches.get_one::<u8>("number")), ("3", Some(&2)));
    assert_eq!(text(matches.subcommand().unwrap().1, "tokenizer"), "a");
    // Check takes what is of run; its own section is nearer.
    let chosen = Chosen { command: "check", dataflow: None };
    for (file, workers) in [(file, "3"), ("[check]\nworkers = \"5\"\n[run]\nworkers = \"4\"", "5")] {
        let fits = file.replace("number = 1\n", "");
        let (command, _) = fill(sample(), chosen, "f", fits.split("[run.flow]").next().unwrap()).unwrap();
        let matches = command.try_get_matches_from(["c", "check"]).unwrap();
        assert_eq!(text(matches.subcommand().unwrap().1, "workers"), workers);
    }
    // A table of pairs is an option wherever it stands.
    let matches = run("[run.set]\n\"a.b\" = 1\nc = true", &["flow"]).unwrap();
    assert_eq!(matches.get_many::<String>("set").unwrap().collect::<Vec<_>>(), ["a.b=1", "c=true"]);
}

#[test]
fn an_unknown_name_is_an_error_that_names_a_close_one() {
    for (file, why) in [
        ("worker = 2", "line 1, column 1: worker: there is no such option; did you mean workers?"),
        ("[run]\n  worker = 2", "line 2, column 3: worker: there is no such option; did you mean workers?"),
        (
            "[run.flow]\ntokeniser = \"a\"",
            "line 2, column 1: tokeniser: there is no such option; did you mean tokenizer?",
        ),
        (
            "[run.folw]\ntokenizer = \"a\"",
            "line 1, column 6: folw: there is no such option; did you mean flow?",
        ),
        ("[prodcue]\nrate = 1", "line 1, column 2: prodcue: there is no such option; did you mean produce?"),
        ("[produce]\nraet = \"1\"", "line 2, column 1: raet: there is no such option; did you mean rate?"),
        ("colour = \"red\"", "line 1, column 1: colour: there is no such option"),
        (
            "rate = \"1\"",
            "line 1, column 1: rate: flow has no such option, but produce has: write it in the section [produce]",
        ),
        (
            "[run]\ntop = \"1\"",
            "line 2, column 1: top: flow has no such option, but sales has: write it in the section [run.sales]",
        ),
        ("config = \"x\"", "line 1, column 1: config: a configuration file can't name another"),
    ] {
        assert_eq!(run(file, &["flow"]).unwrap_err(), format!("--config job.toml, {why}"));
    }
}

#[test]
fn a_wrong_value_is_an_error_that_names_file_line_column_and_key() {
    for (file, why) in [
        ("# one\nnumber = \"x\"", "line 2, column 10: number: invalid value 'x' for '--number <number>'"),
        (
            "number = 256",
            "line 1, column 10: number: invalid value '256' for '--number <number>': 256 is not in 0..=255",
        ),
        ("\n\nnumber = [1, 2]", "line 3, column 10: number: expected one value, but there are 2"),
        ("number = [1, [2]]", "line 1, column 14: number: expected number, but it is an array"),
        ("number = true", "line 1, column 10: number: expected number, but it is true or false"),
        ("workers = 2", "line 1, column 11: workers: expected text in quotes, but it is a number"),
        (
            "topic = [\"a\", false]",
            "line 1, column 15: topic: expected text in quotes, but it is true or false",
        ),
        ("until-end = \"perhaps\"", "line 1, column 13: until-end: expected true or false, but it is text"),
        ("until-end = 1", "line 1, column 13: until-end: expected true or false, but it is a number"),
        ("\u{e9} = 1", "line 1, column 1: this is not TOML"),
        ("number = 1\nnumber = 2", "line 2, column 1: this is not TOML: duplicate key"),
        ("topic = []\nnumber = ", "line 2, column 10: this is not TOML"),
        ("number = 1979-05-27", "line 1, column 10: number: expected number, but it is a time"),
        ("[topic]\na = \"b\"", "line 1, column 1: topic: expected text in quotes, but it is a table"),
        ("[set]\n\"a.b\" = [1]", "line 2, column 9: set: a.b: an array is not a value of an option"),
        (
            "topic = \"${CUTWATER_NO_SUCH}\"",
            "line 1, column 9: topic: the environment has no CUTWATER_NO_SUCH",
        ),
        (
            "[produce]\nrate = \"${NO\"\nrtae = \"1\"",
            "line 3, column 1: rtae: there is no such option; did you mean rate?",
        ),
        ("[produce]\nrate = 1", "line 2, column 8: rate: expected text in quotes, but it is a number"),
    ] {
        // A flag that wins does not hide what is wrong with the file.
        let error = run(file, &["--number", "3", "flow"]).unwrap_err();
        assert!(error.starts_with(&format!("--config job.toml, {why}")), "{file:?}: {error}");
    }
    let matches = run("number = 0x1_0", &["flow"]).unwrap();
    assert_eq!(matches.get_one::<u8>("number"), Some(&16));
}

#[test]
fn an_error_that_is_found_later_is_located_where_the_file_has_the_value() {
    let (command, applied) = fill(sample(), FLOW, "job.toml", "\ntopic = [\"^(\"]").unwrap();
    let located = |args: &[&str], text: &str| {
        let matches = command.clone().try_get_matches_from(args).unwrap();
        applied.locate(usage(text), &matches).to_string()
    };
    let wrong = "--topic ^(: not a regular expression";
    let there = format!("{wrong} (topic is set in job.toml, line 2, column 10)");
    assert_eq!(located(&["c", "run", "flow"], wrong), there);
    assert_eq!(located(&["c", "run", "--topic", "^(", "flow"], wrong), wrong, "it was typed");
    assert_eq!(located(&["c", "run", "flow"], "--topics: no"), "--topics: no", "another option");
}

#[test]
fn an_error_of_one_entry_is_located_where_that_entry_is() {
    let file = "topic = [\"a\",\n \"b\"]\n[set]\na = 1\n\"a.b\" = 2\n[set-file]\nc = \"/d\"\n e = \"/f\"";
    let (command, applied) = fill(sample(), FLOW, "job.toml", file).unwrap();
    let matches = command.try_get_matches_from(["c", "run", "flow"]).unwrap();
    for (text, there) in [
        ("--topic b: no", "topic is set in job.toml, line 2, column 2"),
        ("--set a=1: no", "set is set in job.toml, line 4, column 1"),
        ("--set a.b=2: no", "set is set in job.toml, line 5, column 1"),
        ("reading --set-file of c, /d: no", "set-file is set in job.toml, line 7, column 1"),
        ("--set e=what is in /f: no", "set-file is set in job.toml, line 8, column 2"),
    ] {
        assert_eq!(applied.locate(usage(text), &matches).to_string(), format!("{text} ({there})"));
    }
    let other = "--set g=1: nobody has set that";
    assert!(applied.locate(usage(other), &matches).to_string().starts_with(other));
}

#[test]
fn secrets_come_from_the_environment() {
    // Every process has this one.
    let path = std::env::var("PATH").unwrap();
    assert_eq!(value::expand("a-${PATH}-b").unwrap(), format!("a-{path}-b"));
    assert!(value::expand("${CUTWATER_NO_SUCH}").unwrap_err().contains("CUTWATER_NO_SUCH"));
    assert!(value::expand("${x").is_err());
}

/// A value that an option takes, as TOML: the first of these that it accepts.
fn fitting(arg: &Arg) -> (String, String) {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return ("true".to_owned(), "true".to_owned());
    }
    let possible: Vec<String> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
    let tried = ["7", "7s", "x:1", "7:1", "stdout", "earliest", "exactly-once", "a=b", "k=v:w", "/dev/null"]
        .map(str::to_owned);
    let key = arg.get_long().unwrap();
    let fits = |value: &String| check(arg, key, &[(value.clone(), 0..0)]).is_ok();
    let usual = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned());
    let value = possible.into_iter().chain(usual).chain(tried).find(fits);
    let value = value.unwrap_or_else(|| panic!("--{key}: add a value that it takes to this test"));
    (format!("{value:?}"), value)
}

/// Every option of every command can stand in the file, in its section, and is what the command then sees.
#[test]
fn every_option_of_every_command_can_stand_in_the_file() {
    let registry = cutwater_dataflows::registry();
    let command = whole(&registry);
    let mut seen = 0;
    for sub in command.get_subcommands() {
        let dataflow = sub.get_subcommands().find(|flow| flow.get_name() == "word-count");
        let general = command.get_arguments().chain(sub.get_arguments());
        let own = dataflow.into_iter().flat_map(Command::get_arguments);
        let options: Vec<&Arg> = general.chain(own).filter(|arg| arg.get_long().is_some()).collect();
        let (name, below) = (sub.get_name(), dataflow.map(Command::get_name));
        let chosen = Chosen { command: name, dataflow: below };
        let section = below.map_or_else(|| name.to_owned(), |below| format!("{name}.{below}"));
        for arg in options.into_iter().filter(|arg| arg.get_long() != Some("config")) {
            let (long, (toml, value)) = (arg.get_long().unwrap(), fitting(arg));
            for file in [format!("{long} = {toml}"), format!("[{section}]\n{long} = {toml}")] {
                let (filled, _) = fill(command.clone(), chosen, "f", &file).unwrap();
                let mut args = vec!["cutwater", name];
                args.extend(below);
                // Those that need more words are not run: it is the option that is looked at.
                let matches = filled.ignore_errors(true).try_get_matches_from(args).unwrap();
                let levels = std::iter::successors(Some(&matches), |m| Some(m.subcommand()?.1));
                let raw: Vec<String> = levels
                    .filter_map(|m| m.try_get_raw(arg.get_id().as_str()).ok().flatten())
                    .flat_map(|values| values.map(|value| value.to_string_lossy().into_owned()))
                    .collect();
                assert!(raw.contains(&value), "{name} --{long}: {raw:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 200, "{seen}");
}

/// The examples in `config` are right, and there is one of each section.
#[test]
fn the_examples_are_right_and_have_a_section_of_each_command() {
    let registry = cutwater_dataflows::registry();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}{name}")).unwrap();
    let chosen = Chosen { command: "run", dataflow: Some("word-count") };
    let text = read("cutwater.toml");
    fill(whole(&registry), chosen, "cutwater.toml", &text).unwrap();
    // A line that somebody appends is an option, and no property of a table that stands last.
    assert!(text.lines().all(|line| !line.starts_with('[')), "{text}");
    let text = read("commands.toml");
    for sub in whole(&registry).get_subcommands() {
        // These have no options of their own.
        if ["list", "completions", "man"].contains(&sub.get_name()) {
            continue;
        }
        assert!(text.contains(&format!("\n[{}]\n", sub.get_name())), "{}", sub.get_name());
        let chosen = Chosen { command: sub.get_name(), dataflow: None };
        fill(whole(&registry), chosen, "commands.toml", &text).unwrap();
    }
    // What is commented out is right as well.
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") && !rest.contains(": ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(uncommented.lines().count() == text.lines().count() && uncommented != text);
    // Of another command, so that no password need be in the environment.
    let chosen = Chosen { command: "list", dataflow: None };
    fill(whole(&registry), chosen, "commands.toml, uncommented", &uncommented).unwrap();
}
