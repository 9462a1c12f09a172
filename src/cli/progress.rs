//! Shows how a run is getting on: a line that is drawn again and again on a terminal, with the rate of the last
//! seconds; a line of the log once a minute elsewhere, with that of the minute.

use std::io::{self, IsTerminal};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use console::Term;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::ProgressBar;

use crate::log;
use crate::status::{Lately, Status};

/// How often the line is drawn.
const DRAW: Duration = Duration::from_millis(200);
/// How often the log has a line.
const LOG: Duration = Duration::from_secs(60);

/// How the status is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A line on the terminal.
    Line,
    /// In the log.
    Log,
    /// Not at all: rows run over the terminal.
    None,
}

impl Way {
    /// What is right where standard error or standard output is a terminal, and rows go to the latter.
    fn of(stderr: bool, stdout: bool, rows: bool) -> Self {
        match (stderr, stdout && rows) {
            (false, _) => Way::Log,
            (true, false) => Way::Line,
            (true, true) => Way::None,
        }
    }
}

/// Shows the status while it lives.
pub(super) struct Progress {
    ended: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows `status` from now on; `rows` says that rows go to standard output.
    pub(super) fn start(rows: bool, status: Status) -> Self {
        let (ended, end) = bounded::<()>(0);
        let thread =
            match Way::of(io::stderr().is_terminal() && !log::is_json(), io::stdout().is_terminal(), rows) {
                Way::Line => {
                    let bar = log::spinner();
                    std::thread::spawn(move || {
                        let mut lately = Lately::default();
                        lately.note(status.with(|figures| figures.mark()));
                        while end.recv_timeout(DRAW) == Err(RecvTimeoutError::Timeout) {
                            draw(&bar, &status, &mut lately);
                        }
                        bar.finish_and_clear();
                    })
                }
                Way::Log => std::thread::spawn(move || {
                    let mut due = Instant::now() + LOG;
                    let mut before = status.with(|figures| figures.mark());
                    while end.recv_deadline(due) == Err(RecvTimeoutError::Timeout) {
                        let figures = status.figures();
                        tracing::info!("running: {}", figures.line_since(before));
                        (before, due) = (figures.mark(), due + LOG);
                    }
                }),
                Way::None => return Progress { ended: None, thread: None },
            };
        Progress { ended: Some(ended), thread: Some(thread) }
    }
}

fn draw(bar: &ProgressBar, status: &Status, lately: &mut Lately) {
    // The spinner and a space are before it; a line that fills the last column wraps on some terminals.
    let width = usize::from(Term::stderr().size().1).saturating_sub(3);
    let figures = status.figures();
    bar.set_message(figures.short(lately.note(figures.mark()), width));
}

impl Drop for Progress {
    fn drop(&mut self) {
        // That ends the thread.
        self.ended = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_drawn_where_rows_do_not_run_over_it() {
        assert_eq!(Way::of(true, true, false), Way::Line, "rows to Kafka, a webhook or a file");
        assert_eq!(Way::of(true, false, true), Way::Line, "rows to a pipe or file");
        assert_eq!(Way::of(true, true, true), Way::None);
        for (stdout, rows) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(Way::of(false, stdout, rows), Way::Log);
        }
    }
}
