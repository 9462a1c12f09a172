//! `cutwater check`: what keeps a run from beginning is told, and nothing is changed.

use std::fs;

use crate::support::broker::mock;
use crate::support::kafka::Topic;
use crate::support::program::{Program, cutwater, word_count};
use crate::support::unique;

/// `cutwater check word-count` on a topic.
fn check(topic: &Topic) -> Program {
    cutwater(["check", "word-count", "-b", &topic.address, "-t", &topic.name])
}

/// The lines that begin with this.
fn lines<'a>(all: &'a [String], verdict: &str) -> Vec<&'a String> {
    all.iter().filter(|line| line.starts_with(verdict)).collect()
}

#[test]
fn what_would_run_is_said_to_and_nothing_is_made() {
    let (topic, missing) = (mock().topic(3), unique());
    topic.send(["a b"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("deep/state").to_str().expect("text").to_owned();
    let file = folder.path().join("rows").to_str().expect("text").to_owned();
    let ended = check(&topic)
        .args(["-o", &format!("file:{file}"), "-o", &format!("kafka:{missing}"), "--create-topics", "2"])
        .args(["-o", "webhook:http://me:secret@127.0.0.1:1/rows", "--state", &state])
        .run()
        .expect(0);
    let out = &ended.stdout;
    assert_eq!(lines(out, "ok ").len(), out.len(), "{out:?}");
    for text in [
        &format!("topic {}, 3 partitions", topic.name)[..],
        "would be made, 2 partitions",
        "deep/state is not there and would be made",
        "rows would be made",
    ] {
        assert!(out.iter().any(|line| line.contains(text)), "{text} in {out:?}");
    }
    assert!(!out.iter().any(|line| line.contains("secret")), "{out:?}");
    assert!(fs::read_dir(folder.path()).expect("a folder").next().is_none(), "nothing was made");
    // The topic is not there after all.
    let ended = check(&topic).args(["-o", &format!("kafka:{missing}")]).run();
    let ended = ended.fails(1, &["it would not run: 1 of "]);
    assert!(lines(&ended.stdout, "wrong ")[0].contains(&missing), "{:?}", ended.stdout);
    assert!(topic.committed("cutwater-word-count").is_empty(), "no group has offsets");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let topic = mock().topic(1);
    topic.send(["a"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let below = |name: &str| file.join(name).to_str().expect("text").to_owned();
    let ended =
        cutwater(["check", "word-count", "-b", &topic.address, "-t", "no-such-topic", "-t", &topic.name])
            .args([
                "--from",
                "offset:7",
                "-o",
                &format!("file:{}", below("rows")),
                "--state",
                &below("state"),
            ])
            .run()
            .fails(1, &["it would not run: 4 of "]);
    let wrong = lines(&ended.stdout, "wrong ");
    for (line, texts) in wrong.iter().zip([
        ["no-such-topic", "to make it: "],
        ["offset 7 is wanted", "ends at 1"],
        ["file:", "can't be written"],
        ["state", "is not a folder"],
    ]) {
        assert!(texts.iter().all(|text| line.contains(text)), "{texts:?} in {line}");
    }
    let away = cutwater("check word-count -b 127.0.0.1:1 --connect-timeout 1s -t lines".split(' ')).run();
    let away = away.fails(1, &["it would not run"]);
    assert!(lines(&away.stdout, "wrong ")[0].contains("no broker at 127.0.0.1:1"), "{:?}", away.stdout);
    // What can't be is wrong usage, as for a run.
    check(&topic).args(["--emit", "final"]).run().fails(2, &["--until-end"]);
    cutwater(["check"]).run().fails(2, &["cutwater check DATAFLOW"]);
}

#[test]
fn a_state_is_compared_and_left_as_it_is() {
    let topic = mock().topic(1);
    topic.send(["a b"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().to_str().expect("text").to_owned();
    word_count(&topic.address, &topic.name).args(["--state", &state, "--until-end"]).run().expect(0);
    let files = || {
        let mut files = Vec::new();
        let mut folders = vec![folder.path().to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    files.push((fs::read(&path).expect("bytes"), path))
                }
            }
        }
        files.sort();
        files
    };
    let before = files();
    let ended = check(&topic).args(["--state", &state]).run().expect(0);
    assert!(ended.stdout.last().expect("a line").contains("is of this job"), "{:?}", ended.stdout);
    let other = check(&topic).args(["--state", &state, "--tokenizer", "unicode"]).run().fails(1, &["1 of "]);
    let wrong = lines(&other.stdout, "wrong ");
    assert!(wrong[0].contains("doesn't fit this run") && wrong[0].contains("Unicode"), "{wrong:?}");
    assert!(before == files(), "the state is as it was");

    let running = word_count(&topic.address, &topic.name).args(["--state", &state]).start();
    running.wait_stderr("resuming from");
    let busy = check(&topic).args(["--state", &state]).run().fails(1, &["1 of "]);
    assert!(lines(&busy.stdout, "wrong ")[0].contains("in use by process"), "{:?}", busy.stdout);
}
