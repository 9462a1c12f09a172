//! The first records of a run's inputs: a mistake in how they are to be read may show there.

use std::collections::BTreeMap;

use anyhow::Result;
use cutwater_dataflows::{Binding, Shape};
use rdkafka::message::Message as _;

use super::plan::Plan;
use crate::kafka::first::each_first;
use crate::kafka::topics::{self, Topic};
use crate::usage::usage;

/// Looks at the first record of each partition of those inputs that are bound to a format which looks at that. Says how many
/// such inputs there are.
///
/// # Errors
/// A usage error if an input can't be meant to be read so; another if the cluster does not answer.
pub(super) fn look(plan: &Plan, shape: &Shape, bindings: &BTreeMap<String, Binding>) -> Result<usize> {
    let settings = &plan.settings;
    let mut looked = 0;
    for (input, binding) in bindings {
        let Some(mut look) = shape.formats.get(input).and_then(|shape| binding.look(shape)) else { continue };
        let Some(patterns) = plan.inputs.get(input) else { continue };
        let client = settings.metadata()?;
        topics::connect(&client, settings)?;
        let all = topics::list(&client)?;
        let read = |(topic, _): &&Topic| patterns.iter().any(|pattern| pattern.matches(topic));
        let read: Vec<&Topic> = all.iter().filter(read).collect();
        each_first(settings, &plan.reading.group, &read, |record| {
            let Some(value) = record.payload() else { return Ok(()) };
            look(value).map_err(|why| {
                let (topic, partition) = (record.topic(), record.partition());
                usage(format!(
                    "--format {input}={}: the first record of {topic} partition {partition}: {why}",
                    binding.format.name()
                ))
            })
        })?;
        looked += 1;
    }
    Ok(looked)
}
