//! `--live`: when it can be, and what it shows.

use anyhow::Result;
use nix::sys::signal::{Signal, raise};

use super::options::RunArgs;
use super::running::Running;
use super::served::Served;
pub(super) use crate::live::run::Live;
use crate::live::run::Shown;
pub(super) use crate::live::screen::Place;
use crate::log;
use crate::shown::count;
use crate::usage::usage;

/// Where the table is drawn, if it is asked for. `rows`: some go to standard output. `watched`: the run's processes are started
/// by this one.
///
/// # Errors
/// A usage error if it can't be.
pub(super) fn place(args: &RunArgs, quiet: bool, rows: bool, watched: bool) -> Result<Option<Place>> {
    if !args.live {
        return Ok(None);
    }
    if rows {
        return Err(usage(
            "--live: rows go to standard output, over the table. Send them elsewhere with --to, or nowhere with --to none",
        ));
    }
    if quiet {
        return Err(usage("--live draws, and --quiet draws nothing: leave one of them out"));
    }
    if log::is_json() {
        return Err(usage(
            "--live draws, and with --log-format json nothing is drawn: leave one of them out",
        ));
    }
    if watched {
        return Err(usage(
            "--live: what --processes and --restart start has no terminal. Look at the run with --http, or start process 0 by \
             itself (--process 0), with --live and --http, and the others with --http",
        ));
    }
    // Whether there are views is the same in all processes, and process 0 alone has them.
    if args.processes.get() > 1 && !(args.process == Some(0) && args.http.http.is_some()) {
        return Err(usage(
            "--live in a run of several processes is for process 0 (--process 0), and all of them need --http",
        ));
    }
    let place = Place::find();
    place.map(Some).ok_or_else(|| {
        usage(
            "--live draws on a terminal, and neither standard error nor standard output is one. Leave it out, or look at \
             the run with --http",
        )
    })
}

/// Draws the table from now on, if there is a place for it.
///
/// # Errors
/// If the terminal can't be set up.
pub(super) fn start(place: Option<Place>, running: &Running<'_>, served: &Served) -> Result<Option<Live>> {
    let (Some(place), Some(views)) = (place, served.views()) else { return Ok(None) };
    let args = running.args;
    let workers = (args.workers.get() * args.processes.get()) as u64;
    let title = format!("{}, q stops it", count(workers, "worker"));
    // As Ctrl-C does where nobody has taken the terminal; it fails where there is no such signal.
    let ask_to_stop = || {
        let _ = raise(Signal::SIGINT);
    };
    let shown = Shown {
        dataflow: running.dataflow.name().to_owned(),
        title,
        status: running.status.clone(),
        views: views.clone(),
        ask_to_stop,
    };
    Live::start(place, shown).map(Some)
}
