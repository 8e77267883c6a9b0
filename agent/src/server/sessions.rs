//! `/v1/sessions`: what runs, and the word that ends it.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use wire::SessionInfo;

use super::{Reason, Refusal};
use crate::listen::Peer;
use crate::session::registry::{NoSuchSession, Registry};

/// What a session takes to end when all goes well, and its client a moment to say goodbye.
const GONE: Duration = Duration::from_secs(15);

pub fn routes(registry: Registry) -> Router {
    Router::new()
        .route(SessionInfo::LIST_ROUTE, get(list))
        .route(SessionInfo::ONE_ROUTE, delete(end))
        .with_state(registry)
}

async fn list(
    State(registry): State<Registry>,
    Extension(peer): Extension<Peer>,
) -> Json<Vec<SessionInfo>> {
    Json(registry.list(&peer))
}

/// 200 when nothing of the session is left, 202 when that takes longer than one should wait.
async fn end(
    State(registry): State<Registry>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<SessionInfo>), Refusal> {
    let ended = registry.end(&id, &peer)?;
    tracing::info!(id = ended.info.id, %peer, "told to end");
    let code = match tokio::time::timeout(GONE, ended.gone()).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::ACCEPTED,
    };
    Ok((code, Json(ended.info)))
}

impl From<NoSuchSession> for Refusal {
    fn from(error: NoSuchSession) -> Self {
        let reason = match &error {
            NoSuchSession::Unknown { .. } => Reason::NotFound,
            NoSuchSession::Ambiguous { .. } => Reason::Conflict,
        };
        Self::new(reason, error.to_string())
    }
}
