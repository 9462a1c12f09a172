//! A supervisor and the processes that it has started.

use std::fs;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::DEADLINE;

/// The processes that a supervisor has started, in the order of their index.
pub fn children(supervisor: Pid) -> Vec<Pid> {
    let mut children: Vec<(String, Pid)> = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| stat(pid).is_some_and(|(_, parent)| parent == supervisor.as_raw()))
        .map(|pid| {
            let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (
                arguments.trim_end_matches('\0').rsplit('\0').next().unwrap_or_default().to_owned(),
                Pid::from_raw(pid),
            )
        })
        .collect();
    children.sort();
    children.into_iter().map(|(_, pid)| pid).collect()
}

/// The state and the parent of a process that is there.
fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Gone, or dead and not yet buried by whoever inherited it.
pub fn is_gone(pid: Pid) -> bool {
    stat(pid.as_raw()).is_none_or(|(state, _)| state == 'Z')
}

/// Waits until all of them are gone.
pub fn wait_gone(pids: &[Pid]) {
    let deadline = Instant::now() + DEADLINE;
    while !pids.iter().all(|&pid| is_gone(pid)) {
        assert!(Instant::now() < deadline, "after {DEADLINE:?} these are not gone: {pids:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
