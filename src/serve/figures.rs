//! Paths of metrics, health, status, graph and profile.

use axum::Router;

use super::Service;

/// The paths.
pub(super) fn routes() -> Router<Service> {
    Router::new()
}
