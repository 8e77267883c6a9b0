//! `POST /connect`: an agent proves who it is, and the roles turn.
//!
//! The only thing that can be asked on the agents' port. After `101` the gateway is the client.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use daemon::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::{self, OnUpgrade};
use tracing::{debug, info};
use wire::forward::{CONNECT_PATH, CONNECT_PROTOCOL, KNOWS, KNOWS_DRY_RUNS, NODE};
use wire::{StatusReason, chain};

use super::registry::{Agents, Crowded};
use super::token::{Agent, TokenError, Tokens};
use crate::ahead::Known;
use crate::api::{Refusal, asks_to_upgrade, only};
use crate::metrics::{AgentCall, Metrics};

/// Where agents are received.
#[derive(Clone, Debug)]
pub(crate) struct Reception {
    pub(crate) tokens: Tokens,
    pub(crate) agents: Agents,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
}

#[derive(Debug, thiserror::Error)]
enum NotReceived {
    #[error("agents connect with `POST {CONNECT_PATH}` and `Upgrade: {CONNECT_PROTOCOL}`")]
    Request,
    #[error("no bearer token")]
    NoToken,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the token belongs to the node {proved}, but the agent says that it is on {claimed}")]
    OtherNode { proved: String, claimed: String },
    #[error(transparent)]
    Crowded(#[from] Crowded),
    #[error("the gateway is shutting down")]
    Leaving,
}

impl Reception {
    /// Answers one request of a client that may be an agent.
    pub(crate) async fn answer(
        self,
        mut request: Request<Incoming>,
        connection: &Known,
    ) -> Response<Body> {
        match self.receive(&request).await {
            Ok(agent) => {
                self.metrics.called(AgentCall::Welcome);
                connection.set();
                let upgrading = upgrade::on(&mut request);
                let knows_dry_runs = knows_dry_runs(request.headers());
                let turning = turn(upgrading, agent, knows_dry_runs, self.agents, self.shutdown);
                tokio::spawn(turning);
                switched()
            }
            Err(error) => {
                info!(error = chain(&error), "agent refused");
                let (called, reason) = error.judged();
                self.metrics.called(called);
                Refusal::new(reason, chain(&error)).into_response()
            }
        }
    }

    async fn receive(&self, request: &Request<Incoming>) -> Result<Agent, NotReceived> {
        let headers = request.headers();
        let protocol = only(headers, &header::UPGRADE);
        if request.method() != Method::POST
            || request.uri().path() != CONNECT_PATH
            || protocol != Some(CONNECT_PROTOCOL.as_bytes())
            || !asks_to_upgrade(headers)
        {
            return Err(NotReceived::Request);
        }
        if self.shutdown.is_leaving() {
            return Err(NotReceived::Leaving);
        }
        let agent = self.tokens.review(bearer(headers).ok_or(NotReceived::NoToken)?).await?;
        if let Some(claimed) = headers.get(NODE)
            && claimed.as_bytes() != agent.node.as_bytes()
        {
            let claimed = claimed.as_bytes().escape_ascii().to_string();
            return Err(NotReceived::OtherNode { proved: agent.node, claimed });
        }
        self.agents.room(&agent.node)?;
        Ok(agent)
    }
}

impl NotReceived {
    fn judged(&self) -> (AgentCall, StatusReason) {
        match self {
            Self::Request => (AgentCall::Refused, StatusReason::BadRequest),
            Self::NoToken | Self::Token(TokenError::Invalid) => {
                (AgentCall::Refused, StatusReason::Unauthorized)
            }
            Self::Token(TokenError::Busy) | Self::Crowded(_) => {
                (AgentCall::Full, StatusReason::TooManyRequests)
            }
            Self::Token(TokenError::Unknown(_)) => {
                (AgentCall::Unknown, StatusReason::ServiceUnavailable)
            }
            Self::Token(_) | Self::OtherNode { .. } => {
                (AgentCall::Refused, StatusReason::Forbidden)
            }
            Self::Leaving => (AgentCall::Refused, StatusReason::ServiceUnavailable),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = only(headers, &header::AUTHORIZATION)?;
    let token = std::str::from_utf8(value).ok()?.strip_prefix("Bearer ")?.trim();
    (!token.is_empty()).then_some(token)
}

/// An agent that does not say so is older than dry runs.
fn knows_dry_runs(headers: &HeaderMap) -> bool {
    let values = headers.get_all(KNOWS).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim() == KNOWS_DRY_RUNS)
}

fn switched() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(CONNECT_PROTOCOL));
    response
}

/// Becomes the client of `agent`, and keeps its connection going until it ends or is a session.
async fn turn(
    upgrading: OnUpgrade,
    agent: Agent,
    knows_dry_runs: bool,
    agents: Agents,
    shutdown: Shutdown,
) {
    let turned = async { http1::handshake(upgrading.await?).await };
    let (sender, connection) = match turned.await {
        Ok(turned) => turned,
        Err(error) => {
            debug!(error = chain(&error), node = agent.node, "agent lost while it connected");
            return;
        }
    };
    debug!(node = agent.node, pod = agent.pod, "agent connected");
    if !shutdown.is_leaving() {
        agents.offer(&agent.node, sender, knows_dry_runs);
    }
    if let Err(error) = connection.with_upgrades().await {
        debug!(error = chain(&error), node = agent.node, "agent lost");
    }
}
