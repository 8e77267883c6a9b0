//! A session's request, from what came over the connection to what may be run.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::UPGRADE;
use axum::http::request::Parts;
use entry::{Kinds, Request, Tool};
use tokio_tungstenite::tungstenite;
use wire::frame::Protocol;
use wire::{AuditId, ExecRequest, StatusReason};

use super::Refusal;
use super::upgrade::{Proposal, Upgrade};
use crate::audit::AuditRecord;
use crate::peer::Peer;
use crate::profile::planned;
use crate::session::place::Aim;
use crate::session::{Choice, Policy, StartError, Wanted};

/// The terminal that clients have who do not say which.
const TERM: &str = "xterm";

/// Where a tool finds what joins the records of its session, as Kubernetes means to call it: what a
/// script leaves in a log of its own can then be joined as well.
const AUDIT_ID_VARIABLE: &str = "KUBERNETES_EXEC_AUDIT_ID";

/// What a connection said, and nothing of it judged.
pub(super) struct Arrival {
    pub(super) peer: Peer,
    headers: HeaderMap,
    query: String,
    upgrade: Result<Proposal, tungstenite::Error>,
}

impl<S: Send + Sync> FromRequestParts<S> for Arrival {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let peer = parts.extensions.get::<Peer>().cloned().ok_or_else(|| {
            Refusal::new(
                StatusReason::InternalError,
                "cannot identify the caller: this listener does not authenticate clients",
            )
        })?;
        let headers = parts.headers.clone();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let upgrade = Proposal::asked_by(parts);
        Ok(Self { peer, headers, query, upgrade })
    }
}

impl Arrival {
    /// Whether it is only to be judged, whatever else is wrong with it.
    pub(super) fn is_dry_run(&self) -> bool {
        wire::dry_run::is_in(&self.query)
    }
}

/// A request that is in order, apart from what it is about.
pub(super) struct SessionRequest {
    pub(super) aim: Aim,
    request: ExecRequest,
    kinds: Option<Kinds>,
    choice: Choice,
    audit_id: Option<AuditId>,
}

pub(super) fn parsed<T: FromStr<Err: std::error::Error>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| Refusal::new(StatusReason::BadRequest, error.to_string()))
}

impl SessionRequest {
    /// Judges what arrived, and notes what it is in `record`. Only a dry run comes without a websocket.
    pub(super) fn new(
        arrival: Arrival,
        route: impl FnOnce(&ExecRequest) -> Result<Aim, Refusal>,
        record: &mut AuditRecord,
    ) -> Result<(Self, Option<Upgrade>), Refusal> {
        let Arrival { peer: _, headers, query, upgrade } = arrival;
        let audit_id = headers.get(wire::header::AUDIT_ID);
        // What is not text is no ID either.
        let audit_id = audit_id.map(|id| parsed::<AuditId>(id.to_str().unwrap_or_default()));
        let audit_id = audit_id.transpose()?;
        if let Some(id) = &audit_id {
            record.joined_by(id.clone());
        }
        let request = ExecRequest::from_query(&query)?;
        record.asked(&request);
        let aim = route(&request)?;
        record.aimed(&aim);
        let kinds = request.namespaces.as_deref().map(parsed).transpose()?;
        let choice = Choice {
            profile: request.profile.map(planned),
            run_as: request.run_as.as_deref().map(parsed).transpose()?,
            write: request.write,
            node: aim == Aim::Node,
        };
        let upgrade = if request.dry_run {
            check_plain(&headers)?;
            None
        } else {
            Some(websocket(upgrade)?)
        };
        Ok((Self { aim, request, kinds, choice, audit_id }, upgrade))
    }

    /// Whether `/target` is to be writable.
    pub(super) fn writes(&self) -> bool {
        self.request.write
    }

    /// What to run, and how it is wired. A terminal has no stderr of its own.
    pub(super) fn split(self, policy: &Policy) -> Result<(Request, Wanted), StartError> {
        let Self { aim: _, request, kinds, choice, audit_id } = self;
        let limits = policy.limits(choice)?;
        let ExecRequest { command, stdin, stdout, stderr, tty, term, .. } = request;
        let term = tty.then(|| term.unwrap_or_else(|| TERM.to_owned()).into());
        let argv = command.into_iter().map(OsString::from_vec).collect();
        let mut env = policy.environment(term);
        env.extend(audit_id.map(|id| (AUDIT_ID_VARIABLE.into(), id.as_str().into())));
        let tool = Tool { argv, env, directory: Some("/".into()), terminal: tty };
        let wanted = Wanted { stdin, stdout, stderr: stderr && !tty, terminal: tty };
        Ok((Request { kinds, join_user: false, limits, tool }, wanted))
    }
}

fn websocket(upgrade: Result<Proposal, tungstenite::Error>) -> Result<Upgrade, Refusal> {
    let bad = |message| Refusal::new(StatusReason::BadRequest, message);
    let upgrade = upgrade
        .map_err(|rejection| bad(format!("a session needs a websocket request: {rejection}")))?;
    upgrade.agreed().ok_or_else(|| {
        let spoken = Protocol::ALL.map(Protocol::as_str).join(", ");
        bad(format!("no common subprotocol: this agent supports {spoken}"))
    })
}

/// Who asks for a websocket might take the answer for one.
fn check_plain(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(UPGRADE) {
        let message = "a dry run is answered in plain HTTP: ask for it without `Upgrade`";
        return Err(Refusal::new(StatusReason::BadRequest, message));
    }
    Ok(())
}
