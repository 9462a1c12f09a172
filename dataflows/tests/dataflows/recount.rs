//! What the recounts have in common.

use cutwater_dataflows::dataflow::Samples;
use cutwater_dataflows::prelude::*;
use cutwater_dataflows::testing::{Outcome, Sample, Test};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

/// A record with the name of its input.
pub(crate) type Given = (&'static str, Sample);

/// Records of samples, in epochs of some hundreds each.
pub(crate) fn epochs(samples: Samples, seed: u64, records: usize) -> Vec<Vec<Given>> {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut samples = samples.take(records).peekable();
    let mut epochs = Vec::new();
    while samples.peek().is_some() {
        epochs.push(samples.by_ref().take(random.random_range(1..600)).collect());
    }
    epochs
}

/// Runs a dataflow on these epochs at 1, 2 and 3 workers, without restarts and with some: all give the same, or it panics.
pub(crate) fn check(dataflow: impl Dataflow, seed: u64, epochs: &[Vec<Given>]) -> Outcome {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut test = Test::of(dataflow);
    for (number, epoch) in epochs.iter().enumerate() {
        if number > 0 && random.random_range(0..3) == 0 {
            test = test.restart();
        }
        test = test.epoch(epoch.iter().cloned());
    }
    test.check()
}

/// A record's value as JSON, if it is an object.
pub(crate) fn object(sample: &Sample) -> Option<Value> {
    serde_json::from_slice(sample.value.as_ref()?).ok().filter(Value::is_object)
}

/// A field that is a text.
pub(crate) fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field)?.as_str().map(str::to_owned)
}

/// A field that is an amount of money with two digits after the point, in cents.
pub(crate) fn cents(value: &Value, field: &str) -> Option<i64> {
    let text = text(value, field)?;
    let (whole, cents) = text.split_once('.')?;
    let units = format!("{whole}{cents}").parse().ok()?;
    (cents.len() == 2).then_some(units)
}

/// An amount in cents as rows show it.
pub(crate) fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}
