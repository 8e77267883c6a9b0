//! What this agent counts, typed, in a registry of its own.
//!
//! Labels are enums: no name of a pod, user or container can become one.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::session::SessionOutcome;
use wire::StatusReason;

/// Whose bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// Why a connection was closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ConnectionRefusal {
    /// Its peer on the unix socket is not root.
    NotRoot,
    /// No TLS, no certificate, or none that is trusted.
    Handshake,
    /// A certificate that is trusted and names nobody.
    Nameless,
    /// Too many are open.
    Full,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: SessionOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStream {
    stream: Stream,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByConnectionRefusal {
    reason: ConnectionRefusal,
}

/// Every metric of the agent; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    opened: Counter,
    ended: Family<ByOutcome, Counter>,
    active: Gauge,
    bytes: Family<ByStream, Counter>,
    refused: Family<ByReason, Counter>,
    turned: Family<ByConnectionRefusal, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("nsdebug_agent");
        let mut metrics = Self {
            registry: Arc::default(),
            opened: Counter::default(),
            ended: Family::default(),
            active: Gauge::default(),
            bytes: Family::default(),
            refused: Family::default(),
            turned: Family::default(),
        };
        let Self { registry: _, opened, ended, active, bytes, refused, turned } = &metrics;
        registry.register("sessions_opened", "Sessions whose tool was started", opened.clone());
        registry.register("sessions_ended", "Sessions that ended, by how", ended.clone());
        registry.register("sessions_active", "Sessions that run now", active.clone());
        let help = "Bytes of sessions, by stream";
        registry.register_with_unit("session", help, Unit::Bytes, bytes.clone());
        registry.register("requests_refused", "Requests answered by an error", refused.clone());
        let help = "Connections closed before a request";
        registry.register("connections_refused", help, turned.clone());
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// Counts a session from here to [`OpenSession::close`].
    pub fn open_session(&self) -> OpenSession {
        self.opened.inc();
        self.active.inc();
        OpenSession { metrics: self.clone(), outcome: SessionOutcome::Failed }
    }

    pub fn refused(&self, reason: StatusReason) {
        self.refused.get_or_create(&ByReason { reason: reason.as_str() }).inc();
    }

    pub fn turned_away(&self, reason: ConnectionRefusal) {
        self.turned.get_or_create(&ByConnectionRefusal { reason }).inc();
    }

    /// All of it in the `OpenMetrics` text format.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

/// A session that is being counted; one that is dropped without a word counts as failed.
#[derive(Debug)]
#[must_use = "the session counts as ended when this is dropped"]
pub struct OpenSession {
    metrics: Metrics,
    outcome: SessionOutcome,
}

impl OpenSession {
    pub fn moved(&self, stream: Stream, bytes: u64) {
        self.metrics.bytes.get_or_create(&ByStream { stream }).inc_by(bytes);
    }

    pub fn close(mut self, outcome: SessionOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.metrics.active.dec();
        self.metrics.ended.get_or_create(&ByOutcome { outcome: self.outcome }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_counted_while_it_runs_and_by_how_it_ended() {
        let metrics = Metrics::default();
        let session = metrics.open_session();
        session.moved(Stream::Stdout, 42);
        let page = metrics.render().expect("a page");
        assert!(page.contains("nsdebug_agent_sessions_active 1\n"), "{page}");
        session.close(SessionOutcome::Finished);
        drop(metrics.open_session());
        metrics.refused(StatusReason::NotFound);
        metrics.turned_away(ConnectionRefusal::Handshake);
        let page = metrics.render().expect("a page");
        for line in [
            "sessions_opened_total 2",
            "sessions_active 0",
            "sessions_ended_total{outcome=\"Finished\"} 1",
            "sessions_ended_total{outcome=\"Failed\"} 1",
            "session_bytes_total{stream=\"Stdout\"} 42",
            "requests_refused_total{reason=\"NotFound\"} 1",
            "connections_refused_total{reason=\"Handshake\"} 1",
        ] {
            assert!(page.contains(&format!("nsdebug_agent_{line}\n")), "{line} in\n{page}");
        }
    }
}
