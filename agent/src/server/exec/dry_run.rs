//! A request that is only judged: what a session would be, or the refusal that it would get.
//!
//! Everything is asked and looked at as for a session. A helper rehearses the plan, no tool and no relay
//! start, and no slot is taken.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use entry::{Capabilities, Kinds, Outline, Profile};
use tracing::Instrument;
use wire::dry_run::{ALL, DRY_RUN, Entered, Namespaces, User};
use wire::{DryRun, ExecRequest, StatusReason};

use super::super::Refusal;
use super::super::asked::{Arrival, SessionRequest};
use super::{Judged, Sessions, refused};
use crate::audit::AuditRecord;
use crate::registry::SessionId;
use crate::runtime::ContainerRuntime;
use crate::session;
use crate::session::place::{Aim, FoundTarget};

impl<R: ContainerRuntime> Sessions<R> {
    /// Answers a dry run, and writes it down. Its refusals are not counted: no session was refused.
    pub(super) async fn rehearse(
        &self,
        arrival: Arrival,
        route: impl FnOnce(&ExecRequest) -> Result<Aim, Refusal> + Send,
        id: &SessionId,
        mut record: AuditRecord,
    ) -> Response {
        let judged = self.rehearsed(arrival, route, id, &mut record).await;
        let answer = judged.and_then(|dry_run| Ok((dry_run, record.fit()?)));
        let mut response = match answer {
            Ok((dry_run, ())) => {
                let json = HeaderValue::from_static("application/json");
                ([(header::CONTENT_TYPE, json)], dry_run.to_json()).into_response()
            }
            Err(refusal) => refused(record, refusal).into_response(),
        };
        response.extensions_mut().remove::<StatusReason>();
        response.headers_mut().insert(DRY_RUN, HeaderValue::from_static(ALL));
        response
    }

    async fn rehearsed(
        &self,
        arrival: Arrival,
        route: impl FnOnce(&ExecRequest) -> Result<Aim, Refusal> + Send,
        id: &SessionId,
        record: &mut AuditRecord,
    ) -> Result<DryRun, Refusal> {
        let peer = arrival.peer.clone();
        let (asked, _) = SessionRequest::new(arrival, route, record)?;
        let write = asked.writes();
        self.agent.look(&peer)?;
        let judged = self.judge(asked, peer, id, record).await?;
        let Judged { place, target, plan, about, profile, host_target, note, span, .. } = judged;
        let outline = Outline::of(&plan);
        let rehearsed = match self.terms.registry.look(&about) {
            Ok(()) => self.launcher.rehearse(target, plan).instrument(span).await,
            Err(neighbour) => Err(neighbour.into()),
        };
        let unseen = match rehearsed {
            Ok(unseen) => unseen,
            Err(error) => return Err(self.about(&place, error).await.into()),
        };
        let notes = [note, session::unseen(&unseen)].into_iter().flatten().collect();
        Ok(DryRun { write, host_target, notes, ..described(&place, outline, profile) })
    }
}

fn described(place: &FoundTarget, outline: Outline, profile: Option<Profile>) -> DryRun {
    let entered = match place {
        FoundTarget::Node => Entered::Node,
        FoundTarget::Container(located) if located.stands_in_for.is_some() => Entered::Sandbox,
        FoundTarget::Container(_) => Entered::Container,
    };
    let located = match place {
        FoundTarget::Container(located) => Some(located),
        FoundTarget::Node => None,
    };
    let pod = located.and_then(|located| located.pod.as_ref());
    let container = pod.map(|pod| pod.container.clone()).filter(|name| !name.is_empty());
    let Outline { user, capabilities, joined, shared, own } = outline;
    let capabilities = capabilities.into_iter().flat_map(Capabilities::iter);
    DryRun {
        pod: pod.map(ToString::to_string),
        container,
        container_id: located.map(|located| located.id.clone()),
        profile: profile.map(|profile| profile.to_string()),
        user: user.map(|(uid, gid, groups)| User { uid, gid, groups }),
        capabilities: capabilities.map(|one| one.as_str().to_owned()).collect(),
        namespaces: Namespaces { joined: named(joined), shared: named(shared), own: named(own) },
        ..DryRun::new(entered)
    }
}

fn named(kinds: Kinds) -> Vec<String> {
    kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
}
