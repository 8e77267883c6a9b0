//! A request that is only judged: what a session would be, or the refusal that it would get.
//!
//! Every review and look-up is a session's. Its quotas are looked at and not taken, its agent is asked the
//! same, and nothing starts.

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tracing::{Instrument, info_span};
use wire::dry_run::{ALL, DRY_RUN};
use wire::{AuditId, DryRun, Status};

use super::super::error::Refusal;
use super::super::forward;
use super::Sessions;
use crate::agents::AgentError;
use crate::api::asked::SessionRequest;
use crate::audit::AuditRecord;
use crate::identity::{Caller, Verified};

/// What comes of a dry run.
enum Judged {
    Fit(Box<DryRun>),
    /// In the agent's own words.
    Refused(StatusCode, Status),
}

impl Sessions {
    /// Answers a dry run, and writes it down. Its refusals are not counted: no session was refused.
    pub(super) async fn rehearse(
        &self,
        proxy: &Verified,
        request: &Request<Incoming>,
    ) -> Response<Body> {
        let mut response = match self.read(proxy, request) {
            Ok((caller, asked, audit_id, record)) => {
                let span =
                    info_span!("dry_run", session_id = record.session_id(), user = caller.name());
                self.answered(&caller, &asked, &audit_id, record).instrument(span).await
            }
            Err(not_read) => refused(not_read.record, not_read.refusal),
        };
        response.headers_mut().insert(DRY_RUN, HeaderValue::from_static(ALL));
        response
    }

    async fn answered(
        &self,
        caller: &Caller,
        asked: &SessionRequest,
        audit_id: &AuditId,
        mut record: AuditRecord,
    ) -> Response<Body> {
        match self.rehearsed(caller, asked, audit_id, &mut record).await {
            Ok(Judged::Fit(dry_run)) => match record.fit() {
                Ok(()) => json(StatusCode::OK, dry_run.to_json()),
                Err(error) => refused(Some(record), error.into()),
            },
            Ok(Judged::Refused(code, status)) => {
                record.refused(code.as_u16(), &status.message);
                json(code, status.to_json())
            }
            Err(refusal) => refused(Some(record), refusal),
        }
    }

    async fn rehearsed(
        &self,
        caller: &Caller,
        asked: &SessionRequest,
        audit_id: &AuditId,
        record: &mut AuditRecord,
    ) -> Result<Judged, Refusal> {
        let (_, target) = self.judge(caller, asked, record).await?;
        self.quotas.look(caller.name())?;
        let forwarded = forward::forwarded(caller, asked, &target, record.session_id(), audit_id);
        let head = forward::head(asked, &target, &forwarded)?;
        let (code, body) = self.agents.rehearse(&target.node, head).await?;
        let foreign = |_| AgentError::Foreign { code };
        if code != StatusCode::OK {
            let status: Status = serde_json::from_slice(&body).map_err(foreign)?;
            return Ok(Judged::Refused(code, status));
        }
        let dry_run: DryRun = serde_json::from_slice(&body).map_err(foreign)?;
        let defaulted = target.defaulted.as_deref().and_then(|told| told.split_once("; "));
        let told =
            defaulted.map(|(taken, all)| format!("Defaulted container \"{taken}\" out of: {all}"));
        let notes = told.into_iter().chain(dry_run.notes).collect();
        let dry_run = DryRun { node: Some(target.node), notes, ..dry_run };
        Ok(Judged::Fit(Box::new(dry_run)))
    }
}

fn refused(record: Option<AuditRecord>, refusal: Refusal) -> Response<Body> {
    if let Some(record) = record {
        record.refused(refusal.reason().code(), refusal.message());
    }
    refusal.into_response()
}

fn json(code: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
