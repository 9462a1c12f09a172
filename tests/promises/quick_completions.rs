//! Completions and manual pages: real shells take the scripts and complete by them, and real readers of manual pages find
//! nothing wrong.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::program::{cutwater, own};

/// Runs a program of the system, which is to succeed and to say nothing against what it was given. Returns what it prints.
#[track_caller]
fn system(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| {
        panic!("starting {program}: {error}; scripts/test installs it (Debian: apt-get install {program})")
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{program} {args:?}: {err}\n{out}");
    out.into_owned()
}

/// The script of a shell, in a file.
fn script(folder: &Path, shell: &str) -> String {
    let path = folder.join(shell);
    fs::write(&path, cutwater(["completions", shell]).rows().join("\n")).expect("a file");
    path.to_str().expect("text").to_owned()
}

/// What bash offers for the last of these words.
fn bash(script: &str, words: &[&str]) -> Vec<String> {
    let name = words[0];
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let asked = format!(
        "source {script}; COMP_WORDS=({}); COMP_CWORD={}; complete -p {name} >/dev/null; \
         _{name} {name} \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1
    );
    system("bash", &["--norc", "-c", &asked]).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_dataflows_options_and_values() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = script(folder.path(), "bash");
    system("bash", &["-n", &script]);
    assert_eq!(bash(&script, &["cutwater", "prod"]), ["produce"]);
    assert_eq!(bash(&script, &["cutwater", "run", "word"]), ["word-count"]);
    assert_eq!(bash(&script, &["cutwater", "check", "bal"]), ["balances"]);
    let options = bash(&script, &["cutwater", "run", "word-count", "--t"]);
    assert_eq!(options, ["--tokenizer", "--topic", "--to"], "the dataflow's own and those of the command");
    let values = bash(&script, &["cutwater", "run", "word-count", "--tokenizer", "u"]);
    assert_eq!(values, ["unicode"]);
    assert!(!bash(&script, &["cutwater", "run", "sales", "--"]).contains(&"--tokenizer".to_owned()));
}

#[test]
fn fish_and_zsh_take_their_scripts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    system("zsh", &["-n", &script(folder.path(), "zsh")]);
    let fish = script(folder.path(), "fish");
    system("fish", &["--no-config", "-n", &fish]);
    let asked = format!("source {fish}; complete -C 'cutwater run word'");
    let offered = system("fish", &["--no-config", "-c", &asked]);
    assert!(offered.starts_with("word-count\t"), "{offered}");
}

#[test]
fn the_scripts_of_other_shells_name_the_program_and_a_shell_that_is_none_is_wrong_usage() {
    for shell in ["elvish", "powershell"] {
        let script = cutwater(["completions", shell]).rows().join("\n");
        assert!(script.contains("word-count") && script.contains("cutwater"), "{shell}");
    }
    let ended = cutwater(["completions", "basch"]).run().expect(2);
    ended.says(&["basch", "SHELL"]);
}

#[test]
fn a_program_of_ones_own_is_completed_by_its_name_and_dataflows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let printed = own(&["completions", "bash"]).rows();
    // The test binary that plays the program has said a few words before.
    let lines: Vec<&str> =
        printed.iter().map(String::as_str).skip_while(|line| *line != "_own() {").collect();
    let path = folder.path().join("own");
    fs::write(&path, lines.join("\n")).expect("a file");
    assert_eq!(bash(path.to_str().expect("text"), &["own", "run", "col"]), ["columns"]);
}

#[test]
fn there_is_a_manual_page_of_every_command_and_dataflow() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = folder.path().join("man1");
    cutwater(["man", pages.to_str().expect("text")]).run().expect(0);
    let page = |name: &str| pages.join(name).to_str().expect("text").to_owned();
    for name in ["cutwater.1", "cutwater-run.1", "cutwater-run-word-count.1", "cutwater-man.1"] {
        assert!(Path::new(&page(name)).is_file(), "{name}");
    }
    for entry in fs::read_dir(&pages).expect("a folder") {
        let path = entry.expect("a page").path();
        system("mandoc", &["-T", "lint", "-W", "error", path.to_str().expect("text")]);
        // What groff would read as bytes of Latin-1.
        assert!(fs::read(&path).expect("a page").is_ascii(), "{}", path.display());
    }
    let text = system("mandoc", &["-T", "utf8", "-O", "width=200", &page("cutwater-run-word-count.1")]);
    // Bold letters are struck twice.
    let mut plain: Vec<char> = Vec::new();
    for c in text.chars() {
        if c == '\u{8}' {
            plain.pop();
        } else {
            plain.push(c);
        }
    }
    let plain: String = plain.into_iter().collect();
    for part in [
        "--tokenizer <TOKENIZER>",
        "--stop-timeout <DURATION> [default: 60s]",
        "Unicode white space",
        "\"é\" as one",
    ] {
        assert!(plain.contains(part), "{part} in {plain}");
    }
    assert!(cutwater(["man"]).rows().join("\n").contains(".TH cutwater 1"));
}
