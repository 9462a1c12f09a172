//! A dataflow with formats bound to its inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Binding;
use crate::dataflow::{Build, wrapped};

/// The dataflow, with its inputs read as `bindings` say, by the inputs' names; as its code says where they say nothing.
pub fn bound(dataflow: Arc<dyn Build>, bindings: BTreeMap<String, Binding>) -> Arc<dyn Build> {
    if bindings.is_empty() {
        return dataflow;
    }
    wrapped(dataflow, move |dataflow, flow| {
        for (input, binding) in &bindings {
            flow.bind(input, binding.clone());
        }
        dataflow.build(flow);
        for input in bindings.keys() {
            assert!(flow.has_format(input), "input {input:?} is bound to a format, but none reads it");
        }
    })
}
