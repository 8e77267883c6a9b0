//! What kube-apiserver calls: discovery, and sessions.
//!
//! No router: a path means something only in its one spelling, and every answer to a wish to leave
//! HTTP that is not granted ends the connection.

mod asked;
mod discovery;
mod error;
mod exec;
mod forward;
mod session;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::{self, OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

pub(crate) use error::{Reason, Refusal};
pub(crate) use exec::Sessions;
pub(crate) use websocket::{asks_to_upgrade, only};

use crate::identity::Verified;

/// Answers one request of a connection whose other end is the front proxy.
pub(crate) async fn answer(
    sessions: Arc<Sessions>,
    proxy: Verified,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads
        && !asks_to_upgrade(request.headers())
        && let Some(document) = discovery::answer(path, request.headers())
    {
        return document;
    }
    sessions.answer(&proxy, request).await
}

/// The answer to whoever is not the front proxy.
pub(crate) fn unauthorized(mut request: Request<Incoming>, message: String) -> Response<Body> {
    part(upgrade::on(&mut request));
    Refusal::new(Reason::Unauthorized, message).into_response()
}

/// Ends a connection that wanted to leave HTTP and may not, once its answer is written: hyper would
/// only drop it, which to the other end looks like a cut.
fn part(wish: OnUpgrade) {
    /// For what is on its way; nothing is waited for.
    const LIMIT: Duration = Duration::from_secs(5);
    tokio::spawn(async move {
        // An error says that there was no such wish.
        if let Ok(stream) = wish.await {
            let _ = tokio::time::timeout(LIMIT, TokioIo::new(stream).shutdown()).await;
        }
    });
}
