//! Without the feature `live`, no table is drawn.

use anyhow::Result;

use super::options::RunArgs;
use super::running::Running;
use super::served::Served;

/// Nowhere.
pub(super) enum Place {}

/// No table.
pub(super) enum Live {}

pub(super) fn place(_: &RunArgs, _quiet: bool, _rows: bool, _watched: bool) -> Result<Option<Place>> {
    Ok(None)
}

pub(super) fn start(place: Option<Place>, _: &Running<'_>, _: &Served) -> Result<Option<Live>> {
    Ok(place.map(|place| match place {}))
}
