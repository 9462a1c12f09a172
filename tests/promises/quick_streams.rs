//! Standard output and standard error that can't be written: full, or closed by whoever read them.

use std::fs::OpenOptions;
use std::io::pipe;
use std::process::Stdio;

use crate::quick_state;
use crate::support::broker::mock;
use crate::support::program::{Program, cutwater, word_count};
use crate::support::rows::{Replay, assert_counts, recount};

/// Takes nothing.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("the system has it").into()
}

/// Whoever read it has gone.
fn closed() -> Stdio {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// Every command that writes to standard output.
fn commands() -> Vec<Box<dyn Fn() -> Program>> {
    let state = quick_state::sample();
    let dir = state.path().to_str().expect("text").to_owned();
    let topic = mock().topic(1);
    topic.send(["a b", "b"]);
    let run = move || word_count(&topic.address, &topic.name).with("--until-end");
    let of_state = move |args: &str| {
        // The folder lives as long as the commands.
        assert!(state.path().exists());
        cutwater(args.split_whitespace()).args([&dir])
    };
    let of_state = std::rc::Rc::new(of_state);
    let again = std::rc::Rc::clone(&of_state);
    let third = std::rc::Rc::clone(&of_state);
    vec![
        Box::new(|| cutwater(["list"])),
        Box::new(|| cutwater(["--help"])),
        Box::new(|| cutwater(["--version"])),
        Box::new(|| cutwater(["run", "--help"])),
        Box::new(|| cutwater(["run", "word-count", "--help"])),
        Box::new(move || of_state("state")),
        Box::new(move || again("ledger")),
        Box::new(move || third("ledger --verify")),
        Box::new(run),
        Box::new(|| cutwater(["demo"]).with("--seconds 1 --rate 100 --quiet")),
        Box::new(|| {
            cutwater(["bench"]).with("--records 100 --words 1 --vocabulary 10 --rounds 1 --rates none")
        }),
    ]
}

#[test]
fn a_full_standard_output_ends_every_command_with_one_line() {
    for command in commands() {
        command().stdout_to(full()).run().fails(1, &["standard output", "No space left"]);
    }
}

#[test]
fn a_closed_standard_output_ends_every_command_quietly() {
    for command in commands() {
        let ended = command().stdout_to(closed()).run().expect(0);
        if ended.stderr.iter().any(|line| line.contains("error") || line.contains("panicked")) {
            ended.fail("it complains");
        }
    }
}

/// Damage is told by the exit code, whoever reads the rest.
#[test]
fn a_closed_standard_output_hides_no_damage() {
    let state = quick_state::sample();
    let dir = state.path().to_str().expect("text");
    let ledger = std::fs::read_dir(state.path().join("ledger")).expect("a ledger");
    let segment = ledger.map(|entry| entry.expect("an entry").path()).min().expect("a segment");
    let text = std::fs::read_to_string(&segment).expect("text");
    std::fs::write(&segment, text.replacen("\"epoch\":5", "\"epoch\":6", 1)).expect("there is room");
    for command in ["state", "ledger"] {
        let program = cutwater([command, dir, "--verify"]);
        program.stdout_to(closed()).run().fails(1, &["damaged"]);
    }
}

#[test]
fn a_standard_error_that_can_not_be_written_changes_nothing() {
    let topic = mock().topic(2);
    let lines: Vec<String> = (0..500).map(|line| format!("word{} x", line % 7)).collect();
    topic.send(&lines);
    for shape in ["-w 2", "-n 2"] {
        for stderr in [full, closed] {
            let program = word_count(&topic.address, &topic.name).with("--until-end --log trace").with(shape);
            let rows = program.stderr_to(stderr()).rows();
            assert_counts(Replay::of(&rows).counts(), &recount(&lines));
        }
    }
    for stderr in [full, closed] {
        let rows = cutwater(["demo"]).with("--seconds 1 --rate 100").stderr_to(stderr()).rows();
        assert_eq!(rows.len(), 10, "{rows:?}");
        // What is wrong is told by the exit code alone.
        cutwater(["run", "word-count"]).stderr_to(stderr()).run().expect(2);
        cutwater(["state", "/no/such/state"]).stderr_to(stderr()).run().expect(1);
    }
}
