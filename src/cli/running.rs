//! A run as the parts of its process see it.

use std::sync::Arc;

use cutwater_dataflows::{Build, Shape};

use super::options::RunArgs;
use crate::fault::Fault;
use crate::job::Stop;
use crate::status::Status;

/// What runs here, how it is told to stop, and what is known of it.
pub(super) struct Running<'a> {
    pub(super) args: &'a RunArgs,
    pub(super) dataflow: Arc<dyn Build>,
    pub(super) shape: Shape,
    /// The index of this process.
    pub(super) process: usize,
    pub(super) stop: Stop,
    pub(super) status: Status,
    pub(super) fault: Fault,
}

impl<'a> Running<'a> {
    pub(super) fn new(args: &'a RunArgs, dataflow: Arc<dyn Build>, shape: Shape, fault: Fault) -> Self {
        Running {
            args,
            dataflow,
            shape,
            process: args.process.unwrap_or(0),
            stop: Stop::default(),
            status: Status::default(),
            fault,
        }
    }
}
