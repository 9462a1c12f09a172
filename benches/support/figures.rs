//! A bench's figures, for `scripts/figures`.

use serde::Serialize;

/// Writes the figures where `--json FILE` says, if it does.
pub(crate) fn write(figures: &impl Serialize) -> anyhow::Result<()> {
    if let Some(path) = std::env::args().skip_while(|arg| arg != "--json").nth(1) {
        std::fs::write(path, serde_json::to_string_pretty(figures)? + "\n")?;
    }
    Ok(())
}
