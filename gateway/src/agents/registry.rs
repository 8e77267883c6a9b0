//! Idle connections of agents, by node; a session takes one out and never gives it back.
//!
//! Who asks for a node whose connections are all taken waits a moment: an agent replaces each one at
//! once. Connections are asked for a sign of life, and none grows older than its token.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use daemon::shutdown::Shutdown;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::upgrade::Upgraded;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use wire::{Status, limits};

/// What agents offer is 2; a stranger with an agent's token must not fill the gateway.
const MOST_PER_NODE: usize = 16;

/// Two of each of 5,000 nodes, twice over. One costs about 26 KiB.
const MOST: usize = 20_000;

/// How long a session waits for an agent that was cut off a moment ago; as long again for every connection that
/// the agent offers meanwhile, as it does where many sessions begin at once.
const WAIT: Duration = Duration::from_secs(5);

/// How long it waits at most, behind others.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// From a request to the agent's answer, in which it starts the tool; and as long for the body of a refusal.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How often dead and old connections are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// How long a connection is believed to be alive without a word.
const CHECK_AFTER: Duration = Duration::from_secs(45);

/// What the answer to a sign of life may take.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// Signs of life at once: a wave of them must not hold up keystrokes.
const CHECKS_AT_ONCE: usize = 64;

/// A token is good for an hour: its connection must not be good for longer.
const OLDEST: Duration = Duration::from_secs(55 * 60);

type Sender = SendRequest<Empty<Bytes>>;

/// All agents; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Agents {
    nodes: Arc<Mutex<Nodes>>,
    idle: Gauge,
}

#[derive(Debug, Default)]
struct Nodes {
    by_name: HashMap<String, Node>,
    connections: usize,
}

/// Never both: who waits is given a connection as soon as there is one.
#[derive(Debug, Default)]
struct Node {
    /// When a connection was last offered.
    offered: Option<Instant>,
    idle: VecDeque<Idle>,
    waiting: VecDeque<oneshot::Sender<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
    heard: Instant,
    knows_dry_runs: bool,
}

/// What an agent answered, with the connection that it came over.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response<Incoming>,
    _sender: Sender,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error(
        "no agent of the node {node} is connected: look at the pod of the DaemonSet nsdebug-agent there"
    )]
    Absent { node: String },
    #[error("the agent of the node {node} was lost before it answered")]
    Lost {
        node: String,
        #[source]
        source: hyper::Error,
    },
    #[error("the agent of the node {node} did not answer within {} s", ANSWER_LIMIT.as_secs())]
    Silent { node: String },
    #[error(
        "the agent on node {node} is too old for dry runs: upgrade it. RBAC allows the session; whether the agent would start it is not known"
    )]
    Older { node: String },
    #[error("the agent answered {code} in an unexpected form")]
    Foreign { code: StatusCode },
}

/// Why a connection is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
    #[error("this node has {MOST_PER_NODE} idle connections already")]
    Node,
    #[error("all agents together have {MOST} idle connections already")]
    All,
}

impl Agents {
    pub(crate) fn new(idle: Gauge) -> Self {
        Self { nodes: Arc::default(), idle }
    }

    /// Asks the agent of `node` for a session, over a connection that this takes.
    pub(crate) async fn ask(&self, node: &str, head: Request<()>) -> Result<Answer, AgentError> {
        let (response, idle) = self.send(node, head).await?;
        Ok(Answer { response, _sender: idle.sender })
    }

    /// Asks the agent of `node` whether there could be a session: the code of its answer, and the body.
    pub(crate) async fn rehearse(
        &self,
        node: &str,
        head: Request<()>,
    ) -> Result<(StatusCode, Bytes), AgentError> {
        let asked = Instant::now();
        let Some(idle) = self.take_patiently(node, asked).await else {
            return Err(AgentError::Absent { node: node.to_owned() });
        };
        let is_older = !idle.knows_dry_runs;
        self.put(node, idle);
        if is_older {
            return Err(AgentError::Older { node: node.to_owned() });
        }
        let (response, idle) = self.send(node, head).await?;
        let code = response.status();
        let body = Limited::new(response.into_body(), limits::REFUSAL).collect().await;
        let body = body.map_err(|_| AgentError::Foreign { code })?.to_bytes();
        self.put(node, Idle { heard: Instant::now(), ..idle });
        Ok((code, body))
    }

    /// Tells the agent of `node` something that is no session; the code of its answer.
    pub(crate) async fn tell(
        &self,
        node: &str,
        head: Request<()>,
    ) -> Result<StatusCode, AgentError> {
        let (response, idle) = self.send(node, head).await?;
        let code = response.status();
        if is_reusable_after(response).await {
            self.put(node, Idle { heard: Instant::now(), ..idle });
        }
        Ok(code)
    }

    async fn send(
        &self,
        node: &str,
        head: Request<()>,
    ) -> Result<(Response<Incoming>, Idle), AgentError> {
        let asked = Instant::now();
        let mut request = head.map(|()| Empty::new());
        loop {
            let Some(mut idle) = self.take_patiently(node, asked).await else {
                return Err(AgentError::Absent { node: node.to_owned() });
            };
            match timeout(ANSWER_LIMIT, idle.sender.try_send_request(request)).await {
                Ok(Ok(response)) => return Ok((response, idle)),
                Ok(Err(mut error)) => {
                    let Some(unsent) = error.take_message() else {
                        let source = error.into_error();
                        return Err(AgentError::Lost { node: node.to_owned(), source });
                    };
                    // It ended while it waited here, and not a byte was sent.
                    request = unsent;
                }
                Err(_) => return Err(AgentError::Silent { node: node.to_owned() }),
            }
        }
    }

    /// Whether one more connection of `node` would be taken in.
    pub(crate) fn room(&self, node: &str) -> Result<(), Crowded> {
        let nodes = self.lock();
        let of_node = nodes.by_name.get(node).map_or(0, |node| node.idle.len());
        match () {
            () if nodes.connections >= MOST => Err(Crowded::All),
            () if of_node >= MOST_PER_NODE => Err(Crowded::Node),
            () => Ok(()),
        }
    }

    /// Takes a new connection in.
    pub(crate) fn offer(&self, node: &str, sender: Sender, knows_dry_runs: bool) {
        let now = Instant::now();
        self.lock().by_name.entry(node.to_owned()).or_default().offered = Some(now);
        self.put(node, Idle { sender, since: now, heard: now, knows_dry_runs });
    }

    /// Looks for dead and old connections until the gateway ends its sessions.
    pub(crate) async fn sweep(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SWEEP_EVERY) => self.sweep_once().await,
                () = shutdown.ended() => return,
            }
        }
    }

    /// Lets go of all of them, when there is no session left of whose end an agent would have to be told.
    pub(crate) fn let_go(&self) {
        let mut nodes = self.lock();
        nodes.by_name.clear();
        nodes.connections = 0;
        self.idle.set(0);
    }

    async fn take_patiently(&self, node: &str, asked: Instant) -> Option<Idle> {
        let mut taking = pin!(self.take(node));
        let mut until = asked + WAIT;
        loop {
            if let Ok(idle) = timeout_at(until, taking.as_mut()).await {
                return Some(idle);
            }
            let offered = self.lock().by_name.get(node).and_then(|node| node.offered);
            let next = offered.map_or(until, |offered| offered + WAIT).min(asked + LONGEST_WAIT);
            if next <= until {
                return None;
            }
            until = next;
        }
    }

    async fn take(&self, node: &str) -> Idle {
        loop {
            let promised = match self.take_now(node) {
                Ok(idle) => return idle,
                Err(promised) => promised,
            };
            // An error says that the gateway let go of all connections; the caller's patience ends it.
            if let Ok(idle) = promised.await {
                return idle;
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    fn take_now(&self, name: &str) -> Result<Idle, oneshot::Receiver<Idle>> {
        let mut nodes = self.lock();
        let node = nodes.by_name.entry(name.to_owned()).or_default();
        let mut taken = 0;
        let found = std::iter::from_fn(|| node.idle.pop_front())
            .inspect(|_| taken += 1)
            .find(|idle| !idle.sender.is_closed());
        let result = found.ok_or_else(|| {
            let (sender, receiver) = oneshot::channel();
            node.waiting.retain(|waiting| !waiting.is_closed());
            node.waiting.push_back(sender);
            receiver
        });
        nodes.connections -= taken;
        self.count(&nodes);
        result
    }

    fn put(&self, name: &str, idle: Idle) {
        let mut nodes = self.lock();
        let node = nodes.by_name.entry(name.to_owned()).or_default();
        let mut idle = idle;
        while let Some(waiting) = node.waiting.pop_front() {
            match waiting.send(idle) {
                Ok(()) => return,
                Err(unwanted) => idle = unwanted,
            }
        }
        node.idle.push_back(idle);
        nodes.connections += 1;
        self.count(&nodes);
    }

    async fn sweep_once(&self) {
        let doubtful = self.doubtful(Instant::now());
        let checks = doubtful.into_iter().map(|(node, mut idle)| async move {
            let alive = timeout(CHECK_LIMIT, sign_of_life(&mut idle.sender)).await;
            if alive.unwrap_or(false) {
                self.put(&node, Idle { heard: Instant::now(), ..idle });
            }
        });
        futures_util::stream::iter(checks).buffer_unordered(CHECKS_AT_ONCE).count().await;
    }

    /// Drops what is dead or old, and takes out what has not been heard of.
    fn doubtful(&self, now: Instant) -> Vec<(String, Idle)> {
        let mut nodes = self.lock();
        let mut doubtful = Vec::new();
        for (name, node) in &mut nodes.by_name {
            let fit = |idle: &Idle| !idle.sender.is_closed() && now - idle.since < OLDEST;
            node.idle.retain(fit);
            let quiet = |idle: &Idle| now - idle.heard >= CHECK_AFTER;
            let (quiet, heard) = node.idle.drain(..).partition::<VecDeque<_>, _>(quiet);
            node.idle = heard;
            doubtful.extend(quiet.into_iter().map(|idle| (name.clone(), idle)));
            node.waiting.retain(|waiting| !waiting.is_closed());
        }
        nodes.by_name.retain(|_, node| !node.idle.is_empty() || !node.waiting.is_empty());
        nodes.connections = nodes.by_name.values().map(|node| node.idle.len()).sum();
        self.count(&nodes);
        doubtful
    }

    fn count(&self, nodes: &Nodes) {
        self.idle.set(i64::try_from(nodes.connections).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sign_of_life(sender: &mut Sender) -> bool {
    let request = Request::get("/healthz").header(header::HOST, "agent").body(Empty::new());
    let Ok(request) = request else { return false };
    let Ok(response) = sender.send_request(request).await else { return false };
    response.status().is_success() && is_reusable_after(response).await
}

/// Reads an answer to its end, or its connection cannot be used again.
async fn is_reusable_after(response: Response<Incoming>) -> bool {
    whole(response.into_body(), ANSWER_LIMIT).await.is_some()
}

/// All of a small body that comes within `limit`.
async fn whole(body: Incoming, limit: Duration) -> Option<Bytes> {
    let body = timeout(limit, Limited::new(body, limits::REFUSAL).collect()).await;
    body.ok()?.ok().map(Collected::to_bytes)
}

impl Answer {
    /// Whether the tool runs.
    pub(crate) fn is_a_session(&self) -> bool {
        self.response.status() == StatusCode::SWITCHING_PROTOCOLS
    }

    /// The agent's `101`, for the client.
    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        // Its handshake, and what it has to say to the person.
        let passed = self.response.headers().iter().filter(|(name, _)| {
            let name = name.as_str();
            ["connection", "upgrade"].contains(&name)
                || name.starts_with("sec-websocket-")
                || name.starts_with("nsdebug-")
        });
        response.headers_mut().extend(passed.map(|(name, value)| (name.clone(), value.clone())));
        response
    }

    /// The agent's end of the session.
    pub(crate) async fn upgraded(self) -> hyper::Result<Upgraded> {
        hyper::upgrade::on(self.response).await
    }

    /// The agent's refusal, for the client, and its words for the record.
    pub(crate) async fn refusal(self) -> Result<(Response<Body>, String), AgentError> {
        let (head, body) = self.response.into_parts();
        let code = head.status;
        let foreign = || AgentError::Foreign { code };
        if !(code.is_client_error() || code.is_server_error()) {
            return Err(foreign());
        }
        let body = whole(body, ANSWER_LIMIT).await.ok_or_else(foreign)?;
        let status: Status = serde_json::from_slice(&body).map_err(|_| foreign())?;
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(after) = head.headers.get(header::RETRY_AFTER) {
            headers.insert(header::RETRY_AFTER, after.clone());
        }
        Ok((response, status.message))
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1::handshake;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_not_waited_for() {
        let (ours, mut agents) = tokio::io::duplex(4096);
        let (mut sender, connection) =
            handshake::<_, Empty<Bytes>>(TokioIo::new(ours)).await.expect("a connection");
        tokio::spawn(connection);
        tokio::spawn(async move {
            let _ = agents.read(&mut [0; 4096]).await;
            let dripping = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 100\r\n\r\n{";
            agents.write_all(dripping).await.expect("the gateway reads");
            std::future::pending::<()>().await;
        });
        let response = sender.send_request(Request::new(Empty::new())).await.expect("an answer");
        assert_eq!(whole(response.into_body(), Duration::from_millis(1)).await, None);
    }
}
