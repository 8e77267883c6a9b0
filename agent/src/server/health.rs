//! `/healthz`, `/readyz` and `/metrics`: what a supervisor and a scraper ask.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use wire::StatusReason;

use super::{Agent, Refusal};
use crate::runtime::ContainerRuntime;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The process lives and its event loop turns.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// A session that is asked for now could be served.
pub(super) async fn readyz<R: ContainerRuntime>(
    State(agent): State<Agent<R>>,
) -> Result<String, Refusal> {
    agent.admitting()?;
    let version = agent.runtime.probe().await?;
    Ok(format!("ok: {version}\n"))
}

pub(super) async fn metrics<R: ContainerRuntime>(State(agent): State<Agent<R>>) -> Response {
    match agent.metrics.render() {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => {
            Refusal::new(StatusReason::InternalError, "the metrics cannot be written as text")
                .into_response()
        }
    }
}
