//! The router: the same on every listener.
//!
//! Who may connect is decided in [`crate::listen`]; what a session is in `session`. Here is what
//! every request has: health, metrics, and errors that are a `metav1.Status`.

mod asked;
mod error;
pub mod exec;
mod forwarded;
mod health;
pub mod sessions;
mod state;
mod upgrade;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use wire::{StatusReason, shown};

pub use error::Refusal;
pub use state::Agent;

use crate::metrics::Metrics;
use crate::runtime::ContainerRuntime;

/// Everything that is served; `sessions` are the routes of `exec`, with their own state.
pub fn router<R: ContainerRuntime>(agent: Agent<R>, sessions: Router) -> Router {
    let metrics = agent.metrics.clone();
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz::<R>))
        .route("/metrics", get(health::metrics::<R>))
        .with_state(agent)
        .merge(sessions)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(metrics, count_refusals))
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::new(StatusReason::NotFound, format!("there is nothing at {}", shown(uri.path())))
}

async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let path = shown(uri.path());
    Refusal::new(
        StatusReason::MethodNotAllowed,
        format!("{path} does not support {}", shown(method.as_str())),
    )
}

async fn count_refusals(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(reason) = response.extensions().get::<StatusReason>() {
        metrics.refused(*reason);
    }
    response
}
