//! A dataflow with formats bound to its inputs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Binding;
use crate::dataflow::Build;
use crate::flow::Flow;

struct Bound {
    dataflow: Arc<dyn Build>,
    bindings: BTreeMap<String, Binding>,
}

/// The dataflow, with its inputs read as `bindings` say, by the inputs' names; as its code says where they say nothing.
pub fn bound(dataflow: Arc<dyn Build>, bindings: BTreeMap<String, Binding>) -> Arc<dyn Build> {
    if bindings.is_empty() { dataflow } else { Arc::new(Bound { dataflow, bindings }) }
}

/// Its options alone.
impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dataflow.fmt(f)
    }
}

impl Build for Bound {
    fn name(&self) -> &'static str {
        self.dataflow.name()
    }

    fn build(&self, flow: &Flow<'_>) {
        for (input, binding) in &self.bindings {
            flow.bind(input, binding.clone());
        }
        self.dataflow.build(flow);
        for input in self.bindings.keys() {
            assert!(flow.has_format(input), "input {input:?} is bound to a format, but none reads it");
        }
    }
}
