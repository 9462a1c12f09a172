//! `cutwater ledger`: shows what is there, finds what is wrong, and changes nothing.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cutwater::state::digest::Digest;
use cutwater::state::ledger::Ledger;
use cutwater::state::resume::Entry;
use cutwater::state::storage::claim;
use cutwater_dataflows::watermark::Times;
use tempfile::TempDir;

use crate::support::program::{Program, cutwater};

/// A state whose ledger has this many epochs, one synced after the other.
fn state(epochs: u64) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (storage, _lock) = claim(text(folder.path())).expect("a new state");
    let mut ledger = Ledger::open(Arc::clone(&storage), "job").expect("an empty ledger");
    for epoch in 1..=epochs {
        let time = 1_700_000_000_000_000 + epoch * 1_000_000;
        let closed = time as i64;
        let watermark = (epoch > 1).then_some(closed - 80_000_000);
        let of_inputs = [("lines".to_owned(), watermark.unwrap_or_default()), ("more".to_owned(), -1)];
        let watermarks = if epoch == 4 { of_inputs.into() } else { Default::default() };
        let times = Times { closed, watermark, watermarks };
        let mut entry = Entry { epoch, time: time + 1, records: 20, times, ..Entry::default() };
        if epoch == 1 {
            entry.starts.set("lines", "words", 0, 7);
        }
        entry.cut.set("lines", "words", 0, 7 + epoch as i64 * 20);
        if epoch % 2 == 0 {
            entry.cut.set("lines", "words", 3, epoch as i64);
        }
        // Those before are of a program that knew no digests.
        if epoch == 4 {
            entry.digests.insert("counts".to_owned(), Digest(0xff));
        }
        ledger.append(entry).expect("it follows");
        ledger.sync().expect("there is room");
    }
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn shown(state: &TempDir) -> Program {
    cutwater(["ledger", text(state.path())])
}

fn segment(state: &TempDir) -> PathBuf {
    state.path().join("ledger/00000000000000000001.jsonl")
}

#[test]
fn a_ledger_is_shown_with_what_moved_in_each_epoch() {
    let state = state(4);
    let rows = shown(&state).rows();
    assert_eq!(
        rows,
        [
            "     epoch  closed                    watermark                    records  moved",
            "         1  2023-11-14T22:13:21.000Z  -                                 20  lines=words 0: 7-27",
            "         2  2023-11-14T22:13:22.000Z  2023-11-14T22:12:02.000Z          20  lines=words 0: 27-47, 3: -2",
            "         3  2023-11-14T22:13:23.000Z  2023-11-14T22:12:03.000Z          20  lines=words 0: 47-67",
            "         4  2023-11-14T22:13:24.000Z  2023-11-14T22:12:04.000Z          20  lines=words 0: 67-87, 3: 2-4; \
             watermarks lines 2023-11-14T22:12:04.000Z, more 1969-12-31T23:59:59.999999Z; digests counts 00000000000000ff",
        ]
    );
    let verified = shown(&state).with("--verify").rows();
    let place = text(state.path());
    assert_eq!(verified, [format!("{place}: no problem in 4 epochs, 1 to 4, in 1 file")]);
}

#[test]
fn a_torn_end_is_no_damage_and_is_left_as_it_is() {
    let state = state(4);
    let mut bytes = std::fs::read(segment(&state)).expect("the segment");
    bytes.truncate(bytes.len() - 9);
    std::fs::write(segment(&state), &bytes).expect("the segment");
    // A run has the folder.
    let lock = cutwater::state::lock::Lock::take(text(state.path())).expect("nobody has it");
    assert_eq!(shown(&state).rows().len(), 4);
    let verified = shown(&state).with("--verify").run().expect(0);
    verified.says(&["00001.jsonl, line 5: its end is missing", "being written"]);
    assert!(verified.stdout[0].contains("no problem in 3 epochs, 1 to 3"), "{:?}", verified.stdout);
    assert_eq!(std::fs::read(segment(&state)).expect("the segment"), bytes);
    drop(lock);
}

#[test]
fn damage_is_told_with_file_and_line() {
    let state = state(6);
    let mut bytes = std::fs::read(segment(&state)).expect("the segment");
    let starts: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    for line in [2, 4] {
        bytes[starts[line] + 20] ^= 1;
    }
    std::fs::write(segment(&state), &bytes).expect("the segment");
    let ended = shown(&state).run().fails(1, &["00001.jsonl, line 4: its checksum is wrong", "--verify"]);
    assert_eq!(ended.stdout.len(), 3, "what is before it is shown");
    let ended = shown(&state).with("--verify").run().fails(1, &["is damaged: 2 problems"]);
    assert_eq!(ended.stdout.len(), 2);
    for (line, found) in [4, 6].into_iter().zip(&ended.stdout) {
        let says = format!("ledger/00000000000000000001.jsonl, line {line}: its checksum is wrong");
        assert!(found.ends_with(&says), "{found}");
    }
    std::fs::write(state.path().join("job.json"), "{}\n").expect("a file");
    let ended = shown(&state).with("--verify").run().fails(1, &["is damaged: 3 problems"]);
    assert!(ended.stdout[0].contains("job.json is damaged"), "{:?}", ended.stdout);
}

#[test]
fn without_a_ledger_there_is_nothing_to_show() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = text(folder.path());
    cutwater(["ledger", place]).run().fails(1, &["there is no ledger in", place]);
    cutwater(["ledger", "/no/such/folder"]).run().fails(1, &["/no/such/folder"]);
    assert_eq!(std::fs::read_dir(place).expect("the folder").count(), 0, "nothing was made");
}

#[test]
fn a_reader_may_stop_early() {
    let state = state(2000);
    let mut running = shown(&state).start_unread();
    let mut stdout = BufReader::new(running.child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("the first line");
    assert!(line.contains("epoch"));
    drop(stdout);
    running.wait().expect(0);
}
