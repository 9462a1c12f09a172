//! `cutwater explain`: the graph of a dataflow, without a broker.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cutwater_dataflows::lateness::with_lateness;
use cutwater_dataflows::source::Moved;
use cutwater_dataflows::{Build, Shape};
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::worker::Worker;

use super::kafka::duration;
use crate::epoch::EpochOptions;
use crate::fault::Fault;
use crate::feed::{Budget, Each, Feed, Feeds, Place, Polled, Waker};
use crate::job::{Binding, Job, Setup, Stop, Viewing};
use crate::measure::operators::{Graph, Operator};
use crate::out;
use crate::state::cut::Topics;
use crate::status::Status;

/// What `--help` says above the options.
pub(super) const ABOUT: &str = "Show the operators of a dataflow, and what joins them\n\n\
     As `cutwater run` builds them on one worker without --http and --state, and without a broker. A line tells of an \
     operator its number, its name, and what comes into it: \"rows of\" the operators whose rows it reads, \"told by\" \
     those that tell it something else, such as cuts and times. GET /v1/graph of a run tells what each operator costs. A \
     run has more operators, for its views and its state, and so other numbers: the same one is the one of the same name.";

/// The options of `cutwater explain`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ExplainArgs {
    /// How to show it: text, dot (for Graphviz) or json
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Form::Text)]
    pub format: Form,
    /// As with --lateness of `cutwater run`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub lateness: Option<Duration>,
}

/// How a graph is shown.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Dot,
    Json,
}

/// Shows the graph of a dataflow.
///
/// # Errors
/// If it can't be built.
pub(super) fn explain(args: &ExplainArgs, dataflow: Arc<dyn Build>) -> Result<()> {
    let graph = graph(with_lateness(dataflow, args.lateness))?;
    out::print(|out| match args.format {
        Form::Text => text(&graph, out),
        Form::Dot => Ok(out.write_all(dot(&graph).as_bytes())?),
        Form::Json => Ok(writeln!(out, "{}", serde_json::to_string_pretty(&graph)?)?),
    })
}

/// The graph of a run on one worker that never runs.
fn graph(dataflow: Arc<dyn Build>) -> Result<Graph> {
    let (status, stop, fault) = (Status::default(), Stop::default(), Fault::default());
    status.measure();
    let outputs = Shape::of(&*dataflow)?.outputs.iter().map(|_| Binding::new(Vec::new())).collect();
    let job = Job {
        dataflow,
        feeds: Arc::new(Nothing),
        epochs: EpochOptions::default(),
        outputs,
        dead_letters: Vec::new(),
        letters_are_kept: false,
        cuts: None,
        views: Viewing::Off,
        state: None,
        status,
    };
    let (setup, _noting, _publishing) = Setup::new(job, &stop, &fault)?;
    let allocator = Allocator::Thread(Thread::default());
    let mut worker = Worker::new(timely::WorkerConfig::default(), allocator, Some(Instant::now()));
    setup.begin(&mut worker)?.graph().context("the worker has no log")
}

/// Feeds that are never read.
struct Nothing;

impl Feeds for Nothing {
    fn open(&self, _: &str, _: Place, _: Option<&Topics>) -> Result<Box<dyn Feed>> {
        Ok(Box::new(Nothing))
    }
}

impl Feed for Nothing {
    fn wake(&mut self, _: Waker) {}
    fn poll(&mut self, _: Budget, _: &mut Each<'_>) -> Result<Polled> {
        Ok(Polled::Waiting)
    }
    fn bound(&mut self, _: Option<Topics>) -> Result<()> {
        Ok(())
    }
    fn moved(&mut self) -> Vec<Moved> {
        Vec::new()
    }
    fn behind(&self, _: &mut dyn FnMut(&str, i32)) {}
    fn boundary(&mut self) -> Result<()> {
        Ok(())
    }
    fn published(&mut self, _: &[Moved], _: bool) {}
}

/// A line an operator: its number, its name, and the operators that its rows come from.
fn text(graph: &Graph, out: &mut dyn Write) -> Result<()> {
    let named = |operator: &Operator| format!("{}{}", "  ".repeat(operator.address.len() - 1), operator.name);
    let width = graph.operators.iter().map(|operator| named(operator).chars().count()).max().unwrap_or(0);
    let digits = graph.operators.iter().map(|operator| operator.id.to_string().len()).max().unwrap_or(0);
    for operator in &graph.operators {
        let of = |rows| {
            let channels = graph
                .channels
                .iter()
                .filter(move |channel| channel.to == operator.id && channel.rows == rows);
            let mut from: Vec<usize> = channels.map(|channel| channel.from).collect();
            from.sort_unstable();
            from.dedup();
            from.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
        };
        let (rows, others) = (of(true), of(false));
        let mut line = format!("{:>digits$}  {:<width$}", operator.id, named(operator));
        if !rows.is_empty() {
            let _ = write!(line, "  rows of {rows}");
        }
        if !others.is_empty() {
            let _ = write!(line, "{} by {others}", if rows.is_empty() { "  told" } else { "; told" });
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// For Graphviz. What carries no rows is dotted.
fn dot(graph: &Graph) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut dot = "digraph {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n".to_owned();
    let outermost = graph.operators.iter().find(|operator| operator.address.len() == 1);
    if let Some(dataflow) = outermost {
        let _ = writeln!(dot, "  label={};", quoted(&dataflow.name));
    }
    for operator in graph.operators.iter().filter(|operator| operator.address.len() > 1) {
        let _ = writeln!(dot, "  {} [label={}];", operator.id, quoted(&operator.name));
    }
    for channel in &graph.channels {
        if outermost.is_some_and(|dataflow| [channel.from, channel.to].contains(&dataflow.id)) {
            continue;
        }
        let style = if channel.rows { "" } else { " [style=dotted]" };
        let _ = writeln!(dot, "  {} -> {}{style};", channel.from, channel.to);
    }
    dot.push_str("}\n");
    dot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dataflow_that_needs_no_file_has_a_graph_in_which_all_rows_leave() {
        for entry in cutwater_dataflows::registry() {
            let command = entry.arguments(clap::Command::new(entry.name()).no_binary_name(true));
            let Ok(matches) = command.try_get_matches_from::<_, &str>([]) else { continue };
            let Ok(dataflow) = entry.parse(&matches) else { continue };
            let graph = graph(dataflow).unwrap();
            assert_eq!(graph.operators[0].name, entry.name());
            let sources = graph.operators.iter().filter(|operator| operator.name.starts_with("Source: "));
            assert!(sources.count() > 0, "{graph:?}");
            // From what is published back to the sources.
            let publish = graph.operators.iter().find(|operator| operator.name == "Publish").unwrap();
            let mut reached = vec![publish.id];
            for next in 0.. {
                let Some(&to) = reached.get(next) else { break };
                let from = graph.channels.iter().filter(|channel| channel.to == to && channel.rows);
                let new: Vec<usize> =
                    from.map(|channel| channel.from).filter(|from| !reached.contains(from)).collect();
                reached.extend(new);
            }
            for source in graph.operators.iter().filter(|operator| operator.name.starts_with("Source: ")) {
                assert!(reached.contains(&source.id), "{}: {}", entry.name(), source.name);
            }
            assert!(dot(&graph).contains(" -> "));
        }
    }
}
