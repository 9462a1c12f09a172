//! `cutwater run --state`: whose state it is, and what the run resumes from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::{Build, Shape};

use super::bind::bind;
use super::options::RunArgs;
use crate::cluster::Connected;
use crate::fault::Fault;
use crate::feed::kafka::{KafkaFeeds, OnDataLoss};
use crate::job;
use crate::kafka::client::Settings;
use crate::kafka::identity::{Ids, cluster_id};
use crate::kafka::retry::retry;
use crate::publish::Cuts;
use crate::state;
use crate::state::gone::{gone, report};
use crate::state::identity::{self, Identity};
use crate::state::lock::Lock;
use crate::state::open::{Kept, OwnedState, StateOptions};
use crate::state::resume::Resume;
use crate::state::storage;
use crate::time::{MachineTime, Time, micros_since_epoch};

/// `--checkpoint` where nothing is said.
const CHECKPOINT: Duration = Duration::from_secs(30);
/// `--ledger-retention` where nothing is said.
const LEDGER_RETENTION: Duration = Duration::from_secs(60 * 60);

/// How state is to be kept.
/// `finals`: the outputs whose rows leave after the end.
pub(super) fn state_options(
    args: &RunArgs,
    place: &str,
    shape: &Shape,
    name: &str,
    finals: &[bool],
) -> Result<StateOptions> {
    // Without one, all may be persisted.
    let drops = args.lateness.is_some();
    if let Some(operator) = shape.unpersisted_state.first() {
        bail!(
            "--state {place}: {name} can't resume from a state: its operator {operator:?} remembers rows that are not \
             persisted{}. Call `persist` on them before it",
            if drops { ", or that --lateness drops" } else { "" }
        );
    }
    let mut finals = shape.outputs.iter().zip(finals).filter(|(_, at_end)| **at_end);
    if let Some((output, _)) = finals.find(|(output, _)| !output.restorable) {
        if drops {
            bail!(
                "--state {place}: with --emit final, output {:?} of {name} would lack the rows that --lateness has dropped \
                 before a restart. Leave out --emit final, --lateness or --state",
                output.name
            );
        }
        bail!(
            "--state {place}: output {:?} of {name} is not made of persisted collections: with --emit final it would \
             lack the rows from before a restart. Call `persist` before it",
            output.name
        );
    }
    Ok(StateOptions {
        every: args.checkpoint.unwrap_or(CHECKPOINT),
        retention: args.ledger_retention.unwrap_or(LEDGER_RETENTION),
    })
}

/// The cluster's identifier, where its brokers tell it.
pub(super) fn cluster_of(settings: &Settings, fault: &Fault) -> Result<Option<String>> {
    let client = settings.metadata()?;
    retry(fault, || cluster_id(&client))
}

/// Whose state it is: of a run that reads and writes these topics, with their ids where the brokers tell them.
pub(super) fn identity(
    args: &RunArgs,
    dataflow: &dyn Build,
    shape: &Shape,
    group: &str,
    cluster: Option<String>,
    topics: Ids,
    outputs: Ids,
) -> Result<Identity> {
    let mut inputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in &args.topic {
        let (input, topic) = bind("--topic", text, "input", &shape.inputs)?;
        inputs.entry(input.to_owned()).or_default().push(topic.to_owned());
    }
    Ok(Identity {
        format: identity::FORMAT,
        job: identity::new_id(),
        created: micros_since_epoch(),
        dataflow: dataflow.name().to_owned(),
        options: format!("{dataflow:?}"),
        collections: shape.persisted.clone(),
        types: shape.types.clone(),
        inputs,
        formats: shape.formats.iter().map(|(input, shape)| (input.clone(), shape.to_string())).collect(),
        lateness: args.lateness.map(|lateness| u64::try_from(lateness.as_micros()).unwrap_or(u64::MAX)),
        cluster,
        topics,
        outputs,
        group: group.to_owned(),
    })
}

/// What a process with state runs with: what it resumes from, who hears of cuts, and what to end after the run.
pub(super) type GoingOn = (job::State, Option<Box<dyn Cuts>>, (Kept, Option<Lock>));

/// Goes on from the state that process 0 finds.
pub(super) fn go_on(
    place: &str,
    options: StateOptions,
    identity: impl FnOnce() -> Result<Identity>,
    feeds: &KafkaFeeds,
    connected: &mut Connected,
    args: &RunArgs,
    fault: &Fault,
) -> Result<GoingOn> {
    let mut found = None;
    let told = connected.share(|| {
        let workers = args.workers.get() * args.processes.get();
        let (storage, lock) = storage::claim(place).with_context(|| format!("--state {place}"))?;
        let time: Arc<dyn Time> = Arc::new(MachineTime::default());
        let (owned, mut resume) =
            OwnedState::open(storage, identity()?, workers, options, feeds.ids(), &time)?;
        let gone = gone(&resume, &feeds.topics());
        report(place, resume.checkpoint, &gone, args.on_data_loss == OnDataLoss::Continue)?;
        resume.gone = gone.into_iter().map(|gone| gone.topic).collect();
        found = Some((owned, lock));
        Ok(serde_json::to_vec(&resume)?)
    })?;
    let resume: Resume = serde_json::from_slice(&told).context("what process 0 told of the state")?;
    let Some((owned, lock)) = found else {
        let (state, kept) = state::open::join(place, resume, fault)?;
        return Ok((state, None, (kept, None)));
    };
    if resume.last() == 0 {
        tracing::info!("state {place}: new");
    } else {
        tracing::info!(
            "state {place}: resuming from the checkpoint of epoch {}, re-reading epochs up to {}",
            resume.checkpoint,
            resume.last()
        );
    }
    let (state, cuts, kept) = state::open::start(owned, resume, fault)?;
    Ok((state, Some(cuts), (kept, lock)))
}
