//! A session's request, judged by itself: nobody is asked anything for one that makes no sense.

use axum::http::header::UPGRADE;
use axum::http::{HeaderMap, Method, Request, Version};
use wire::{ApiTarget, ExecRequest, Profile, StatusReason, chain, dry_run, shown};

use super::error::Refusal;
use super::websocket::{Handshake, asks_to_upgrade, check_origin};

/// A request that is in order, apart from who makes it and what it is about.
#[derive(Debug)]
pub(super) struct SessionRequest {
    pub(super) target: ApiTarget,
    pub(super) request: ExecRequest,
    /// The profile to review; the session gets no more.
    pub(super) profile: Profile,
    /// Of a dry run none.
    pub(super) handshake: Option<Handshake>,
}

impl SessionRequest {
    pub(super) fn read<B>(request: &Request<B>, origins: &[String]) -> Result<Self, Refusal> {
        let bad =
            |error: &dyn std::error::Error| Refusal::new(StatusReason::BadRequest, chain(error));
        let uri = request.uri();
        let target = ApiTarget::parse(uri.path()).filter(|_| uri.authority().is_none());
        let target = target.ok_or_else(|| {
            Refusal::new(
                StatusReason::NotFound,
                format!("there is nothing at {}", shown(uri.path())),
            )
        })?;
        if request.method() != Method::GET {
            let message = "use GET with a websocket upgrade; SPDY is not supported";
            return Err(Refusal::new(StatusReason::MethodNotAllowed, message));
        }
        if request.version() != Version::HTTP_11 {
            return Err(Refusal::new(StatusReason::BadRequest, "use HTTP/1.1 for a websocket"));
        }
        check_no_body(request.headers())?;
        let query = uri.query().unwrap_or_default();
        let handshake = if dry_run::is_in(query) {
            check_plain(request.headers(), origins)?;
            None
        } else {
            let handshake = Handshake::read(request.headers(), origins);
            Some(handshake.map_err(|error| bad(&error))?)
        };
        let request = ExecRequest::from_query(query).map_err(|error| bad(&error))?;
        if request.containerd_namespace.is_some() {
            let message = "parameter `containerd-namespace` is not allowed for a pod: its containerd namespace is fixed";
            return Err(Refusal::new(StatusReason::BadRequest, message));
        }
        let profile = request.profile.unwrap_or_default();
        Ok(Self { target, request, profile, handshake })
    }
}

/// Who asks for a websocket might take the answer for one. Pages are kept off as from sessions.
fn check_plain(headers: &HeaderMap, origins: &[String]) -> Result<(), Refusal> {
    if asks_to_upgrade(headers) || headers.contains_key(UPGRADE) {
        let message = "a dry run is answered in plain HTTP: ask for it without `Upgrade`";
        return Err(Refusal::new(StatusReason::BadRequest, message));
    }
    check_origin(headers, origins)
        .map_err(|error| Refusal::new(StatusReason::BadRequest, chain(&error)))
}

/// Bytes behind the head are the websocket's; a body would be read as its first frame.
fn check_no_body(headers: &HeaderMap) -> Result<(), Refusal> {
    use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
    let empty = headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0");
    if empty && !headers.contains_key(TRANSFER_ENCODING) {
        Ok(())
    } else {
        Err(Refusal::new(StatusReason::BadRequest, "a websocket request must not have a body"))
    }
}
