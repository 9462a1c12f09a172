//! `--format`: how inputs are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use cutwater_dataflows::{Binding, Format, Shape};

use super::run::bind;
use super::usage;

/// What `--format` binds, by input: `shape` is that of the dataflow of this name where nothing is bound.
///
/// # Errors
/// Where an input, a format or an envelope is not known, or the input can't be read like that.
pub(super) fn bindings(
    typed: &[String],
    shape: &Shape,
    name: &str,
    known: &[Arc<dyn Format>],
) -> Result<BTreeMap<String, Binding>> {
    let mut bindings = BTreeMap::new();
    for text in typed {
        let (input, format) = bind("--format", text, "input", &shape.inputs)?;
        let wrong = |why: String| usage(format!("--format {text}: {why}"));
        let binding = Binding::parse(format, known).map_err(wrong)?;
        let Some(of) = shape.formats.get(input) else {
            return Err(wrong(format!("{name} reads input {input:?} with a decoder of its own")));
        };
        if of.in_code {
            return Err(wrong(format!("{name} itself binds input {input:?}, to {}", of.format)));
        }
        binding.check(of).map_err(|why| wrong(format!("of input {input:?}, {why}")))?;
        if bindings.insert(input.to_owned(), binding).is_some() {
            return Err(wrong(format!("input {input:?} is bound twice")));
        }
    }
    Ok(bindings)
}
