//! `cutwater list`.

use std::io::Write;

use anyhow::Result;
use clap::Command;
use cutwater_dataflows::{Entry, Shape};

/// Prints the dataflows: what they are for, what they read and write, their options.
///
/// # Errors
/// If `out` can't be written, or a dataflow can't be built.
pub(super) fn list(registry: &[Entry], out: &mut dyn Write) -> Result<()> {
    for entry in registry {
        let mut command =
            entry.arguments(Command::new(entry.name()).no_binary_name(true).disable_help_flag(true));
        writeln!(out, "{}", entry.name())?;
        if let Some(about) = command.get_about() {
            writeln!(out, "  {about}")?;
        }
        // Inputs and outputs may depend on options; those without a default can't be guessed.
        match command.clone().try_get_matches_from::<_, &str>([]).ok().and_then(|m| entry.parse(&m).ok()) {
            Some(dataflow) => {
                let shape = Shape::of(&*dataflow)?;
                for input in &shape.inputs {
                    match shape.formats.get(input) {
                        Some(format) => {
                            let how = if format.in_code { "as" } else { "by default as" };
                            writeln!(out, "  reads   {input} {how} {format}: {}", format.schema)?;
                        }
                        None => writeln!(out, "  reads   {input}")?,
                    }
                }
                for output in &shape.outputs {
                    let schema = &output.schema;
                    let columns: Vec<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
                    writeln!(
                        out,
                        "  writes  {} ({}), key {}",
                        output.name,
                        columns.join(", "),
                        columns[..schema.key].join(", ")
                    )?;
                }
            }
            None => {
                let needed = command.get_arguments().filter(|option| option.is_required_set());
                let needed: Vec<_> =
                    needed.filter_map(|option| Some(format!("--{}", option.get_long()?))).collect();
                writeln!(
                    out,
                    "  reads and writes what {} says; `cutwater help run {}` has the inputs and columns",
                    needed.join(" and "),
                    entry.name()
                )?;
                let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
                if let Some(example) = about.lines().find_map(|line| line.strip_prefix("Example: ")) {
                    writeln!(out, "  example {example}")?;
                }
            }
        }
        let options = command.render_help().to_string();
        if let Some((_, options)) = options.split_once("Options:\n") {
            writeln!(out, "  options")?;
            for line in options.lines() {
                writeln!(out, "  {line}")?;
            }
        }
    }
    Ok(())
}
