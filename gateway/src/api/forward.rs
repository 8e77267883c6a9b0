//! What the agent is told of a request, and what joins the records of everybody it passed.

use std::net::IpAddr;

use axum::http::{HeaderMap, Request, request};
use wire::forward::{self, CAUSE, END_PATH, SESSION_DIGITS, WHY};
use wire::{ApiTarget, AuditId, Forwarded, SessionTarget, StatusReason, Withdrawal, chain, header};

use super::asked::SessionRequest;
use super::error::Refusal;
use crate::identity::Caller;
use crate::target::Target;

/// What the agent has to know of a request.
pub(super) fn forwarded(
    caller: &Caller,
    asked: &SessionRequest,
    target: &Target,
    session_id: &str,
    audit_id: &AuditId,
) -> Forwarded {
    Forwarded {
        user: caller.name().to_owned(),
        session_id: Some(session_id.to_owned()),
        audit_id: audit_id.clone(),
        pod_uid: target.pod_uid.clone(),
        container_id: target.container_id.clone(),
        waiting: target.waiting.clone(),
        host_target: target.host.is_some(),
        max_profile: asked.profile,
    }
}

/// The request to the agent of the target's node.
pub(super) fn head(
    asked: &SessionRequest,
    target: &Target,
    forwarded: &Forwarded,
) -> Result<Request<()>, Refusal> {
    let there = match asked.target.clone() {
        ApiTarget::Pod { namespace, name } => SessionTarget::Pod { namespace, name },
        ApiTarget::Node { .. } => SessionTarget::Node,
    };
    let mut request = asked.request.clone();
    request.container.clone_from(&target.container);
    let query = request.to_query();
    // Naming the container may have made it longer than a query may be.
    let query = query.map_err(|error| Refusal::new(StatusReason::BadRequest, chain(&error)))?;
    let head = vouching(Request::get(format!("{}?{query}", there.path())), forwarded).body(());
    let mut head =
        head.map_err(|error| Refusal::new(StatusReason::InternalError, chain(&error)))?;
    if let Some(handshake) = &asked.handshake {
        handshake.write(head.headers_mut());
    }
    Ok(head)
}

/// What tells the agent to end the sessions of `forwarded`, and the `cause` in words.
pub(super) fn end(
    forwarded: &Forwarded,
    why: Withdrawal,
    cause: &str,
) -> axum::http::Result<Request<()>> {
    let head = Request::post(END_PATH).header(WHY, why.as_str());
    vouching(head.header(CAUSE, forward::cause(cause)), forwarded).body(())
}

fn vouching(head: request::Builder, forwarded: &Forwarded) -> request::Builder {
    let fields = forwarded.fields().into_iter();
    fields.fold(head, |head, (name, value)| head.header(name, value))
}

/// What kube-apiserver calls this request, or a name of our own where it has none.
pub(super) fn audit_id(headers: &HeaderMap) -> AuditId {
    let given = headers.get(header::AUDIT_ID).and_then(|id| id.to_str().ok());
    given.and_then(|id| id.parse().ok()).unwrap_or_else(|| AuditId::of_gateway(random()))
}

/// A name that nobody chose and nobody has, for one session.
pub(super) fn session_id() -> String {
    format!("{:0SESSION_DIGITS$x}", random())
}

fn random() -> u128 {
    let mut bytes = [0; SESSION_DIGITS / 2];
    // Where there is no randomness there is no TLS, and nobody came here.
    let _ = rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes);
    u128::from_be_bytes(bytes)
}

/// The address that kube-apiserver saw: it appends it to whatever the client claims.
pub(super) fn client(headers: &HeaderMap) -> Option<String> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let address: IpAddr = last.rsplit(',').next()?.trim().parse().ok()?;
    Some(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_id_that_could_forge_a_record_is_replaced() {
        let said = |headers: &HeaderMap| audit_id(headers).to_string();
        assert_eq!(said(&headers("audit-id", &["0a-1"])), "0a-1");
        for bad in ["", "a b", "a\"b", "a/b"] {
            assert!(said(&headers("audit-id", &[bad])).starts_with("gateway-"), "{bad}");
        }
        let ours = said(&HeaderMap::new());
        assert!(ours != said(&HeaderMap::new()));
    }

    #[test]
    fn the_client_is_the_last_that_was_appended() {
        let spoken = |values| client(&headers("x-forwarded-for", values));
        assert_eq!(spoken(&["10.0.0.1, 192.0.2.7"]).as_deref(), Some("192.0.2.7"));
        assert_eq!(spoken(&["10.0.0.1", "2001:db8::7"]).as_deref(), Some("2001:db8::7"));
        assert_eq!(spoken(&["10.0.0.1, <script>"]), None);
        assert_eq!(spoken(&[]), None);
    }
}
