//! Measures in a process of its own, so that its memory is known.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;

/// What this bench prints, as JSON, when it is run with these arguments.
pub(crate) fn child<T: DeserializeOwned>(args: &[&str]) -> Result<T> {
    let output = Command::new(std::env::current_exe()?).args(args).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{}: {}", args.join(" "), output.status);
    serde_json::from_slice(&output.stdout).context("reading figures")
}
