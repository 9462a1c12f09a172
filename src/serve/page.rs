//! Paths of the page, dead letters and the state.

use axum::Router;

use super::Service;

/// The paths.
pub(super) fn routes() -> Router<Service> {
    Router::new()
}
