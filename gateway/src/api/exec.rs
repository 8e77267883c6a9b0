//! `GET …/exec`: everything that can be refused is refused here, before `101`.
//!
//! The order of the answers is part of the safety: who, whether it makes sense, whether they may, and
//! only then whether what they mean exists. The last two questions are asked at once: who may not is
//! refused without a word of the other, and without waiting for it.

mod dry_run;

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response};
use daemon::audit::AuditLog;
use daemon::shutdown::Shutdown;
use futures_util::future::try_join;
use hyper::body::Incoming;
use hyper::upgrade;
use k8s_openapi::api::core::v1::Pod;
use tracing::{Instrument, info, info_span};
use wire::rights::{ReviewPolicy, ReviewedTarget, Right};
use wire::{ApiTarget, AuditId, StatusReason, chain};

use super::asked::SessionRequest;
use super::error::Refusal;
use super::forward::{self, audit_id, client};
use super::leaving;
use super::session::{Farewell, Session, SessionSettings};
use crate::access::Reviewer;
use crate::agents::{Agents, Answer};
use crate::audit::AuditRecord;
use crate::config::Longest;
use crate::identity::{Caller, Verified};
use crate::kubernetes::Kubernetes;
use crate::metrics::Metrics;
use crate::quotas::{Quotas, SessionPlace};
use crate::target::Target;
use crate::turns::Turns;

const DEFAULTED: HeaderName = HeaderName::from_static(wire::header::DEFAULTED_CONTAINER);

/// What requests share.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) kubernetes: Kubernetes,
    pub(crate) agents: Agents,
    pub(crate) quotas: Quotas,
    pub(crate) turns: Turns,
    pub(crate) policy: ReviewPolicy,
    pub(crate) origins: Vec<String>,
    pub(crate) review_every: Duration,
    pub(crate) longest: Longest,
    pub(crate) audit: AuditLog,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
}

/// A session whose tool runs.
struct Opened {
    place: SessionPlace,
    rights: Vec<Right>,
    answer: Answer,
    farewell: Farewell,
    /// What the person should know of the choice of a container.
    defaulted: Option<HeaderValue>,
}

/// Who asks, for what, what joins the records of that, and ours.
type ReadRequest = (Caller, SessionRequest, AuditId, AuditRecord);

/// A refusal with the record that it belongs in; of nobody there is none.
struct NotRead {
    record: Option<AuditRecord>,
    refusal: Refusal,
}

impl Sessions {
    /// Answers one request that is not for a document.
    pub(crate) async fn answer(
        &self,
        proxy: &Verified,
        mut request: Request<Incoming>,
    ) -> Response<Body> {
        let client = upgrade::on(&mut request);
        if wire::dry_run::is_in(request.uri().query().unwrap_or_default()) {
            leaving::part(client);
            return self.rehearse(proxy, &request).await;
        }
        match self.opened(proxy, &request).await {
            Ok((session, response)) => {
                session.begin(client, self.terms());
                response
            }
            Err(refusal) => {
                leaving::part(client);
                refusal
            }
        }
    }

    /// A session that an agent has begun, and what its client is to be told; or a refusal that has been
    /// written down.
    async fn opened(
        &self,
        proxy: &Verified,
        request: &Request<Incoming>,
    ) -> Result<(Session, Response<Body>), Response<Body>> {
        let (caller, asked, audit_id, mut record) = match self.read(proxy, request) {
            Ok(read) => read,
            Err(not_read) => {
                let NotRead { record, refusal } = *not_read;
                return Err(self.refuse_on_record(record, refusal));
            }
        };
        let span = info_span!("session", session_id = record.session_id(), user = caller.name());
        let opened = self.open(&caller, &asked, &audit_id, &mut record);
        match opened.instrument(span.clone()).await {
            Ok(opened) if opened.answer.is_a_session() => {
                // Without the line no session: the agent's end is dropped, and its tool with it.
                if let Err(error) = record.started() {
                    return Err(self.refuse_on_record(Some(record), error.into()));
                }
                let Opened { place, rights, answer: agent, farewell, defaulted } = opened;
                let mut response = agent.response();
                let told = defaulted.map(|told| (DEFAULTED, told));
                response.headers_mut().extend(told);
                let session = Session { agent, farewell, caller, rights, record, place, span };
                Ok((session, response))
            }
            Ok(Opened { answer, .. }) => Err(self.pass_on(record, answer).await),
            Err(refusal) => Err(self.refuse_on_record(Some(record), refusal)),
        }
    }

    /// Who asks for what.
    fn read(
        &self,
        proxy: &Verified,
        request: &Request<Incoming>,
    ) -> Result<ReadRequest, Box<NotRead>> {
        let headers = request.headers();
        let caller = Caller::read(proxy, headers).map_err(|error| {
            info!(error = chain(&error), "caller unknown");
            Box::new(NotRead { record: None, refusal: error.into() })
        })?;
        let audit_id = audit_id(headers);
        let mut record =
            AuditRecord::open(&self.audit, forward::session_id(), &caller, client(headers));
        record.named_by_client(audit_id.clone());
        match SessionRequest::read(request, &self.origins) {
            Ok(asked) => {
                record.asked(&asked.target, &asked.request, asked.profile);
                Ok((caller, asked, audit_id, record))
            }
            Err(refusal) => Err(Box::new(NotRead { record: Some(record), refusal })),
        }
    }

    async fn open(
        &self,
        caller: &Caller,
        asked: &SessionRequest,
        audit_id: &AuditId,
        record: &mut AuditRecord,
    ) -> Result<Opened, Refusal> {
        let (rights, target) = self.judge(caller, asked, record).await?;
        let place = self.quotas.take(caller.name())?;
        let forwarded = forward::forwarded(caller, asked, &target, record.session_id(), audit_id);
        let head = forward::head(asked, &target, &forwarded)?;
        let answer = self.agents.ask(&target.node, head).await?;
        let farewell = Farewell { agents: self.agents.clone(), node: target.node, forwarded };
        // Names of containers and punctuation, always a header's value.
        let defaulted = target.defaulted.and_then(|told| HeaderValue::try_from(told).ok());
        Ok(Opened { place, rights, answer, farewell, defaulted })
    }

    /// The rights that it takes, all of which the caller has, and where it is to be.
    async fn judge(
        &self,
        caller: &Caller,
        asked: &SessionRequest,
        record: &mut AuditRecord,
    ) -> Result<(Vec<Right>, Target), Refusal> {
        let turn = self.turns.take(caller.name()).await?;
        let reviewer = Reviewer::new(self.kubernetes.clone());
        let entered = ReviewedTarget::from(&asked.target);
        let mut rights = entered.rights(asked.profile, &self.policy);
        let allowed = async { Ok::<_, Refusal>(reviewer.review(caller, &rights).await?) };
        let looked_up = async { Ok(self.target(asked).await) };
        let ((), target) = try_join(allowed, looked_up).await?;
        let mut target = target?;
        target.host = target.host.or_else(|| self.policy.worth_the_node(asked.profile));
        record.found(&target);
        if let Some(right) = entered.host_target(Some(&target.node), target.host.as_ref()) {
            reviewer.review(caller, std::slice::from_ref(&right)).await?;
            rights.push(right);
        }
        drop(turn);
        Ok((rights, target))
    }

    async fn target(&self, asked: &SessionRequest) -> Result<Target, Refusal> {
        let (namespace, name) = match &asked.target {
            ApiTarget::Pod { namespace, name } => (namespace.as_str(), name.as_str()),
            ApiTarget::Node { name } => return Ok(Target::of_node(name)),
        };
        let pod = self.kubernetes.find::<Pod>(namespace, name).await;
        let pod =
            pod.map_err(|error| Refusal::new(StatusReason::ServiceUnavailable, chain(&error)))?;
        let missing = || Refusal::new(StatusReason::NotFound, format!("pods \"{name}\" not found"));
        Ok(Target::of(&pod.ok_or_else(missing)?, asked.request.container.as_ref())?)
    }

    fn terms(&self) -> SessionSettings {
        SessionSettings {
            reviewer: Reviewer::new(self.kubernetes.clone()),
            review_every: self.review_every,
            longest: self.longest,
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        self.metrics.refused(refusal.reason());
        refusal.into_response()
    }

    fn refuse_on_record(&self, record: Option<AuditRecord>, refusal: Refusal) -> Response<Body> {
        if let Some(record) = record {
            record.refused(refusal.reason().code(), refusal.message());
        }
        self.refuse(refusal)
    }

    /// The agent's own refusal, which is written for the person.
    async fn pass_on(&self, record: AuditRecord, answer: Answer) -> Response<Body> {
        match answer.refusal().await {
            Ok((response, message)) => {
                record.refused(response.status().as_u16(), &message);
                self.metrics.refused(StatusReason::of_code(response.status().as_u16()));
                response
            }
            Err(error) => self.refuse_on_record(Some(record), error.into()),
        }
    }
}
