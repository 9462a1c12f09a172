//! Without the feature `http`, a process answers nothing about its run.

use anyhow::Result;

use super::plan::Plan;
use super::running::Running;
use crate::job::{State, Viewing};
use crate::sink::Sink;
use crate::state::open::Kept;

/// No server.
pub(super) struct Served;

impl Served {
    pub(super) fn measure(_: &Running<'_>) {}

    pub(super) fn start(_: &Running<'_>, _: &Plan, _inherited: bool) -> Result<Served> {
        Ok(Served)
    }

    pub(super) fn letters(&self) -> Option<Box<dyn Sink>> {
        None
    }

    pub(super) fn keeps(&self, _: Option<&Kept>) {}

    pub(super) fn viewing(&self, _: &Running<'_>, _: Option<&State>) -> Result<Viewing> {
        Ok(Viewing::Off)
    }

    pub(super) fn close(&mut self) {}
}
