//! The memory of this process.

/// Bytes that are resident now (`VmRSS`), or were at most (`VmHWM`).
pub(crate) fn resident(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells the memory of a process");
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("there is such a line");
    let kilobytes = line.trim_start_matches(':').trim().trim_end_matches("kB").trim();
    kilobytes.parse::<u64>().expect("kilobytes are a number") * 1024
}
