//! What the options of `run` mean for a dataflow.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use cutwater_dataflows::{OutputShape, Shape};

use super::bind::bind;
use super::emit::emits;
use super::options::RunArgs;
use super::processes;
use crate::epoch::EpochOptions;
use crate::fault::Fault;
use crate::feed::kafka::{Reading, check_fetch};
use crate::job::{Binding, DEAD_LETTERS};
use crate::kafka::client::Settings;
use crate::kafka::topics::{Making, Pattern};
use crate::sink::check::refusal_of_upserts;
use crate::sink::too_large::OnTooLarge;
use crate::sink::{Delivery, Emit, Opener, Sink, SinkKind, Target};
use crate::supervise::Restart;
use crate::usage::usage;

/// The sinks of each output, and those of dead letters.
pub(super) type Sinks = (Vec<Binding>, Vec<Box<dyn Sink>>);

/// What the options mean for this dataflow.
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) reading: Reading,
    pub(super) inputs: BTreeMap<String, Vec<Pattern>>,
    pub(super) epochs: EpochOptions,
    /// For each output, in order.
    pub(super) outputs: Vec<Vec<Target>>,
    pub(super) dead_letter: Option<Target>,
    /// What was typed for each output.
    emits: Vec<Option<Emit>>,
    webhook_max_bytes: usize,
    pub(super) create_topics: Option<Making>,
    delivery: Delivery,
    on_too_large: OnTooLarge,
}

impl Plan {
    /// Reads the options.
    ///
    /// # Errors
    /// A usage error if they can't be.
    pub(super) fn new(args: &RunArgs, shape: &Shape, name: &str, sinks: &[SinkKind]) -> Result<Self> {
        let settings = Settings { fetch: args.fetch, ..args.kafka.settings()? };
        check_fetch(&settings).map_err(|error| usage(format!("{error:#}")))?;
        let inputs = inputs(args, shape, name)?;
        let names: Vec<String> = shape.outputs.iter().map(|output| output.name.clone()).collect();
        let outputs = outputs(&args.to, &names)?;
        let targets = || outputs.iter().flatten().chain(&args.dead_letter);
        check_targets(targets(), sinks)?;
        if targets().any(|target| target.topic().is_some()) {
            let transactions = args.delivery == Delivery::ExactlyOnce;
            settings.check_outputs(transactions).map_err(|error| usage(error.to_string()))?;
        }
        check_topics(&inputs, &outputs, args.dead_letter.as_ref(), &names)?;
        check_options_of_topics(args, targets())?;
        let emits = emits(&args.emit, &shape.outputs)?;
        if emits.contains(&Some(Emit::Final)) && !args.until_end {
            return Err(usage("--emit final shows the rows after the end: it needs --until-end"));
        }
        check_upserts(&shape.outputs, &outputs, &emits)?;
        check_state(args)?;
        if args.on_too_large == OnTooLarge::DeadLetter && args.dead_letter.is_none() {
            return Err(usage(
                "--on-too-large dead-letter: say where dead letters go, with --dead-letter SINK",
            ));
        }
        processes::check(args)?;
        #[cfg(feature = "http")]
        args.http.check()?;
        let all_final = !emits.is_empty() && emits.iter().all(|emit| *emit == Some(Emit::Final));
        let usual = if all_final { EpochOptions::at_end() } else { EpochOptions::default() };
        Ok(Plan {
            settings,
            reading: Reading {
                from: args.from,
                until_end: args.until_end,
                on_data_loss: args.on_data_loss,
                group: group(args, name),
                // A Kafka sink commits them in its transactions.
                commits: args.delivery == Delivery::AtLeastOnce
                    || !targets().any(|target| matches!(target, Target::Kafka(_))),
            },
            inputs,
            epochs: EpochOptions {
                shortest: args.epoch.unwrap_or(usual.shortest),
                max_records: args.max_records.get(),
                max_bytes: args.max_bytes.get(),
                in_flight: args.in_flight.get(),
                idle_after: args.idle_after,
            },
            outputs,
            dead_letter: args.dead_letter.clone(),
            emits,
            webhook_max_bytes: args.webhook_max_bytes.get(),
            create_topics: args.create_topics,
            delivery: args.delivery,
            on_too_large: args.on_too_large,
        })
    }

    /// The outputs, by their place, whose rows leave after the end.
    pub(super) fn finals(&self) -> Vec<bool> {
        self.emits.iter().map(|emit| *emit == Some(Emit::Final)).collect()
    }

    /// The topics that are written.
    pub(super) fn written(&self) -> Vec<String> {
        self.targets().filter_map(Target::topic).map(str::to_owned).collect()
    }

    /// Do rows go to standard output?
    pub(super) fn writes_stdout(&self) -> bool {
        self.targets().any(|target| *target == Target::Stdout)
    }

    /// All sinks.
    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.outputs.iter().flatten().chain(&self.dead_letter)
    }

    /// Opens the sinks, where rows arrive here.
    pub(super) fn open(&self, here: bool, durable: bool, fault: &Fault, kinds: &[SinkKind]) -> Result<Sinks> {
        let opener = Opener::new(&self.settings, &self.reading.group, durable, self.webhook_max_bytes, fault);
        let mut opener = opener
            .creating(self.create_topics)
            .delivering(self.delivery)
            .on_too_large(self.on_too_large)
            .with_kinds(kinds);
        let mut open = |target: &Target, emit: Emit| -> Result<Option<Box<dyn Sink>>> {
            if here { opener.open(target, emit) } else { Ok(None) }
        };
        let outputs = self
            .outputs
            .iter()
            .zip(&self.emits)
            .map(|(targets, emit)| {
                let bound = targets.iter().filter(|target| **target != Target::None);
                let bound = bound.map(|target| (target, emit.unwrap_or(target.default_emit())));
                let sinks = bound.clone().filter_map(|(target, emit)| open(target, emit).transpose());
                let sinks = sinks.collect::<Result<_>>()?;
                Ok(Binding { emits: bound.map(|(_, emit)| emit).collect(), ..Binding::new(sinks) })
            })
            .collect::<Result<_>>()?;
        // Dead letters never change: what --emit says of rows that do is not for them.
        let dead_letters = match &self.dead_letter {
            Some(target) if here => {
                opener.open_dead_letters(target).context(DEAD_LETTERS)?.into_iter().collect()
            }
            _ => Vec::new(),
        };
        opener.start()?;
        Ok((outputs, dead_letters))
    }
}

/// Refuses upserts of outputs whose keys are known to have several rows.
fn check_upserts(shapes: &[OutputShape], outputs: &[Vec<Target>], emits: &[Option<Emit>]) -> Result<()> {
    for ((shape, targets), emit) in shapes.iter().zip(outputs).zip(emits) {
        let bound = targets.iter().filter(|target| **target != Target::None);
        let upserts =
            bound.map(|target| emit.unwrap_or(target.default_emit())).any(|emit| emit == Emit::Upserts);
        if let Some(why) = refusal_of_upserts(shape).filter(|_| upserts) {
            return Err(usage(why));
        }
    }
    Ok(())
}

/// The topics of each input.
fn inputs(args: &RunArgs, shape: &Shape, name: &str) -> Result<BTreeMap<String, Vec<Pattern>>> {
    let mut inputs: BTreeMap<String, Vec<Pattern>> = BTreeMap::new();
    for text in &args.topic {
        let (input, topic) = bind("--topic", text, "input", &shape.inputs)?;
        let pattern = Pattern::parse(topic).map_err(|error| usage(error.to_string()))?;
        inputs.entry(input.to_owned()).or_default().push(pattern);
    }
    if let Some(unbound) = shape.inputs.iter().find(|input| !inputs.contains_key(*input)) {
        return Err(usage(match shape.inputs.len() {
            1 => format!("{name} reads input {unbound:?}: say from which topic with --topic TOPIC"),
            _ => format!("{name} reads input {unbound:?}: say from which topic with --topic {unbound}=TOPIC"),
        }));
    }
    Ok(inputs)
}

/// The sinks of each output, of which these are the names.
fn outputs(to: &[String], names: &[String]) -> Result<Vec<Vec<Target>>> {
    if to == ["none"] {
        return Ok(vec![vec![Target::None]; names.len()]);
    }
    let mut outputs: Vec<Vec<Target>> = vec![Vec::new(); names.len()];
    for text in to {
        let (output, target) = bind("--to", text, "output", names)?;
        let target: Target = target.parse().map_err(|error| usage(format!("--to {text}: {error}")))?;
        let index = names.iter().position(|name| name == output).expect("bound to one of them");
        outputs[index].push(target);
    }
    for targets in outputs.iter_mut().filter(|targets| targets.is_empty()) {
        targets.push(Target::Stdout);
    }
    Ok(outputs)
}

/// The consumer group: as typed, or that of the dataflow of this name.
fn group(args: &RunArgs, name: &str) -> String {
    let typed = args.kafka.set.iter().rev().find_map(|property| property.strip_prefix("group.id="));
    typed.map_or_else(|| format!("cutwater-{name}"), str::to_owned)
}

/// Refuses options that are of topics among the sinks, where there is none.
fn check_options_of_topics<'a>(
    args: &RunArgs,
    mut targets: impl Iterator<Item = &'a Target> + Clone,
) -> Result<()> {
    if args.delivery == Delivery::AtLeastOnce && !targets.clone().any(|target| target.topic().is_some()) {
        return Err(usage(
            "--delivery at-least-once is for Kafka sinks: it needs a kafka:TOPIC in --to or --dead-letter",
        ));
    }
    if args.create_topics.is_some() && !targets.any(|target| matches!(target, Target::Kafka(_))) {
        return Err(usage(
            "--create-topics makes topics that are written: it needs a kafka:TOPIC in --to or --dead-letter",
        ));
    }
    Ok(())
}

/// Refuses sinks that can't be right, alone or together.
fn check_targets<'a>(targets: impl Iterator<Item = &'a Target>, sinks: &[SinkKind]) -> Result<()> {
    let mut files = BTreeSet::new();
    for target in targets {
        target.check(sinks).map_err(usage)?;
        if let Target::File(path) = target
            && (path.is_file() || !path.exists())
            && !files.insert(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        {
            return Err(usage(format!(
                "two sinks write to the same file, {}: give each its own",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Refuses topics that are written and read, or that two sinks write to. `outputs` are those of `names`, in order.
fn check_topics(
    inputs: &BTreeMap<String, Vec<Pattern>>,
    outputs: &[Vec<Target>],
    dead_letter: Option<&Target>,
    names: &[String],
) -> Result<()> {
    let outputs = names
        .iter()
        .zip(outputs)
        .flat_map(|(name, targets)| targets.iter().map(move |target| (format!("output {name:?}"), target)));
    let targets = outputs.chain(dead_letter.map(|target| ("--dead-letter".to_owned(), target)));
    let mut written: BTreeMap<&str, String> = BTreeMap::new();
    for (what, topic) in targets.filter_map(|(what, target)| Some((what, target.topic()?))) {
        for (input, pattern) in inputs.iter().flat_map(|(input, all)| all.iter().map(move |p| (input, p))) {
            if !pattern.matches(topic) {
                continue;
            }
            return Err(usage(match pattern {
                Pattern::Name(_) => format!(
                    "topic {topic} is read by input {input:?} and written by {what}: the run would read what it \
                     writes. Write to another topic"
                ),
                Pattern::Regex { typed, .. } => format!(
                    "topic {topic} is written by {what}, and matches {typed}, which input {input:?} reads: the run \
                     would read what it writes. Write to another topic, or have the expression leave it out"
                ),
            }));
        }
        if let Some(other) = written.insert(topic, what.clone()) {
            return Err(usage(format!(
                "{other} and {what} write to the same topic, {topic}: give each its own"
            )));
        }
    }
    Ok(())
}

/// Refuses options of a state where none is kept.
fn check_state(args: &RunArgs) -> Result<()> {
    let typed = [("--checkpoint", args.checkpoint), ("--ledger-retention", args.ledger_retention)];
    if args.state.as_ref().is_some_and(String::is_empty) {
        return Err(usage("--state: the folder's name is empty"));
    }
    if args.restart != Restart::Never && args.state.is_none() {
        return Err(usage(
            "--restart on-failure starts the run again from its state, but none is kept: say where with --state DIR|URL",
        ));
    }
    match typed.into_iter().find_map(|(option, value)| value.map(|_| option)) {
        Some(option) if args.state.is_none() => {
            Err(usage(format!("{option} is of a state, but none is kept: say where with --state DIR|URL")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_bound_by_name_and_to_nowhere_all_at_once() {
        let names = ["rows".to_owned(), "sums".to_owned()];
        let bound = |to: &[&str]| outputs(&to.iter().map(ToString::to_string).collect::<Vec<_>>(), &names);
        let none = || vec![Target::None];
        assert_eq!(bound(&["none"]).unwrap(), [none(), none()]);
        assert_eq!(bound(&["sums=none"]).unwrap(), [vec![Target::Stdout], none()]);
        let wrong = bound(&["file:/x"]).unwrap_err().to_string();
        assert!(wrong.contains("for which output, rows, sums? Say --to rows=file:/x"), "{wrong}");
    }
}
