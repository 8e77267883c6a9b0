//! `GET …/exec`: everything that can be refused is refused here, before `101`.

mod dry_run;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::response::Response;
use axum::routing::get;
use daemon::audit::{AuditError, AuditLog};
use entry::{Plan, PlanError, Profile, Request, Target, TargetError};
use tracing::{Instrument, info};
use wire::{ExecRequest, SessionTarget, StatusReason, chain};

use super::asked::{Arrival, SessionRequest, parsed};
use super::upgrade::Upgrade;
use super::{Agent, Refusal, forwarded};
use crate::audit::AuditRecord;
use crate::peer::Peer;
use crate::registry::{About, Registry, SessionId};
use crate::runtime::{ContainerRuntime, Query};
use crate::session::place::{Aim, FoundTarget, NotEntered};
use crate::session::{
    self, Advice, EndConditions, Ends, Held, Launcher, Lifetime, Limit, Policy, PolicyError,
    Running, StartError, Wanted,
};
use crate::slots::Slot;

/// What sessions are given and how they are looked after.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    pub policy: Policy,
    pub lifetime: Lifetime,
    pub audit: AuditLog,
    pub registry: Registry,
}

/// What these routes share.
#[derive(Debug)]
struct Sessions<R> {
    agent: Agent<R>,
    launcher: Arc<Launcher>,
    terms: Arc<SessionSettings>,
}

impl<R> Clone for Sessions<R> {
    fn clone(&self) -> Self {
        Self {
            agent: self.agent.clone(),
            launcher: Arc::clone(&self.launcher),
            terms: Arc::clone(&self.terms),
        }
    }
}

/// The routes of sessions, which `launcher` begins and which run under these `terms`.
pub fn routes<R: ContainerRuntime>(
    agent: Agent<R>,
    launcher: Arc<Launcher>,
    terms: SessionSettings,
) -> Router {
    Router::new()
        .route(SessionTarget::CONTAINER_ROUTE, get(in_container::<R>))
        .route(SessionTarget::POD_ROUTE, get(in_pod::<R>))
        .route(SessionTarget::NODE_ROUTE, get(on_node::<R>))
        .with_state(Sessions { agent, launcher, terms: Arc::new(terms) })
}

async fn in_container<R: ContainerRuntime>(
    State(sessions): State<Sessions<R>>,
    Path(id): Path<String>,
    arrival: Arrival,
) -> Result<Response, Refusal> {
    let route = move |request: &ExecRequest| {
        let namespace = request.containerd_namespace.clone();
        Ok(Aim::Runtime(Query::Container { prefix: parsed(&id)?, namespace }))
    };
    sessions.serve(arrival, route).await
}

async fn in_pod<R: ContainerRuntime>(
    State(sessions): State<Sessions<R>>,
    Path((namespace, name)): Path<(String, String)>,
    arrival: Arrival,
) -> Result<Response, Refusal> {
    let declared = matches!(arrival.peer, Peer::Gateway { .. });
    let route = move |request: &ExecRequest| {
        Ok(Aim::Runtime(Query::Pod {
            namespace: parsed(&namespace)?,
            name: parsed(&name)?,
            container: request.container.clone(),
            containerd_namespace: request.containerd_namespace.clone(),
            declared,
        }))
    };
    sessions.serve(arrival, route).await
}

async fn on_node<R: ContainerRuntime>(
    State(sessions): State<Sessions<R>>,
    arrival: Arrival,
) -> Result<Response, Refusal> {
    sessions.serve(arrival, |_| Ok(Aim::Node)).await
}

/// A session that may be, and of which nothing is started.
struct Judged {
    place: FoundTarget,
    target: Target,
    plan: Plan,
    wanted: Wanted,
    about: About,
    profile: Option<Profile>,
    advice: Option<Advice>,
    host_target: Option<String>,
    note: Option<String>,
    span: tracing::Span,
}

/// A session whose tool runs and whose client does not know yet.
struct Opened {
    held: Held,
    running: Running,
    ends: Ends,
    upgrade: Upgrade,
    limit: Limit,
    note: Option<HeaderValue>,
    advice: Option<Advice>,
    span: tracing::Span,
}

impl<R: ContainerRuntime> Sessions<R> {
    /// Answers one request, and sees to it that there is a record of it.
    async fn serve(
        self,
        arrival: Arrival,
        route: impl FnOnce(&ExecRequest) -> Result<Aim, Refusal> + Send,
    ) -> Result<Response, Refusal> {
        let id = SessionId::random().map_err(|error| {
            Refusal::new(
                StatusReason::InternalError,
                format!("cannot create an ID for the session: {error}"),
            )
        })?;
        let peer = arrival.peer.clone();
        let mut record = AuditRecord::open(&self.terms.audit, id.clone(), &peer);
        if arrival.is_dry_run() {
            return Ok(self.rehearse(arrival, route, &id, record).await);
        }
        let opened = match SessionRequest::new(arrival, route, &mut record) {
            Ok((asked, Some(upgrade))) => self.open(asked, upgrade, peer, &id, &mut record).await,
            Ok((_, None)) => {
                Err(Refusal::new(StatusReason::InternalError, "there is no websocket"))
            }
            Err(refusal) => Err(refusal),
        };
        match opened.and_then(|opened| Ok((opened, record.started()?))) {
            Ok((opened, ())) => Ok(self.stream(opened, record)),
            Err(refusal) => Err(refused(record, refusal)),
        }
    }

    async fn open(
        &self,
        asked: SessionRequest,
        upgrade: Upgrade,
        peer: Peer,
        id: &SessionId,
        record: &mut AuditRecord,
    ) -> Result<Opened, Refusal> {
        let slot = Arc::new(self.agent.admit(&peer)?);
        let judged = self.judge(asked, peer, id, record).await?;
        let (profile, advice) = (judged.profile, judged.advice.clone());
        // The node's own tools come with all there is.
        let is_powerful = profile.is_none_or(|profile| profile == Profile::Sysadmin);
        let limit = self.terms.lifetime.of(is_powerful || judged.host_target.is_some());
        let (note, span) = (judged.note.clone(), judged.span.clone());
        let Judged { place, target, plan, wanted, about, .. } = judged;
        let started = self.start(&target, &plan, wanted, about, id, &slot);
        let (running, ends, held) = match started.instrument(span.clone()).await {
            Ok(started) => started,
            Err(error) => return Err(self.about(&place, error).await.into()),
        };
        let unseen = session::unseen(running.unseen());
        if let Some(unseen) = &unseen {
            info!(parent: &span, unseen, "incomplete");
        }
        let note =
            [note, unseen].into_iter().flatten().reduce(|note, more| format!("{note}; {more}"));
        // Names are escaped where they are read, so that the text is a header's.
        let note = note.and_then(|note| HeaderValue::try_from(note).ok());
        Ok(Opened { held, running, ends, upgrade, limit, note, advice, span })
    }

    /// All that can be known of a session before something is started for it.
    async fn judge(
        &self,
        asked: SessionRequest,
        peer: Peer,
        id: &SessionId,
        record: &mut AuditRecord,
    ) -> Result<Judged, Refusal> {
        let aim = asked.aim.clone();
        let policy = forwarded::bounded(&self.terms.policy, &peer)?;
        let (request, wanted) = asked.split(&policy)?;
        let profile = request.limits.as_ref().map(|limits| limits.profile);
        record.given(profile);
        let advice = Advice::of(&request.tool, request.limits.as_ref());
        let place = FoundTarget::find(&*self.agent.runtime, &aim).await?;
        forwarded::confirm(&peer, &place)?;
        let request = place.named_in_prompt(request);
        let note = place.note(policy.tools(), forwarded::waiting(&peer));
        record.located(&place, note.clone());
        let span = place.span(id, &peer);
        let about = place.about(&request.tool, peer, profile);
        let planned = self.plan(&place, request, &policy, record).instrument(span.clone());
        let (target, plan, host_target) = match planned.await {
            Ok(planned) => planned,
            Err(error) => return Err(self.about(&place, error).await.into()),
        };
        let about = About { pids: plan.pids(), ..about };
        Ok(Judged { place, target, plan, wanted, about, profile, advice, host_target, note, span })
    }

    async fn plan(
        &self,
        place: &FoundTarget,
        request: Request,
        policy: &Policy,
        record: &mut AuditRecord,
    ) -> Result<(Target, Plan, Option<String>), StartError> {
        let target = place.hold(&*self.agent.runtime).await?;
        let facts = place.facts(&target)?;
        let host_target = facts.host_target(&policy.signs());
        record.observed(host_target.clone());
        let plan = Plan::new(place.within(request), &facts)?;
        Ok((target, plan, host_target))
    }

    fn stream(self, opened: Opened, record: AuditRecord) -> Response {
        let Opened { held, running, ends, upgrade, limit, note, advice, span } = opened;
        let care = EndConditions {
            registered: Arc::clone(&held.registered),
            shutdown: self.agent.shutdown.clone(),
            idle: self.terms.lifetime.idle,
            limit,
            advice,
        };
        let open = self.agent.metrics.open_session();
        let mut response = upgrade.grant(move |socket, protocol| {
            let session = async move {
                // What begins and ends is the audit's to say, once.
                match session::pump(socket, protocol, running, ends, &care, open).await {
                    Ok(finished) => record.ended(&finished),
                    Err(error) => record.failed(chain(&error)),
                }
                drop((care, held));
            };
            session.instrument(span)
        });
        if let Some(note) = note {
            response.headers_mut().insert(wire::header::NOTE, note);
        }
        response
    }

    /// The same `error`, in words of what people know.
    async fn about(&self, place: &FoundTarget, error: StartError) -> StartError {
        let enters = self.terms.policy.enters_host_targets();
        let because = if enters { NotEntered::ByGateway } else { NotEntered::ByAgent };
        let error = place.as_host_target(error, because);
        place.named_in(error, &*self.agent.runtime).await
    }

    async fn start(
        &self,
        target: &Target,
        plan: &Plan,
        wanted: Wanted,
        about: About,
        id: &SessionId,
        slot: &Arc<Slot>,
    ) -> Result<(Running, Ends, Held), StartError> {
        let streams = wanted.open().map_err(|source| StartError::Streams { source });
        let (stdio, ends) = streams?;
        // From before the tool runs: of two that come at once, the second sees the first.
        let registered = Arc::new(self.terms.registry.enter(id.clone(), about)?);
        let held = Held { slot: Arc::clone(slot), registered };
        let running = Running::start(&self.launcher, target, plan, stdio, &held).await?;
        Ok((running, ends, held))
    }
}

/// The refusal, once it is written down.
fn refused(record: AuditRecord, refusal: Refusal) -> Refusal {
    let reason = refusal.reason();
    record.refused(reason.code(), reason.as_str(), refusal.message());
    refusal
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Locate(error) => error.into(),
            error => {
                let reason = match &error {
                    StartError::Target(TargetError::NotOfNode) => StatusReason::InternalError,
                    StartError::Target(_)
                    | StartError::TargetExited
                    | StartError::Neighbour(_)
                    | StartError::NotStarted
                    | StartError::Lost => StatusReason::Conflict,
                    StartError::NoProcesses => StatusReason::TooManyRequests,
                    StartError::Permission { .. }
                    | StartError::Traceable { .. }
                    | StartError::HostTarget { .. }
                    | StartError::NodeNotAllowed
                    | StartError::NotAlone { .. }
                    | StartError::NoCanary
                    | StartError::Exposed { .. }
                    | StartError::NotApart { .. }
                    | StartError::Policy(
                        PolicyError::AboveMaximum { .. } | PolicyError::NodeNetwork,
                    )
                    | StartError::Plan(
                        PlanError::HostTarget { .. }
                        | PlanError::NobodyOnNode
                        | PlanError::NoFreeUser { .. }
                        | PlanError::NotTheTargets { .. },
                    ) => StatusReason::Forbidden,
                    StartError::Plan(_) | StartError::Policy(_) => StatusReason::BadRequest,
                    ours if ours.exit_code() != 125 => StatusReason::BadRequest,
                    _ => StatusReason::InternalError,
                };
                let refusal = Self::new(reason, chain(&error)).with_hint(error.hint());
                refusal.with_exit_code(error.exit_code())
            }
        }
    }
}

impl From<AuditError> for Refusal {
    fn from(error: AuditError) -> Self {
        Self::new(StatusReason::ServiceUnavailable, chain(&error))
    }
}
