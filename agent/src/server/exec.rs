//! `GET …/exec`: everything that can be refused is refused here, before `101`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Path, RawQuery, State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use entry::{HelperImage, Kinds, PlanError, Request, Tool};
use tracing::{Instrument, info, info_span};
use wire::frame::Protocol;
use wire::{ExecRequest, SessionTarget, limits};

use super::{Agent, Reason, Refusal};
use crate::chain::chain;
use crate::listen::Peer;
use crate::runtime::{ContainerRuntime, Located, Query};
use crate::session::{self, Choice, Policy, PolicyError, Running, StartError, Wanted};

/// Bytes read from a socket at once: a frame of ours, so that 1 GiB of input is not 64 Ki reads.
const READ_BUFFER: usize = 64 << 10;

/// Bytes waiting to be written: as much again as one message, then the tool has to wait.
const WRITE_BUFFER: usize = 4 * limits::FRAME;

/// The terminal that clients have who do not say which.
const TERM: &str = "xterm";

/// What these routes share.
#[derive(Debug)]
struct Sessions<R> {
    agent: Agent<R>,
    image: Arc<HelperImage>,
    policy: Arc<Policy>,
}

impl<R> Clone for Sessions<R> {
    fn clone(&self) -> Self {
        Self {
            agent: self.agent.clone(),
            image: Arc::clone(&self.image),
            policy: Arc::clone(&self.policy),
        }
    }
}

/// The routes of sessions, which run as helpers made of `image` and get what `policy` gives.
pub fn routes<R: ContainerRuntime>(agent: Agent<R>, image: HelperImage, policy: Policy) -> Router {
    Router::new()
        .route(SessionTarget::CONTAINER_ROUTE, get(in_container::<R>))
        .route(SessionTarget::POD_ROUTE, get(in_pod::<R>))
        .with_state(Sessions { agent, image: Arc::new(image), policy: Arc::new(policy) })
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn in_container<R: ContainerRuntime>(
    State(sessions): State<Sessions<R>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let prefix = parsed(&id)?;
    let asked = Asked::new(query.as_deref(), upgrade)?;
    let namespace = asked.request.containerd_namespace.clone();
    sessions.open(asked, Query::Container { prefix, namespace }, peer).await
}

async fn in_pod<R: ContainerRuntime>(
    State(sessions): State<Sessions<R>>,
    Extension(peer): Extension<Peer>,
    Path((namespace, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let (namespace, name) = (parsed(&namespace)?, parsed(&name)?);
    let asked = Asked::new(query.as_deref(), upgrade)?;
    let container = asked.request.container.clone();
    let containerd_namespace = asked.request.containerd_namespace.clone();
    let query = Query::Pod { namespace, name, container, containerd_namespace };
    sessions.open(asked, query, peer).await
}

fn parsed<T: FromStr<Err: std::error::Error>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| Refusal::new(Reason::BadRequest, error.to_string()))
}

/// A request that is in order, apart from what it is about.
struct Asked {
    request: ExecRequest,
    kinds: Option<Kinds>,
    choice: Choice,
    upgrade: WebSocketUpgrade,
}

impl Asked {
    fn new(query: Option<&str>, upgrade: Upgrade) -> Result<Self, Refusal> {
        let request = ExecRequest::from_query(query.unwrap_or_default())?;
        let kinds = request.namespaces.as_deref().map(parsed).transpose()?;
        let choice = Choice {
            profile: request.profile.as_deref().map(parsed).transpose()?,
            run_as: request.run_as.as_deref().map(parsed).transpose()?,
            write: request.write,
        };
        let upgrade = upgrade.map_err(|rejection| {
            let message = format!("a session is a websocket: {}", rejection.body_text());
            Refusal::new(Reason::BadRequest, message)
        })?;
        let upgrade = upgrade
            .protocols(Protocol::ALL.map(Protocol::as_str))
            .max_message_size(limits::INBOUND_MESSAGE)
            .max_frame_size(limits::INBOUND_MESSAGE)
            .read_buffer_size(READ_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER);
        if upgrade.selected_protocol().is_none() {
            let spoken = Protocol::ALL.map(Protocol::as_str).join(" and ");
            let message = format!("no subprotocol in common: this agent speaks {spoken}");
            return Err(Refusal::new(Reason::BadRequest, message));
        }
        Ok(Self { request, kinds, choice, upgrade })
    }

    /// What to run, and how it is wired. A terminal has no stderr of its own.
    fn split(self, policy: &Policy) -> Result<(Request, Wanted, WebSocketUpgrade), StartError> {
        let Self { request, kinds, choice, upgrade } = self;
        let limits = policy.limits(choice)?;
        let ExecRequest { command, stdin, stdout, stderr, tty, term, .. } = request;
        let term = tty.then(|| term.unwrap_or_else(|| TERM.to_owned()).into());
        let argv = command.into_iter().map(OsString::from_vec).collect();
        let env = policy.environment(term);
        let tool = Tool { argv, env, directory: Some("/".into()), terminal: tty };
        let wanted = Wanted { stdin, stdout, stderr: stderr && !tty, terminal: tty };
        Ok((Request { kinds, join_user: false, limits, tool }, wanted, upgrade))
    }
}

impl<R: ContainerRuntime> Sessions<R> {
    async fn open(self, asked: Asked, query: Query, peer: Peer) -> Result<Response, Refusal> {
        let slot = self.agent.admit()?;
        let (request, wanted, upgrade) = asked.split(&self.policy)?;
        let located = self.agent.runtime.locate(&query).await?;
        let span = span(&located, &request.tool, &peer);
        let started = self.start(&located, request, wanted).instrument(span.clone()).await;
        let (running, ends) = started.map_err(|error| {
            info!(parent: &span, error = chain(&error), "refused");
            Refusal::from(error)
        })?;
        let Self { agent, .. } = self;
        let open = agent.metrics.open_session();
        Ok(upgrade.on_upgrade(move |socket| {
            let session = async move {
                let since = Instant::now();
                info!("opened");
                let finished = session::pump(socket, running, ends, &agent.shutdown, open).await;
                let seconds = since.elapsed().as_secs_f64();
                match finished {
                    Ok(finished) => info!(?finished, seconds, "closed"),
                    Err(error) => info!(error = chain(&error), seconds, "closed"),
                }
                drop(slot);
            };
            session.instrument(span)
        }))
    }

    async fn start(
        &self,
        located: &Located,
        request: Request,
        wanted: Wanted,
    ) -> Result<(Running, session::Ends), StartError> {
        let target = session::hold(&*self.agent.runtime, located).await?;
        let plan = session::plan(&target, request)?;
        let streams = wanted.open().map_err(|source| StartError::Streams { source });
        let (stdio, ends) = streams?;
        let running = Running::start(&self.image, &target, &plan, stdio).await?;
        Ok((running, ends))
    }
}

/// Who does what where: never the bytes of a session.
fn span(located: &Located, tool: &Tool, peer: &Peer) -> tracing::Span {
    let pod = located.pod.as_ref().map(ToString::to_string);
    let command: Vec<_> = tool.argv.iter().map(|text| text.to_string_lossy()).collect();
    info_span!("session", container = located.id, pod, pid = located.pid, %peer, ?command)
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Locate(error) => error.into(),
            error => {
                let reason = match &error {
                    StartError::Target(_) | StartError::TargetExited | StartError::Lost => {
                        Reason::Conflict
                    }
                    StartError::Permission { .. }
                    | StartError::Traceable
                    | StartError::NoCanary
                    | StartError::Policy(PolicyError::AboveMaximum { .. })
                    | StartError::Plan(PlanError::HostTarget { .. }) => Reason::Forbidden,
                    StartError::Plan(_) | StartError::Policy(_) => Reason::BadRequest,
                    ours if ours.exit_code() != 125 => Reason::BadRequest,
                    _ => Reason::InternalError,
                };
                Self::new(reason, chain(&error)).with_exit_code(error.exit_code())
            }
        }
    }
}
