//! `/healthz`, `/livez`, `/readyz` and `/metrics`, on a port of their own without certificates.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use daemon::shutdown::Shutdown;

use crate::certificates::Shown;
use crate::identity::Trust;
use crate::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is asked about. Agents and reviews are not: a gateway without them still answers, and says so.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) trust: Trust,
    pub(crate) shown: Shown,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
}

pub(crate) fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// The process lives and its event loop turns.
async fn healthz() -> &'static str {
    "ok\n"
}

/// A request that kube-apiserver makes now would be answered.
async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let Health { trust, shown, metrics: _, shutdown } = health;
    let unready = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    match shown.usable() {
        _ if shutdown.is_leaving() => unready("the gateway is shutting down"),
        _ if trust.borrow().is_none() => unready(
            "no CA of kube-apiserver's front proxy yet: see ConfigMap kube-system/extension-apiserver-authentication",
        ),
        Err(why) => unready(&format!("certificate cannot be used: {why}")),
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    health.metrics.certificate_ends(health.shown.ends().unwrap_or_default());
    match health.metrics.render() {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
