//! Paths of `/v1/outputs`: what the outputs are.

use axum::Router;

use super::Service;

/// The paths.
pub(super) fn routes() -> Router<Service> {
    Router::new()
}
