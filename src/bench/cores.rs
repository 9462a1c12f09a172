//! Who takes the processor while records are offered: what is measured, what measures it, and the rest of the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::process::children;

/// Processors in use, on average: 1.0 is one of them all the time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cores {
    /// By word-count's processes.
    pub product: f64,
    /// By the producer that offers.
    pub load: f64,
    /// By the reader of what is committed.
    pub reader: f64,
    /// By all else on this machine: the broker above all, where it is here.
    pub rest: f64,
    /// True iff they were nearly all in use: then latencies tell of waiting for a processor, too.
    pub full: bool,
}

/// What part of the processors has to be in use for them to be called full.
const FULL: f64 = 0.95;

/// Times of a moment, in clock ticks.
#[derive(Clone, Copy, Default)]
struct Times {
    product: u64,
    load: u64,
    reader: u64,
    machine: u64,
}

/// Tells the threads of this process apart by when they are started.
#[derive(Default)]
pub(super) struct Meter {
    before: BTreeSet<u32>,
    reader: BTreeSet<u32>,
    load: BTreeSet<u32>,
    product: u32,
    began: Option<(Instant, Times)>,
}

impl Meter {
    /// Neither reader nor producer is there yet.
    pub(super) fn new() -> Self {
        Meter { before: threads(), ..Meter::default() }
    }

    /// The reader has all its threads now.
    pub(super) fn reader_is_open(&mut self) {
        self.reader = threads().difference(&self.before).copied().collect();
    }

    /// The producer has all its threads now, this one among them, and word-count is the process with this id.
    pub(super) fn load_is_open(&mut self, product: u32) {
        let known: BTreeSet<u32> = self.before.union(&self.reader).copied().collect();
        self.load = threads()
            .difference(&known)
            .copied()
            .chain([nix::unistd::gettid().as_raw().cast_unsigned()])
            .collect();
        self.product = product;
    }

    /// From now on it counts.
    pub(super) fn begin(&mut self) {
        self.began = Some((Instant::now(), self.times()));
    }

    /// Up to now it counts.
    ///
    /// # Panics
    /// If it has not begun.
    pub(super) fn end(&self) -> Cores {
        let (start, began) = self.began.expect("it has begun");
        let (now, seconds) = (self.times(), start.elapsed().as_secs_f64());
        let cores = |now: u64, before: u64| now.saturating_sub(before) as f64 / ticks() / seconds;
        let product = cores(now.product, began.product);
        let load = cores(now.load, began.load);
        let reader = cores(now.reader, began.reader);
        let machine = cores(now.machine, began.machine);
        let all = std::thread::available_parallelism().map_or(1.0, |all| all.get() as f64);
        let rest = (machine - product - load - reader).max(0.0);
        Cores { product, load, reader, rest, full: machine >= FULL * all }
    }

    fn times(&self) -> Times {
        let of = |threads: &BTreeSet<u32>| {
            threads.iter().map(|id| stat(Path::new(&format!("/proc/self/task/{id}/stat")))).sum()
        };
        // Parts before what they are parts of: a part that is read later may seem to be more than the whole.
        let (load, reader) = (of(&self.load), of(&self.reader));
        let product = of_process(self.product);
        Times { product, load, reader, machine: machine() }
    }
}

/// The threads of this process.
fn threads() -> BTreeSet<u32> {
    let Ok(folder) = fs::read_dir("/proc/self/task") else { return BTreeSet::new() };
    folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Ticks of a process and of those that it has started.
fn of_process(id: u32) -> u64 {
    let own = stat(Path::new(&format!("/proc/{id}/stat")));
    own + children(id).into_iter().map(of_process).sum::<u64>()
}

/// Ticks of a thread or process, in user and kernel; 0 where it has ended.
fn stat(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    // A name may have spaces and brackets in it; what follows the last bracket has not.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    // utime and stime are fields 14 and 15 of proc(5); the third comes first here.
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Ticks in which the machine's processors were not idle.
fn machine() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let times: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal: guests are counted in user already.
    times.iter().take(8).enumerate().filter(|(index, _)| ![3, 4].contains(index)).map(|(_, time)| time).sum()
}

/// Ticks a second.
fn ticks() -> f64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_busy_is_told_from_one_that_is_not() {
        // Other tests start and end threads of this process meanwhile: what is asserted is of this one thread.
        let (tell, told) = crossbeam_channel::bounded(1);
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let mut meter = Meter::new();
        let busy = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid().as_raw().cast_unsigned()).expect("it is awaited");
            while stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
                std::hint::spin_loop();
            }
        });
        let id = told.recv().expect("it has started");
        meter.reader_is_open();
        meter.load_is_open(std::process::id());
        let own = nix::unistd::gettid().as_raw().cast_unsigned();
        assert!(meter.reader.contains(&id) && !meter.reader.contains(&own), "{:?}", meter.reader);
        assert!(meter.load.contains(&own) && !meter.load.contains(&id), "{:?}", meter.load);

        meter.reader = BTreeSet::from([id]);
        meter.begin();
        let (cores, times) = loop {
            let (cores, times) = (meter.end(), meter.times());
            if cores.reader > 0.0 && times.reader > 20 {
                break (cores, times);
            }
            std::thread::yield_now();
        };
        drop(stop);
        busy.join().expect("it ends");
        assert!(cores.product > 0.0, "{cores:?}");
        // User and kernel time are each cut to whole ticks.
        assert!(times.product + 2 >= times.reader, "the process is all its threads: {cores:?}");
    }
}
