//! What a process answers about its run over HTTP, with the feature `http`.

use std::time::Duration;

use anyhow::Result;

use super::plan::Plan;
use super::processes::hosts;
use super::running::Running;
use crate::job::{State, Viewing};
use crate::measure::history::Keeper;
use crate::serve::listen::Server;
use crate::serve::views;
use crate::serve::{About, Service};
use crate::sink::Sink;
use crate::state::open::Kept;

/// The server of this process, if it has one, and what it answers from.
pub(super) struct Served {
    history: Option<Keeper>,
    server: Option<Server>,
    /// What is known of the run, where this process answers for it or draws it.
    service: Option<Service>,
}

impl Served {
    /// Has the run measured, if it is to be asked.
    pub(super) fn measure(running: &Running<'_>) {
        if running.args.http.http.is_some() {
            running.status.measure();
        }
    }

    /// Starts the server. `inherited`: a supervisor on this host has started the process.
    ///
    /// # Errors
    /// If it can't listen.
    pub(super) fn start(running: &Running<'_>, plan: &Plan, inherited: bool) -> Result<Served> {
        let (args, process) = (running.args, running.process);
        let (service, server) = match process {
            0 => {
                let service = service(running, plan);
                let server = args.http.start(service.clone())?;
                ((server.is_some() || args.live()).then_some(service), server)
            }
            // Who watches over hosts asks each of them.
            _ if !inherited && is_alone(&hosts(args)?, process) => {
                (None, args.http.start_peer(service(running, plan))?)
            }
            _ => (None, None),
        };
        let history = service.as_ref().map(|_| Keeper::start(running.status.clone())).transpose()?;
        Ok(Served { history, server, service })
    }

    /// Where dead letters go to be asked for.
    pub(super) fn letters(&self) -> Option<Box<dyn Sink>> {
        let service = self.service.as_ref().filter(|_| self.server.is_some());
        service.map(|service| service.letters().sink())
    }

    /// The run keeps this state.
    pub(super) fn keeps(&self, kept: Option<&Kept>) {
        if let (Some(service), Some(kept)) = (&self.service, kept) {
            service.keeps(kept.known().clone());
        }
    }

    /// The views, where this process has them.
    pub(super) fn views(&self) -> Option<&views::Views> {
        self.service.as_ref().map(Service::views)
    }

    /// Who is told of changes, so that outputs can be asked.
    pub(super) fn viewing(&self, running: &Running<'_>, state: Option<&State>) -> Result<Viewing> {
        let args = running.args;
        let history = match (&args.http.http, args.live()) {
            (Some(_), _) => args.http.history(),
            // The table shows the newest epoch alone.
            (None, true) => views::History { time: Duration::ZERO, bytes: 0 },
            (None, false) => return Ok(Viewing::Off),
        };
        let Some(views) = self.views() else { return Ok(Viewing::Elsewhere) };
        let resume = state.map(|state| &*state.resume);
        Ok(Viewing::Here(views.fill(history, resume)?))
    }

    /// Ends the server: the run is over.
    pub(super) fn close(&mut self) {
        drop((self.server.take(), self.history.take()));
    }
}

/// What the server knows of the run.
fn service(running: &Running<'_>, plan: &Plan) -> Service {
    let Running { args, dataflow, shape, status, stop, fault, .. } = running;
    let processes = args.processes.get();
    let about = About {
        dataflow: dataflow.name().to_owned(),
        shape: shape.clone(),
        workers: args.workers.get() * processes,
        processes,
        state: args.state.clone(),
        topics: plan.inputs.clone(),
        options: args.options.clone(),
    };
    Service::new(about, status.clone(), stop.clone(), fault.clone())
}

/// True iff a process is on another host than process 0, which listens for HTTP there.
fn is_alone(addresses: &[String], process: usize) -> bool {
    let host = |process: usize| addresses.get(process).and_then(|address| Some(address.rsplit_once(':')?.0));
    host(process).is_some_and(|own| host(0) != Some(own))
}
