//! What the gateway counts, typed, in a registry of its own.
//!
//! Labels are enums: no name of a pod, user or node can become one.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

use crate::relay::Moved;
use wire::StatusReason;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue, Serialize)]
pub(crate) enum SessionOutcome {
    /// One of the two ends closed; which and why is in the stream, which is not read here.
    Closed,
    /// A connection broke.
    Broken,
    /// A right was taken away, or could not be confirmed.
    Revoked,
    /// It went on for longer than any session may.
    Expired,
    /// The gateway was told to stop.
    Stopped,
    /// Anything that is the gateway's own failure.
    Failed,
}

impl SessionOutcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// Why a connection was closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum ConnectionRefusal {
    /// No TLS, or a certificate that is not the front proxy's.
    Handshake,
    /// Nobody is believed, or there is no certificate to show.
    Unready,
    /// Too many are open.
    Full,
    /// Nobody knew in time who it was.
    Slow,
}

/// What became of an agent that called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum AgentCall {
    Welcome,
    /// Its token is none, or not one of an agent.
    Refused,
    /// The API server could not say.
    Unknown,
    /// It, or all together, have enough connections.
    Full,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: SessionOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByConnectionRefusal {
    reason: ConnectionRefusal,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCalled {
    answer: AgentCall,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDirection {
    direction: &'static str,
}

/// Every metric of the gateway; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    opened: Counter,
    ended: Family<ByOutcome, Counter>,
    active: Gauge,
    bytes: Family<ByDirection, Counter>,
    refused: Family<ByReason, Counter>,
    turned: Family<ByConnectionRefusal, Counter>,
    agents: Family<ByCalled, Counter>,
    idle: Gauge,
    not_after: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("nsdebug_gateway");
        let mut metrics = Self {
            registry: Arc::default(),
            opened: Counter::default(),
            ended: Family::default(),
            active: Gauge::default(),
            bytes: Family::default(),
            refused: Family::default(),
            turned: Family::default(),
            agents: Family::default(),
            idle: Gauge::default(),
            not_after: Gauge::default(),
        };
        metrics.register(&mut registry);
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        let Self {
            registry: _,
            opened,
            ended,
            active,
            bytes,
            refused,
            turned,
            agents,
            idle,
            not_after,
        } = self;
        registry.register("sessions_opened", "Sessions that an agent started", opened.clone());
        registry.register("sessions_ended", "Sessions that ended, by how", ended.clone());
        registry.register("sessions_active", "Sessions that run now", active.clone());
        let help = "Bytes of sessions that ended, websocket framing included";
        registry.register_with_unit("session", help, Unit::Bytes, bytes.clone());
        registry.register("requests_refused", "Requests answered by an error", refused.clone());
        let help = "Connections to the API port closed before a request";
        registry.register("connections_refused", help, turned.clone());
        registry.register("agent_calls", "Connections that agents offered", agents.clone());
        let help = "Connections of agents that wait for a session";
        registry.register("agent_connections_idle", help, idle.clone());
        let help = "Expiry of the certificate in use, in seconds since the Unix epoch";
        registry.register_with_unit(
            "certificate_not_after",
            help,
            Unit::Seconds,
            not_after.clone(),
        );
    }

    /// Counts a session from here to [`OpenSession::close`].
    pub(crate) fn open_session(&self) -> OpenSession {
        self.opened.inc();
        self.active.inc();
        OpenSession { metrics: self.clone(), outcome: SessionOutcome::Failed }
    }

    pub(crate) fn refused(&self, reason: StatusReason) {
        self.refused.get_or_create(&ByReason { reason: reason.as_str() }).inc();
    }

    pub(crate) fn turned_away(&self, reason: ConnectionRefusal) {
        self.turned.get_or_create(&ByConnectionRefusal { reason }).inc();
    }

    pub(crate) fn called(&self, answer: AgentCall) {
        self.agents.get_or_create(&ByCalled { answer }).inc();
    }

    pub(crate) fn idle(&self) -> &Gauge {
        &self.idle
    }

    pub(crate) fn certificate_ends(&self, at: i64) {
        self.not_after.set(at);
    }

    /// All of it in the `OpenMetrics` text format.
    pub(crate) fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

/// A session that is being counted; one that is dropped without a word counts as failed.
#[derive(Debug)]
#[must_use = "the session counts as ended when this is dropped"]
pub(crate) struct OpenSession {
    metrics: Metrics,
    outcome: SessionOutcome,
}

impl OpenSession {
    pub(crate) fn close(mut self, outcome: SessionOutcome, moved: Moved) {
        self.outcome = outcome;
        let Moved { from_client, to_client } = moved;
        for (direction, bytes) in [("from_client", from_client), ("to_client", to_client)] {
            self.metrics.bytes.get_or_create(&ByDirection { direction }).inc_by(bytes);
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.metrics.active.dec();
        self.metrics.ended.get_or_create(&ByOutcome { outcome: self.outcome }).inc();
    }
}
