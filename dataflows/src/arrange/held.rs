//! How many bytes an operator's batches hold, told to differential's log where somebody listens.

use std::rc::Rc;

use differential_dataflow::logging::{BatcherEvent, DifferentialEventBuilder, Logger};
use timely::dataflow::Scope;

use crate::Epoch;

/// The log of arrangements of a worker: there where somebody has registered for it when the dataflow is built.
pub(crate) fn logger(scope: Scope<'_, Epoch>) -> Option<Logger> {
    scope.worker().logger_for::<DifferentialEventBuilder>("differential/arrange").map(Into::into)
}

/// Tells the log what an operator holds. Clones tell it of the same operator.
#[derive(Clone)]
pub(crate) struct Holder(Rc<(Logger, usize)>);

impl Holder {
    /// The operator with this number; none where nobody listens.
    pub(crate) fn new(logger: Option<Logger>, operator: usize) -> Option<Self> {
        Some(Holder(Rc::new((logger?, operator))))
    }

    /// Tells of so many bytes, until what this returns is dropped.
    pub(super) fn hold(&self, bytes: usize) -> Held {
        self.tell(bytes as isize);
        Held { holder: self.clone(), bytes }
    }

    fn tell(&self, bytes: isize) {
        let (logger, operator) = &*self.0;
        // Rows are told by the spine, batch by batch.
        logger.log(BatcherEvent {
            operator: *operator,
            records_diff: 0,
            size_diff: bytes,
            capacity_diff: bytes,
            allocations_diff: bytes.signum(),
        });
    }
}

/// Bytes that are held.
pub(super) struct Held {
    holder: Holder,
    bytes: usize,
}

impl Held {
    /// Whose they are.
    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.holder.tell(-(self.bytes as isize));
    }
}
