//! The processes of one life: all that have its mark in their environment, whoever their parent is by now.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable that holds the mark.
pub const MARK: &str = "CUTWATER_TEST_LIFE";

/// The processes that have this mark and are alive, in the order in which they were started, as far as their numbers
/// tell.
pub fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}");
    let mut found: Vec<Pid> = std::fs::read_dir("/proc")
        .expect("Linux has /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        // Gone meanwhile, ended but not waited for, or not ours to read: then it has no environment.
        .filter(|pid: &i32| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|all| all.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes()))
        })
        .map(Pid::from_raw)
        .collect();
    found.sort();
    found
}

/// Sends a signal; false if the process is not there any more.
pub fn send(pid: Pid, signal: Signal) -> bool {
    kill(pid, signal).is_ok()
}

/// What a process is and does, for a report.
pub fn describe(pid: Pid) -> String {
    let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
    let status = String::from_utf8_lossy(&read("status")).into_owned();
    let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or("gone").to_owned();
    format!("{pid} {state}: {command}")
}
