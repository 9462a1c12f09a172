//! `--format`: how inputs are read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use cutwater_dataflows::format::{Avro, Protobuf};
use cutwater_dataflows::lateness::with_lateness;
use cutwater_dataflows::{Binding, Build, Envelope, Format, Shape, format};

use super::bind::bind;
use super::options::RunArgs;
use crate::fault::Fault;
use crate::schema_registry::{Asked, Registry};
use crate::usage::usage;

/// The formats, of which avro knows the registry of `--schema-registry`, and protobuf the descriptors of `--descriptor`, where
/// these are given.
///
/// # Errors
/// If that is not a URL, or not a file of descriptors.
fn with_schemas(args: &RunArgs, known: &[Arc<dyn Format>], fault: &Fault) -> Result<Vec<Arc<dyn Format>>> {
    let mut formats = known.to_vec();
    if let Some(url) = &args.schema_registry {
        let registry = Registry::new(url, args.kafka.connect_timeout, fault);
        let registry = registry.map_err(|why| usage(format!("--schema-registry: {why}")))?;
        replace(&mut formats, Arc::new(Avro::new(Arc::new(Asked(registry)))));
    }
    if let Some(path) = &args.descriptor {
        let wrong = |why: &dyn std::fmt::Display| usage(format!("--descriptor {}: {why}", path.display()));
        let descriptors = std::fs::read(path).map_err(|error| wrong(&error))?;
        replace(&mut formats, Arc::new(Protobuf::new(&descriptors).map_err(|why| wrong(&why))?));
    }
    Ok(formats)
}

/// Puts a format in the place of that of its name, so that it is named once.
fn replace(formats: &mut Vec<Arc<dyn Format>>, format: Arc<dyn Format>) {
    match formats.iter_mut().find(|other| other.name() == format.name()) {
        Some(other) => *other = format,
        None => formats.push(format),
    }
}

/// The dataflow with its inputs read as the options say, and its lateness. What is fetched for it ends the run by `fault`
/// where it can't be had.
///
/// # Errors
/// A usage error, if they can't be read so.
pub(super) fn bound(
    args: &RunArgs,
    dataflow: Arc<dyn Build>,
    known: &[Arc<dyn Format>],
    fault: &Fault,
) -> Result<Bound> {
    let known = with_schemas(args, known, fault)?;
    let bindings = bindings(&args.format, &Shape::of(&*dataflow)?, dataflow.name(), &known)?;
    let is_asked = bindings.values().any(|binding| binding.format.name() == Avro::default().name());
    if args.schema_registry.is_some() && !is_asked {
        return Err(usage(
            "--schema-registry has the schemas of avro, but no input is read as that: say which with --format INPUT=avro",
        ));
    }
    if args.descriptor.is_some()
        && !bindings.values().any(|binding| binding.format.name().starts_with("protobuf:"))
    {
        return Err(usage(
            "--descriptor has the messages of protobuf, but no input is read as that: say which with --format \
             INPUT=protobuf:MESSAGE",
        ));
    }
    let dataflow = with_lateness(format::bound(dataflow, bindings.clone()), args.lateness);
    Ok(Bound { dataflow, bindings })
}

/// A dataflow, and how its inputs are read where that was said.
pub(super) struct Bound {
    pub(super) dataflow: Arc<dyn Build>,
    pub(super) bindings: BTreeMap<String, Binding>,
}

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
    let (mut bindings, mut decoded) = (BTreeMap::new(), BTreeSet::new());
    for text in typed {
        let (input, format) = bind("--format", text, "input", &shape.inputs)?;
        let wrong = |why: String| usage(format!("--format {text}: {why}"));
        let binding = Binding::parse(format, known).map_err(wrong)?;
        let Some(of) = shape.formats.get(input) else {
            is_read_so(&binding, shape.decoded.get(input).copied()).map_err(|how| {
                wrong(format!("{name} reads input {input:?} with a decoder of its own: {how}"))
            })?;
            if !decoded.insert(input) {
                return Err(wrong(format!("input {input:?} is bound twice")));
            }
            continue;
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

/// Whether a binding says what a dataflow does itself, with a decoder that reads this format.
///
/// # Errors
/// If it does not: what to do.
fn is_read_so(binding: &Binding, reads: Option<&str>) -> Result<(), String> {
    match reads {
        Some(reads) if binding.format.name() != reads => Err(format!("it reads {reads}; leave --format out")),
        Some(reads) if !matches!(binding.envelope, None | Some(Envelope::Append)) => {
            Err(format!("each record is one of {reads}, as with +append; leave the envelope out"))
        }
        Some(_) => Ok(()),
        None => Err("leave --format out".to_owned()),
    }
}
