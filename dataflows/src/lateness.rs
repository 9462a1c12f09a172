//! Lateness: how far behind the watermark a record may come and still count.
//!
//! A record is late if its event time is less than the watermark of the epoch before the one in which it is read, minus the
//! lateness. Both are functions of the cuts, so every number of workers and every replay decide the same. The decision is the
//! source's, where the record still is what was read: a late one becomes a dead letter. The source may read records before
//! the time of the epoch before is known on its worker: these are held one by one until it is.

use std::sync::Arc;
use std::time::Duration;

use crate::dataflow::{Build, wrapped};
pub use crate::limits::horizon;

/// The dataflow with a lateness: its late records become dead letters, and operators that can drop state do. Without one,
/// nothing is late.
pub fn with_lateness(dataflow: Arc<dyn Build>, lateness: Option<Duration>) -> Arc<dyn Build> {
    let Some(lateness) = lateness else { return dataflow };
    wrapped(dataflow, move |dataflow, flow| {
        flow.set_lateness(lateness);
        dataflow.build(flow);
    })
}
