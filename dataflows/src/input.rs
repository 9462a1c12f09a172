//! Inputs: named streams of records.

use crate::collection::{About, Collection, Snapshot};
use crate::decode::Decode;
use crate::flow::Flow;
use crate::source::source;

/// An input that is still records.
pub struct Input<'s> {
    flow: Flow<'s>,
    name: String,
}

impl<'s> Input<'s> {
    pub(crate) fn new(flow: Flow<'s>, name: &str) -> Self {
        Input { flow, name: name.to_owned() }
    }

    /// Decodes the records. Equal rows of a worker and epoch are summed before they go anywhere.
    pub fn decode<D: Decode>(self, decoder: D) -> Collection<'s, D::Row> {
        let driver = self.flow.driver(&self.name);
        let source = source(self.flow.scope(), &self.name, driver, decoder);
        self.flow.take_source(source.dead_letters, source.reports);
        let about = About { net: true, ..About::default() };
        Collection::new(self.flow, source.rows, about, Snapshot::default())
    }
}
