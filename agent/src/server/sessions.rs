//! `/v1/sessions`: what runs, and the word that ends it.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use wire::forward::{self, CAUSE, END_PATH, WHY};
use wire::{SessionInfo, StatusReason, Withdrawal};

use super::Refusal;
use crate::peer::Peer;
use crate::registry::{NoSuchSession, Registry};

/// What a session takes to end when all goes well, and its client a moment to say goodbye.
const GONE: Duration = Duration::from_secs(15);

pub fn routes(registry: Registry) -> Router {
    Router::new()
        .route(SessionInfo::LIST_ROUTE, get(list))
        .route(SessionInfo::ONE_ROUTE, delete(end))
        .route(END_PATH, post(withdraw))
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

/// Ends what the gateway that asks has vouched for. Only the connections that this agent dials make a peer
/// a gateway.
async fn withdraw(
    State(registry): State<Registry>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let Peer::Gateway { forwarded, .. } = &peer else {
        return Err(Refusal::new(
            StatusReason::NotFound,
            "only a gateway may end its sessions by this path",
        ));
    };
    let why = headers.get(WHY).and_then(|why| why.to_str().ok()).unwrap_or_default();
    let why: Withdrawal = super::asked::parsed(why)?;
    let cause = headers.get(CAUSE).and_then(|cause| forward::read_cause(cause.as_bytes()));
    match registry.withdraw(forwarded, cause.as_deref().unwrap_or(why.words())) {
        0 => Err(Refusal::new(StatusReason::NotFound, "there is no such session here")),
        count => {
            tracing::info!(%peer, count, why = why.as_str(), "told to end");
            Ok(StatusCode::OK)
        }
    }
}

impl From<NoSuchSession> for Refusal {
    fn from(error: NoSuchSession) -> Self {
        let reason = match &error {
            NoSuchSession::Unknown { .. } => StatusReason::NotFound,
            NoSuchSession::Ambiguous { .. } => StatusReason::Conflict,
        };
        Self::new(reason, error.to_string())
    }
}
