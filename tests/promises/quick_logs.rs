//! What a run says of itself: for people or as JSON, without what is in records unless it is asked for, and never anything
//! secret.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::broker::mock;
use crate::support::program::{Ended, Program, cutwater, word_count};

/// The objects on standard error: there is nothing else.
#[track_caller]
fn objects(ended: &Ended) -> Vec<Value> {
    let read = |line: &String| match serde_json::from_str::<Value>(line) {
        Ok(object) => object,
        Err(error) => ended.fail(&format!("{line:?} is no JSON: {error}")),
    };
    let objects: Vec<Value> = ended.stderr.iter().map(read).collect();
    for object in &objects {
        let keys: BTreeSet<&str> =
            object.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            BTreeSet::from(["fields", "level", "message", "process", "target", "time"]),
            "{object}"
        );
    }
    objects
}

#[track_caller]
fn told<'a>(objects: &'a [Value], text: &str) -> &'a Value {
    let told =
        objects.iter().find(|object| object["message"].as_str().is_some_and(|said| said.contains(text)));
    told.unwrap_or_else(|| panic!("nothing says {text:?}: {objects:#?}"))
}

#[test]
fn a_log_of_json_has_an_object_a_line_for_each_notable_event() {
    let topic = mock().topic(2);
    topic.send(["a b", "b"]);
    topic.send_to(0, Some(b"\xff"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state").display().to_string();
    let run = || {
        let json = "--log-format json --until-end -o none -w 2";
        word_count(&topic.address, &topic.name).with(json).args(["--state", &state])
    };
    let ended = run().run().expect(0);
    let log = objects(&ended);
    let start = told(&log, "starting word-count: 2 workers in 1 process");
    assert_eq!(start["fields"]["dataflow"], "word-count");
    assert_eq!(
        (&start["fields"]["workers"], &start["process"], &start["level"]),
        (&2.into(), &Value::Null, &"info".into())
    );
    assert_eq!(told(&log, "dead letter: ")["level"], "warn");
    assert!(told(&log, "checkpoint of epoch")["fields"]["rows"].is_u64());
    told(&log, &format!("state {state}: new"));
    told(&log, "done: 3 records");
    // It is resumed, in two processes: each line says of which it is, but for those of their supervisor.
    let log = objects(&run().with("-n 2").run().expect(0));
    told(&log, "resuming from the checkpoint");
    let processes: BTreeSet<String> = log.iter().map(|object| object["process"].to_string()).collect();
    assert!(processes.contains("0") && processes.contains("1"), "{processes:?}");
    // An error is an object as well, however early it is found.
    let topics = "--log-format json -t lines -t words=x";
    let log = objects(&word_count(&topic.address, &topic.name).with(topics).run().expect(2));
    assert_eq!(told(&log, "words")["level"], "error");
    let log =
        objects(&cutwater(["run", "word-count", "--log-format=json", "--wrokers", "2"]).run().expect(2));
    assert_eq!((log.len(), &told(&log, "--wrokers")["level"]), (1, &"error".into()));
}

#[test]
fn what_is_replayed_is_said() {
    let topic = mock().topic(1);
    topic.send(["a"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state").display().to_string();
    let run = || {
        word_count(&topic.address, &topic.name).args([
            "--state",
            &state,
            "-o",
            "stdout",
            "--checkpoint",
            "1h",
        ])
    };
    let mut first = run().start();
    first.rows_until(|line| line.contains("\"a\""));
    first.signal(nix::sys::signal::SIGKILL);
    first.wait();
    run().with("--until-end").run().expect(0).says(&[
        "INFO",
        "replayed epochs 1 to",
        "what comes now is new",
    ]);
}

#[test]
fn what_is_in_records_is_not_shown_unless_it_is_asked_for() {
    let topic = mock().topic(1);
    topic.send_to(0, Some(b"planted word \xff"));
    let run = || word_count(&topic.address, &topic.name).with("--until-end -o none --log trace");
    let ended = run().run().expect(0);
    ended.says(&["dead letter: ", "not UTF-8"]);
    assert!(!ended.stderr.concat().contains("planted"), "{:?}", ended.stderr);
    run().with("--log-payloads").run().expect(0).says(&["dead letter: ", "planted word \\xff"]);
}

const PLANTED: &str = "pl4nted-s3cret";

/// Command lines that fail, each with something secret in it.
fn failing(folder: &str) -> Vec<Program> {
    let run = |args: &str| {
        let args = args.replace('$', PLANTED);
        let start =
            "run word-count -t lines --connect-timeout 1s --log debug,librdkafka=trace -b 127.0.0.1:1";
        cutwater(start.split_whitespace()).with(&args)
    };
    let mut all: Vec<Program> = [
        "-X sasl.password=$ -X security.protocol=sasl_plaintext -X sasl.mechanisms=PLAIN -X sasl.username=me -X debug=all",
        "-X sasl.password=$ -X security.protocol=sasl_plaintext -X sasl.mechanisms=PLAIN",
        "-X sasl.pasword=$",
        "-X sasl.password:$",
        "-X sasl.password $",
        "--sasl.password $",
        "--sasl-password=$",
        "-X=sasl.password=$ --wrokers 2",
        "-Xssl.key.password=$ -X ssl.key.location=/no/such/key -X security.protocol=ssl",
        "-X ssl.key.pem=$ -X security.protocol=ssl",
        "-X ssl.keystore.password=$ -X ssl.keystore.location=/no/such/store -X security.protocol=ssl",
        "-X sasl.oauthbearer.client.secret=$ -X sasl.oauthbearer.method=oidc -X security.protocol=sasl_ssl",
        "-X sasl.mechanisms=OAUTHBEARER -X sasl.oauthbearer.config=principal=$ -X security.protocol=sasl_plaintext",
        "-X sasl.password=$ -X debug=all -X enable.partition.eof=false",
        "-o webhook:https://me:$@127.0.0.1:1/rows",
        "-o webhook:https://me:$@127.0.0.1:99999/rows",
        "-o webhook:ftp://me:$@host/rows",
        "-o webhook:https://$@host:port",
        "--dead-letter webhook:host:$@x/rows -o webhook:https://u:$@h",
        "-f avro --schema-registry https://me:$@127.0.0.1:1",
        "-f avro --schema-registry ftp://me:$@127.0.0.1:1",
        "--state s3://me:$@bucket/prefix",
        "-X bootstrap.servers=me:$@host:9",
        "-X bootstrap.servers=me:$@host",
        "--http me:$@host:1",
        "-o kafka:me:$@topic",
        "-o me:$@host",
        "-n 2 -X sasl.password=$ -X no.such=1",
        "-n 2 -X sasl.password=$ -X security.protocol=sasl_plaintext -X sasl.mechanisms=PLAIN -X sasl.username=me",
        "--log-format json -X sasl.password=$ --emit final",
        "--log-format json -X sasl.password $",
        "--log-format json -X sasl.pasword=$",
    ]
    .into_iter()
    .map(run)
    .collect();
    // From files.
    for (name, text) in [
        ("unknown", "[set]\n\"sasl.pasword\" = \"$\"\n"),
        ("later", "[set]\n\"sasl.password\" = \"$\"\nno-such = 1\n"),
        ("type", "[set]\n\"sasl.password\" = \"${TEST_SECRET}\"\n[run]\nworkers = \"$\"\n"),
        ("variable", "[set]\n\"sasl.password\" = \"$${NO_SUCH}\"\n"),
        ("toml", "[set]\n\"sasl.password\" = \"$\" x\n"),
        ("url", "to = \"webhook:https://me:$@host:99999\"\n"),
        ("fine", "[set]\n\"sasl.password\" = \"${TEST_SECRET}\"\n"),
    ] {
        let path = format!("{folder}/{name}.toml");
        fs::write(&path, text.replace("${", "\u{1}").replace('$', PLANTED).replace('\u{1}', "${"))
            .expect("a file");
        for more in ["", "--help"] {
            all.push(run("").with(more).args(["--config", &path]).env("TEST_SECRET", PLANTED));
        }
    }
    for command in
        ["produce", "reinject --dead-letters kafka:dead", "generate word-count", "check word-count"]
    {
        let sasl =
            format!("-b 127.0.0.1:1 -t lines -X sasl.password={PLANTED} -X no.such=1 --connect-timeout 1s");
        all.push(cutwater(command.split_whitespace()).with(&sasl).input(b"a\n"));
    }
    for command in ["support --http me:$@host:1 /dev/null/x", "run word-count -t lines -b me:$@host:9"] {
        all.push(cutwater(command.replace('$', PLANTED).split_whitespace()));
    }
    let endpoint = format!("http://me:{PLANTED}@127.0.0.1:1");
    all.push(cutwater(["state", "s3://b/x"]).env("AWS_ENDPOINT", &endpoint).env("AWS_ALLOW_HTTP", "true"));
    all
}

/// Nothing that is secret comes out, whatever is wrong.
#[test]
fn no_secret_is_shown_whatever_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running: Vec<_> =
        failing(folder.path().to_str().expect("text")).into_iter().map(Program::start).collect();
    assert!(running.len() > 40);
    for running in running {
        let ended = running.wait();
        assert!(!ended.stderr.is_empty() || ended.stdout.len() > 10, "it says something");
        for said in ended.stdout.iter().chain(&ended.stderr) {
            if said.contains(PLANTED) {
                ended.fail("it tells a secret");
            }
        }
    }
}

/// What a supervisor starts, and what it hands over, holds no secret that was not typed there.
#[test]
fn a_supervisor_puts_no_secret_where_others_can_see_it() {
    let topic = mock().topic(1);
    topic.send(["a"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (config, secret) = (folder.path().join("job.toml"), folder.path().join("secret"));
    fs::write(&config, "[set]\n\"ssl.key.password\" = \"${TEST_SECRET}\"\n").expect("a file");
    fs::write(&secret, format!("{PLANTED}-of-the-cluster")).expect("a file");
    let run = word_count(&topic.address, &topic.name)
        .with("-n 2 -o stdout")
        .args(["--cluster-secret-file"])
        .args([&secret]);
    let mut run =
        run.args(["--config"]).args([&config]).env("TEST_SECRET", "typed-in-the-environment").start();
    run.rows_until(|line| line.contains("\"a\""));
    let pid = run.pid();
    let mut seen = 0;
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let folder = entry.path();
        let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        if parent != Some(pid.as_raw()) {
            continue;
        }
        seen += 1;
        for file in ["cmdline", "environ"] {
            let text = String::from_utf8_lossy(&fs::read(folder.join(file)).expect("it runs")).into_owned();
            assert!(!text.contains(PLANTED), "{file}: {text}");
            assert!(file == "environ" || !text.contains("typed-in-the-environment"), "{file}: {text}");
        }
    }
    assert_eq!(seen, 2, "both processes were looked at");
    run.signal(nix::sys::signal::SIGTERM);
    run.wait().expect(0);
}
