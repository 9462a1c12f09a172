//! The command line: what is wrong is said in a line, with exit code 2; what is right is listed.

use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::program::{cutwater, word_count};
use crate::support::rows::{assert_counts, finals, recount};
use crate::support::unique;

/// These arguments are wrong usage, and the line that says so holds all of `texts`.
#[track_caller]
fn wrong(args: &str, texts: &[&str]) {
    let ended = cutwater(args.split_whitespace()).run().fails(2, texts);
    assert!(ended.stdout.is_empty(), "{:?}", ended.stdout);
}

#[test]
fn wrong_usage_is_said_in_a_line() {
    wrong("run word-count -t lines", &["--brokers", "CUTWATER_BROKERS"]);
    wrong("run word-count -b x:1", &["lines", "--topic"]);
    wrong("run word-count -b x:1 -t lines --emit final", &["--emit final", "--until-end"]);
    wrong("run word-count -b x:1 -t lines --emit counts=final", &["--emit final", "--until-end"]);
    wrong(
        "run word-count -b x:1 -t lines --emit words=final",
        &["--emit words=final", "no output", "counts"],
    );
    wrong("run word-count -b x:1 -t lines --emit all", &["--emit all", "changes, upserts, append, final"]);
    let partitioner = "-o kafka:t --set partitioner=consistent";
    wrong(&format!("run word-count -b x:1 -t lines {partitioner}"), &["partitioner=murmur2_random", "Java"]);
    wrong("run word-count -b x:1 -t lines -o words=stdout", &["words", "counts"]);
    wrong("run word-count -b x:1 -t lines -o stdin", &["stdin", "file:PATH"]);
    wrong("run word-count -b x:1 -t lines -o webhook:ftp://me:pw@host", &["ftp://host", "https://"]);
    wrong("run word-count -b x:1 -t lines --dead-letter webhook:host/rows", &["host/rows", "https://"]);
    wrong("run word-count -b x:1 -t lines --on-too-large dead-letter", &["--dead-letter SINK"]);
    let twice = "-o file:/no/such/f -o counts=file:/no/such/f";
    wrong(&format!("run word-count -b x:1 -t lines {twice}"), &["same file", "/no/such/f"]);
    wrong("run word-count -b x:1 -t lp -o kafka:lp", &["topic lp", "read by input", "written by output"]);
    let orders = "run word-count -b x:1 -t ^orders.* --dead-letter kafka:orders-dead";
    wrong(orders, &["topic orders-dead", "^orders.*", "--dead-letter"]);
    for two in ["-o kafka:a -o counts=kafka:a", "-o kafka:a --dead-letter kafka:a"] {
        wrong(&format!("run word-count -b x:1 -t lines {two}"), &["same topic, a"]);
    }
    wrong("run word-count -b x:1 -t lines -o kafka:a --create-topics 0", &["--create-topics", "PARTITIONS"]);
    wrong("run word-count -b x:1 -t lines --create-topics 3", &["--create-topics", "kafka:TOPIC"]);
    wrong("run word-count -b x:1 -t lines -X group.id=", &["group.id=", "empty"]);
    wrong("run word-count -b x:1 -t words=lines", &["words", "lines"]);
    wrong("run word-count -b x:1 -t ^(", &["^(", "regular expression"]);
    wrong("run word-count -b x:1 -t lines -X novalue", &["novalue", "KEY=VALUE"]);
    wrong("run word-count -b x:1 -t lines -X no.such.property=1", &["no.such.property"]);
    wrong("run word-count -b x:1 -t lines -X enable.partition.eof=false", &["enable.partition.eof=true"]);
    wrong("run word-count -b x:1 -t lines -e 5parsecs", &["--epoch", "5parsecs"]);
    wrong("run word-count -b x:1 -t lines -w 0", &["--workers", "from 1 to 1024"]);
    wrong("run word-count -b x:1 -t lines -n 99999999999999999999", &["--processes", "from 1 to 1024"]);
    wrong("run word-count -b x:1 -t lines --max-records 0", &["--max-records", "whole number"]);
    wrong("run word-count -b x:1 -t lines -o file:", &["file:", "is not a sink"]);
    wrong("demo -w 100000", &["--workers", "from 1 to 1024"]);
    wrong("bench -w 1000 -n 2", &["--workers 1000", "1024"]);
    wrong("produce -b x:1 -t lines --partitions 100001", &["--partitions", "100000"]);
    wrong("run word-count -b x:1 -t lines --from yesterday", &["--from", "yesterday"]);
    wrong("run word-count -b x:1 -t lines --log =x=", &["--log"]);
    wrong("run word-count -b x:1 -t lines --tokenizer spaces", &["--tokenizer", "spaces"]);
    wrong("run word-count -b x:1 -t lines --wrokers 2", &["--wrokers"]);
    wrong("run word-count -b x:1 -t lines -n 2 -p 2 --hostfile f", &["--process 2"]);
    wrong("run word-count -b x:1 -t lines -n 2 -p 1", &["--hostfile"]);
    wrong("run word-count -b x:1 -t lines -n 2 --hostfile f", &["--process"]);
    wrong("run word-cuont -b x:1 -t lines", &["no dataflow", "word-cuont", "did you mean word-count?"]);
    wrong("run zebra -b x:1", &["no dataflow", "zebra", "word-count"]);
    wrong("run", &["name a dataflow", "word-count", "cutwater run --help"]);
    wrong("run -b x:1 -t lines", &["name a dataflow", "word-count"]);
    wrong("run word-count -b x:1 -t lines --checkpoint 5s", &["--checkpoint", "--state"]);
    wrong("run word-count -b x:1 -t lines --ledger-retention 5m", &["--ledger-retention", "--state"]);
    wrong("run word-count -b x:1 -t lines --hostfile f", &["--hostfile", "--processes"]);
    wrong("ledger --repair dir", &["--repair"]);
    wrong("rnu", &["rnu"]);
}

/// A port that is none would be taken as another one: 99999 as 34463.
#[test]
fn ports_are_checked_wherever_they_are_typed() {
    let port = "is not a number from 1 to 65535";
    for brokers in ["x:99999", "x:0", "x:kafka", "a:1,x:65536", "SSL://x:99999"] {
        for command in ["run word-count -t lines", "produce -t lines", "bench"] {
            wrong(&format!("{command} -b {brokers}"), &["--brokers", brokers, port]);
        }
    }
    wrong("run word-count -b x:1 -t lines -X bootstrap.servers=y:99999", &["y:99999", port]);
    wrong(
        "run word-count -b x:1 -t lines -o webhook:http://me:pw@host:99999/rows",
        &["http://host:99999/rows", port],
    );
    wrong("run word-count -b x:1 -t lines --dead-letter webhook:https://host:0", &["https://host:0", port]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("hosts").display().to_string();
    for (hosts, says) in [
        ("a:1\n# b\nb:99999\n", ["line 3", "b:99999", port]),
        ("a:1\nb\n", ["line 2", "\"b\"", "has no port"]),
        ("a:1\na:1\n", ["line 2", "a:1", "twice"]),
        ("a:1\n", ["1 host", "2 processes", "--processes"]),
    ] {
        std::fs::write(&path, hosts).expect("a file");
        let args = format!("run word-count -b x:1 -t lines -n 2 -p 0 --hostfile {path}");
        let ended = cutwater(args.split_whitespace()).run();
        assert!(!ended.status.success());
        ended.says(&[&says[..], &["--hostfile", &path]].concat());
    }
}

#[test]
fn what_matches_no_topic_is_an_error_where_nothing_later_is_read() {
    let (topic, _) = sample();
    let none = format!("^no-{}-.*", topic.name);
    word_count(&topic.address, &none)
        .with("--until-end")
        .run()
        .fails(1, &["no topic matches", &none, "--until-end"]);
}

#[test]
fn a_missing_topic_is_an_error_that_tells_how_to_make_it() {
    let (topic, _) = sample();
    let none = unique();
    let texts = ["there is no topic", &none, "--create-topics PARTITIONS", "kafka-topics.sh", "--create"];
    word_count(&topic.address, &topic.name).args(["-o", &format!("kafka:{none}")]).run().fails(1, &texts);
    word_count(&topic.address, &none).run().fails(1, &["there is no topic", &none, "kafka-topics.sh"]);
}

#[test]
fn no_arguments_show_the_help() {
    cutwater([""; 0]).run().expect(2).says(&["Usage: cutwater"]);
}

/// What a topic is called, a file or a dataflow says must not steer the terminal.
#[test]
fn what_is_foreign_does_not_steer_the_terminal() {
    let ended = cutwater(["run", "word-count", "-b", "x:1", "-t", "^(\u{1b}[31m"]).run();
    ended.fails(2, &["not a regular expression", "\\u{1b}[31m"]);
}

#[test]
fn a_wrong_configuration_file_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("job.toml");
    let path = path.to_str().expect("text");
    for (text, says) in [
        ("worker = 2", ["line 1, column 1: worker:", "did you mean workers?"]),
        ("\ncolour = \"red\"", ["line 2, column 1: colour:", "no such option"]),
        ("topic = \"t\"\nworkers = \"two\"", ["line 2, column 11: workers:", "two"]),
        ("quiet = false\nworkers = ", ["line 2, column 11:", "TOML"]),
        ("brokers = \"${CUTWATER_NO_SUCH}\"", ["line 1, column 11: brokers:", "CUTWATER_NO_SUCH"]),
        ("until-end = 7", ["line 1, column 13: until-end:", "true or false"]),
        ("tokenizer = \"spaces\"", ["line 1, column 13: tokenizer:", "whitespace"]),
        ("workers = [1, 2]", ["line 1, column 11: workers:", "one value"]),
        ("# found later\nto = \"stdin\"", ["--to stdin", "line 2, column 6"]),
        ("checkpoint = \"5s\"", ["--checkpoint", "line 1"]),
        (
            "[produce]\npartitions = true",
            ["line 2, column 14: partitions:", "expected N, but it is true or false"],
        ),
        ("[run.word-cuont]\nworkers = 2", ["line 1, column 6: word-cuont:", "did you mean word-count?"]),
        ("[run.sales]\ntokenizer = \"unicode\"", ["line 2, column 1: tokenizer:", "section [run."]),
        ("[set]\n\"no.such.property\" = 1", ["no.such.property", "line 2, column 1"]),
        ("[set-file]\n\"sasl.password\" = \"/no/file\"", ["/no/file", "line 2, column 1"]),
    ] {
        std::fs::write(path, text).expect("a file");
        let ended = cutwater(["run", "word-count", "-b", "x:1", "-t", "lines", "-c", path]).run();
        ended.fails(2, &[path, says[0], says[1]]);
    }
    let ended = cutwater(["run", "word-count", "-b", "x:1", "-t", "lines", "-c", "/no/such/file"]).run();
    ended.fails(1, &["/no/such/file"]);
}

fn sample() -> (Topic, [&'static str; 3]) {
    let topic = mock().topic(2);
    let lines = ["Don't stop", "stop, Stop", "\u{e9}"];
    topic.send(lines);
    (topic, lines)
}

#[test]
fn a_configuration_file_sets_options_and_flags_win() {
    let (topic, lines) = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("job.toml");
    let group = unique();
    let text = format!(
        "brokers = \"${{TEST_BROKERS}}\"\ntopic = [\"{}\"]\nuntil-end = true\nemit = \"final\"\nworkers = 2\n\
         tokenizer = \"unicode\"\n[set]\n\"group.id\" = \"{group}\"\n",
        topic.name
    );
    std::fs::write(&path, text).expect("a file");
    let program =
        || cutwater(["run", "word-count", "--config"]).args([&path]).env("TEST_BROKERS", &topic.address);
    assert_counts(&finals(&program().rows()), &recount(["don't stop stop stop \u{e9}"]));
    assert_counts(&finals(&program().with("--tokenizer whitespace").rows()), &recount(lines));
    assert_counts(&finals(&program().with("-n 2 -w 1 --tokenizer whitespace").rows()), &recount(lines));
    assert_eq!(topic.committed(&group).values().sum::<i64>(), 3, "the group's name came from the file");
}

#[test]
fn one_configuration_file_has_sections_for_many_commands() {
    let (topic, lines) = sample();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("all.toml");
    let text = format!(
        "[run]\nbrokers = \"{0}\"\ntopic = [\"{1}\"]\nuntil-end = true\nworkers = 2\n[run.word-count]\ntokenizer = \"unicode\"\n\
         emit = [\"final\"]\n[run.sales]\ntop = 3\n[produce]\nbrokers = \"{0}\"\ntopic = \"{1}\"\n[state]\nverify = true\n",
        topic.address, topic.name
    );
    std::fs::write(&path, text).expect("a file");
    let program = |args: &[&str]| cutwater(args).args(["--config"]).args([&path]);
    program(&["produce"]).input(b"stop it\n").run().expect(0);
    let all = [&["don't stop stop stop \u{e9} stop it"][..]].concat();
    assert_counts(&finals(&program(&["run", "word-count"]).rows()), &recount(all));
    let checked = program(&["check", "word-count"]).rows().join("\n");
    assert!(checked.contains(&topic.name) && checked.contains("Unicode"), "{checked}");
    assert!(lines.len() == 3);
}

#[test]
fn brokers_come_from_the_environment() {
    let (topic, lines) = sample();
    let args = ["run", "word-count", "-t", &topic.name, "--until-end", "--emit", "final"];
    let rows = cutwater(args).env("CUTWATER_BROKERS", &topic.address).rows();
    assert_counts(&finals(&rows), &recount(lines));
    cutwater(args).env("CUTWATER_BROKERS", "").run().fails(2, &["--brokers"]);
}

#[test]
fn help_and_list_promise_what_is_there() {
    let list = cutwater(["list"]).rows().join("\n");
    for word in ["word-count", "lines", "counts", "count", "--tokenizer", "whitespace", "unicode"] {
        assert!(list.contains(word), "{word} in {list}");
    }
    for args in ["list", "--help", "run --help", "run word-count --help", "run word-count -h"] {
        let text = cutwater(args.split_whitespace()).rows().join("\n").to_lowercase();
        assert!(text.contains("word-count") || text.contains("list"), "{text}");
        assert!(!args.starts_with("run word-count") || text.contains("webhook:url"), "{text}");
    }
    assert!(cutwater(["bench", "--help"]).rows().join("\n").contains("--rates"));
    assert!(cutwater(["--version"]).rows()[0].starts_with("cutwater "));
}
