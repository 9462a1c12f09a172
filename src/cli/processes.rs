//! The processes of a run: how many there are, where they listen, what they have in common, and who watches over them.

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::Build;
use xxhash_rust::xxh3::xxh3_64;

use super::options::{MOST_WORKERS, RunArgs};
use crate::address;
use crate::cluster::{Cluster, SHORTEST_SILENCE, Secret};
use crate::shown::count;
use crate::supervise::{Inherited, Processes, Restart, Watched};
use crate::supervised::is_supervised;
use crate::usage::usage;

/// Refuses options of several processes that can't be, or not together.
pub(super) fn check(args: &RunArgs) -> Result<()> {
    let processes = args.processes.get();
    if args.workers.get().saturating_mul(processes) > MOST_WORKERS {
        return Err(usage(format!(
            "--workers {} of --processes {processes}: more than {MOST_WORKERS} workers in all",
            args.workers
        )));
    }
    if args.peer_timeout < SHORTEST_SILENCE {
        return Err(usage(format!(
            "--peer-timeout {:?}: shorter than {SHORTEST_SILENCE:?}, the shortest silence that can be noticed",
            args.peer_timeout
        )));
    }
    match args.process {
        Some(process) if process >= processes => Err(usage(format!(
            "--process {process}: there are {processes} processes (--processes), counted from 0"
        ))),
        Some(_) if processes > 1 && args.hostfile.is_none() && !is_supervised() => {
            Err(usage("--process needs --hostfile: where do the other processes listen?"))
        }
        _ if args.cluster_open && args.hostfile.is_none() => {
            Err(usage("--cluster-open is for processes on several hosts: it needs --hostfile"))
        }
        _ if args.cluster_open && args.cluster_secret_file.is_some() => Err(usage(
            "--cluster-open takes any process that connects, and --cluster-secret-file only those that know the secret: \
             choose one",
        )),
        _ if args.cluster_secret_file.is_some() && processes == 1 => Err(usage(
            "--cluster-secret-file is for several processes: say how many there are with --processes",
        )),
        _ if args.hostfile.is_some() && processes == 1 => {
            Err(usage("--hostfile is for several processes: say how many there are with --processes"))
        }
        None if args.hostfile.is_some() => {
            Err(usage("--hostfile is for processes on several hosts: say with --process which one this is"))
        }
        _ => Ok(()),
    }
}

/// What the processes prove to each other that they know: as the supervisor has said, or else as typed.
pub(super) fn secret(args: &RunArgs, inherited: Option<&Inherited>) -> Result<Option<Secret>> {
    match inherited {
        Some(inherited) => Ok(Some(inherited.secret.clone())),
        None => args.cluster_secret_file.as_deref().map(Secret::read).transpose(),
    }
}

/// What this process is to watch over, instead of running the dataflow itself.
pub(super) fn watched(args: &RunArgs, secret: Option<&Secret>) -> Option<Watched> {
    let processes = match args.process {
        None if args.processes.get() > 1 => Processes::All(args.processes.get()),
        process if args.restart != Restart::Never && !is_supervised() => Processes::One(process.unwrap_or(0)),
        _ => return None,
    };
    Some(Watched {
        processes,
        secret: secret.cloned(),
        stop_timeout: args.stop_timeout,
        restart: args.restart,
    })
}

/// The cluster of which this process is one.
pub(super) fn cluster(
    args: &RunArgs,
    dataflow: &dyn Build,
    inherited: Option<Inherited>,
    secret: Option<Secret>,
) -> Result<Cluster> {
    let (addresses, listener) = match inherited {
        Some(inherited) => (inherited.addresses, Some(inherited.listener)),
        None => (hosts(args)?, None),
    };
    Ok(Cluster {
        workers: args.workers.get(),
        process: args.process.unwrap_or(0),
        addresses,
        listener,
        fingerprint: fingerprint(args, dataflow),
        secret,
        timeout: args.kafka.connect_timeout,
        peer_timeout: args.peer_timeout,
    })
}

/// The addresses of all processes.
pub(super) fn hosts(args: &RunArgs) -> Result<Vec<String>> {
    let (processes, Some(path)) = (args.processes.get(), &args.hostfile) else { return Ok(Vec::new()) };
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading --hostfile {shown}"))?;
    let mut hosts: Vec<String> = Vec::new();
    let mut far = None;
    for (number, line) in (1..).zip(text.lines()) {
        let host = line.split('#').next().unwrap_or_default().trim();
        if host.is_empty() {
            continue;
        }
        address::check(host).map_err(|error| usage(format!("--hostfile {shown}, line {number}: {error}")))?;
        if hosts.iter().any(|known| known == host) {
            return Err(usage(format!("--hostfile {shown}, line {number}: {host} is there twice")));
        }
        if far.is_none() && hosts.len() < processes && !address::is_loopback(host) {
            far = Some((number, host.to_owned()));
        }
        hosts.push(host.to_owned());
    }
    if hosts.len() < processes {
        bail!(
            "--hostfile {shown} names {}, but there are {processes} processes (--processes)",
            count(hosts.len() as u64, "host")
        );
    }
    if let Some((number, host)) = far
        && args.cluster_secret_file.is_none()
        && !args.cluster_open
    {
        return Err(usage(format!(
            "--hostfile {shown}, line {number}: {host} is not of this machine alone, so that others could connect to the \
             processes and take part in the run: give all of them the same --cluster-secret-file FILE (`openssl rand -hex 32 \
             >FILE` makes one), or allow it with --cluster-open"
        )));
    }
    Ok(hosts.into_iter().take(processes).collect())
}

/// Equal in processes that build the same dataflow and read the same input.
fn fingerprint(args: &RunArgs, dataflow: &dyn Build) -> u64 {
    let RunArgs { topic, format, from, until_end, workers, processes, emit, state, lateness, .. } = args;
    #[cfg(feature = "http")]
    let views = args.http.http.is_some();
    #[cfg(not(feature = "http"))]
    let views = false;
    let version = env!("CARGO_PKG_VERSION");
    let name = dataflow.name();
    xxh3_64(
        format!(
            "{version} {name} {dataflow:?} {topic:?} {format:?} {from:?} {until_end} {workers} {processes} {emit:?} {state:?} {lateness:?} {views}"
        )
        .as_bytes(),
    )
}
