//! What kube-apiserver calls: discovery, and sessions.
//!
//! No router: a path means something only in its one spelling, and every answer to a wish to leave
//! HTTP that is not granted ends the connection.

mod asked;
mod discovery;
mod error;
mod exec;
mod forward;
mod leaving;
mod session;
mod websocket;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::upgrade;
use wire::StatusReason;

pub(crate) use error::Refusal;
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

/// The answer to a client that is not the front proxy.
pub(crate) fn unauthorized(mut request: Request<Incoming>, message: String) -> Response<Body> {
    leaving::part(upgrade::on(&mut request));
    Refusal::new(StatusReason::Unauthorized, message).into_response()
}
