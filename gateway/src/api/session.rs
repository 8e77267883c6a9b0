//! A session from `101` to its end: bytes, and whether it may still go on.

use std::pin::pin;
use std::time::Duration;

use daemon::shutdown::Shutdown;
use futures_util::FutureExt;
use futures_util::future::try_join;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tracing::{Instrument, Span, info};
use wire::rights::Right;
use wire::{Forwarded, Withdrawal, chain};

use super::forward;
use crate::access::{AccessError, Reviewer};
use crate::agents::{Agents, Answer};
use crate::audit::AuditRecord;
use crate::config::{Longest, LongestOf};
use crate::identity::Caller;
use crate::metrics::{Metrics, SessionOutcome};
use crate::quotas::SessionPlace;
use crate::relay::{Meter, Moved, relay};

/// How often in a row a repeated review may go without an answer.
const MOST_UNKNOWN: u32 = 3;

/// How long a session goes on that has to end: its agent ends it within this, and its client hears why. Less
/// than the gateway waits for its sessions when it stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// How sessions are looked after.
pub(super) struct SessionSettings {
    pub(super) reviewer: Reviewer,
    pub(super) review_every: Duration,
    pub(super) longest: Longest,
    pub(super) metrics: Metrics,
    pub(super) shutdown: Shutdown,
}

/// Everything of one session.
pub(super) struct Session {
    pub(super) agent: Answer,
    pub(super) farewell: Farewell,
    pub(super) caller: Caller,
    /// What is asked about again and again.
    pub(super) rights: Vec<Right>,
    pub(super) record: AuditRecord,
    pub(super) place: SessionPlace,
    pub(super) span: Span,
}

/// What it takes to have a session's agent end it. The gateway reads no frame, and could not put a word of its
/// own between two of the agent's.
pub(super) struct Farewell {
    pub(super) agents: Agents,
    pub(super) node: String,
    pub(super) forwarded: Forwarded,
}

impl Session {
    /// Lets a session go on by itself whose start is written down.
    pub(super) fn begin(self, client: OnUpgrade, terms: SessionSettings) {
        let Self { agent, farewell, caller, rights, record, place, span } = self;
        let open = terms.metrics.open_session();
        let session = async move {
            info!("opened");
            let meter = Meter::default();
            let longest = terms.longest.of(farewell.forwarded.host_target);
            let mut carried = pin!(carried(client, agent, meter.clone()));
            let outcome = tokio::select! {
                outcome = &mut carried => outcome,
                (why, cause) = watched(&terms, longest, &caller, &rights) => {
                    // Whatever comes of it, this is the end.
                    let _ = timeout(FAREWELL, farewell.heard(why, &cause, carried)).await;
                    why.into()
                }
            };
            let moved = meter.read();
            let Moved { from_client, to_client } = moved;
            info!(outcome = outcome.as_str(), from_client, to_client, "closed");
            open.close(outcome, moved);
            record.ended(outcome, moved);
            drop(place);
        };
        tokio::spawn(session.instrument(span));
    }
}

impl Farewell {
    /// Completes when the session has ended with its agent's last word, or there will be none.
    async fn heard(
        &self,
        why: Withdrawal,
        cause: &str,
        carried: impl Future<Output = SessionOutcome>,
    ) {
        let told = async {
            let head = forward::end(&self.forwarded, why, cause).map_err(drop)?;
            let code = self.agents.tell(&self.node, head).await.map_err(drop)?;
            code.is_success().then_some(()).ok_or(())
        };
        // Both to their end: what this agent is told by is needed for other sessions too.
        if try_join(told, carried.map(Ok)).await.is_err() {
            info!("the agent could not be told");
        }
    }
}

async fn carried(client: OnUpgrade, agent: Answer, meter: Meter) -> SessionOutcome {
    let (client, agent) = match tokio::try_join!(client, agent.upgraded()) {
        Ok(ends) => ends,
        Err(error) => {
            info!(error = chain(&error), "lost while protocols were switched");
            return SessionOutcome::Broken;
        }
    };
    match relay(TokioIo::new(client), TokioIo::new(agent), meter).await {
        Ok(()) => SessionOutcome::Closed,
        Err(error) => {
            info!(error = chain(&error), "broken");
            SessionOutcome::Broken
        }
    }
}

/// Completes when the session must not go on; why, also in words.
async fn watched(
    terms: &SessionSettings,
    longest: LongestOf,
    caller: &Caller,
    rights: &[Right],
) -> (Withdrawal, String) {
    tokio::select! {
        () = terms.shutdown.ended() => {
            (Withdrawal::Stopped, Withdrawal::Stopped.words().to_owned())
        }
        () = tokio::time::sleep(longest.duration) => {
            (Withdrawal::Expired, format!("longest duration reached: {longest}"))
        }
        cause = revoked(terms, caller, rights) => (Withdrawal::Revoked, cause),
    }
}

impl From<Withdrawal> for SessionOutcome {
    fn from(why: Withdrawal) -> Self {
        match why {
            Withdrawal::Revoked => Self::Revoked,
            Withdrawal::Expired => Self::Expired,
            Withdrawal::Stopped => Self::Stopped,
        }
    }
}

/// Completes when a right is gone, or nobody can say for a while whether it is still there: which, in words.
async fn revoked(terms: &SessionSettings, caller: &Caller, rights: &[Right]) -> String {
    let mut unknown = 0;
    loop {
        // An API server that restarts must not end every session that it carries no more of.
        let pause = if unknown == 0 { terms.review_every } else { terms.review_every / 10 };
        tokio::time::sleep(pause).await;
        match terms.reviewer.review(caller, rights).await {
            Ok(()) => unknown = 0,
            Err(AccessError::Unknown { .. }) if unknown < MOST_UNKNOWN => unknown += 1,
            Err(error) => {
                info!(error = chain(&error), "no longer allowed");
                return match error {
                    AccessError::Denied { right, .. } => {
                        format!("right revoked: {}", right.in_a_role())
                    }
                    AccessError::Unknown { .. } => format!(
                        "the API server did not confirm its rights in {} reviews in a row",
                        unknown + 1
                    ),
                };
            }
        }
    }
}
