//! What a gateway found out, held against what this agent finds and gives: it can only take away.

use wire::{Forwarded, StatusReason};

use super::Refusal;
use crate::peer::Peer;
use crate::profile::planned;
use crate::session::Policy;
use crate::session::place::FoundTarget;

/// The policy for `peer`: what a gateway reviewed is a second maximum.
pub(super) fn bounded(policy: &Policy, peer: &Peer) -> Result<Policy, Refusal> {
    let Peer::Gateway { forwarded, .. } = peer else { return Ok(policy.clone()) };
    let Policy::Toolbox { tree, most, host_targets, node_network, own } = policy else {
        // `serve` does not start like this; a request that gets here must not get the node.
        let message = "this agent runs with --tools host, so it accepts no sessions from gateways";
        return Err(Refusal::new(StatusReason::Forbidden, message));
    };
    Ok(Policy::Toolbox {
        tree: tree.clone(),
        most: (*most).min(planned(forwarded.max_profile)),
        host_targets: *host_targets && forwarded.host_target,
        node_network: *node_network,
        own: own.clone(),
    })
}

/// Checks that `located` is what was meant when rights were reviewed: a name may be another's by now.
pub(super) fn confirm(peer: &Peer, place: &FoundTarget) -> Result<(), Refusal> {
    let Peer::Gateway { forwarded, .. } = peer else { return Ok(()) };
    // Which node is meant is decided by whose connection it is.
    let FoundTarget::Container(located) = place else { return Ok(()) };
    let Forwarded { pod_uid, container_id, .. } = &**forwarded;
    let found = located.pod.as_ref().map(|pod| &pod.uid);
    if found.is_none() || found != pod_uid.as_ref() {
        let message = "the pod was replaced by another of its name meanwhile: try again";
        return Err(Refusal::new(StatusReason::Conflict, message));
    }
    // A sandbox that stands in has an ID of its own, and less to enter.
    let runs = located.stands_in_for.is_none();
    if runs && container_id.as_ref().is_some_and(|id| id.as_str() != located.id) {
        let message = "the container was restarted during the look-up; try again";
        return Err(Refusal::new(StatusReason::Conflict, message));
    }
    Ok(())
}

/// Why the container of `peer` does not run, as its gateway says.
pub(super) fn waiting(peer: &Peer) -> Option<&str> {
    let Peer::Gateway { forwarded, .. } = peer else { return None };
    forwarded.waiting.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Located, PodIdentity};
    use crate::session::OwnPaths;
    use entry::Profile;
    use std::net::SocketAddr;
    use std::sync::Arc;

    fn gateway(change: impl FnOnce(&mut Forwarded)) -> Peer {
        let mut forwarded = Forwarded {
            user: "alice".to_owned(),
            session_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            audit_id: "1".parse().expect("an ID"),
            pod_uid: Some("u1".to_owned()),
            container_id: Some("0123abcd".parse().expect("an ID")),
            waiting: None,
            host_target: true,
            max_profile: wire::Profile::General,
        };
        change(&mut forwarded);
        let address = SocketAddr::from(([192, 0, 2, 1], 9443));
        Peer::Gateway { address, forwarded: Arc::new(forwarded) }
    }

    fn toolbox(most: Profile, host_targets: bool) -> Policy {
        let own = OwnPaths::default();
        Policy::Toolbox { tree: "/toolbox".into(), most, host_targets, node_network: false, own }
    }

    #[test]
    fn a_gateway_takes_away_and_never_gives() {
        let lower = |policy: &Policy, peer: &Peer| bounded(policy, peer).expect("a policy");
        let agents = toolbox(Profile::Netadmin, true);
        let peer = gateway(|_| {});
        assert_eq!(lower(&agents, &peer), toolbox(Profile::General, true));
        let strict = toolbox(Profile::Baseline, false);
        assert_eq!(lower(&strict, &peer), strict);
        let denied = gateway(|forwarded| forwarded.host_target = false);
        assert_eq!(lower(&agents, &denied), toolbox(Profile::General, false));
        assert_eq!(lower(&agents, &Peer::Root { pid: None }), agents);
        assert!(bounded(&Policy::Host, &peer).is_err());
        assert!(bounded(&Policy::Host, &Peer::Root { pid: None }).is_ok());
    }

    #[test]
    fn another_pod_or_container_than_was_reviewed_is_refused() {
        let pod = |uid: &str| PodIdentity {
            namespace: "shop".to_owned(),
            name: "api".to_owned(),
            uid: uid.to_owned(),
            container: "app".to_owned(),
        };
        let located = |id: &str, pod| Located {
            id: id.to_owned(),
            namespace: "k8s.io".to_owned(),
            pid: 7,
            asked: entry::Moment::default(),
            cgroup: None,
            declared: None,
            runtime: "io.containerd.runc.v2".to_owned(),
            program: None,
            pod,
            stands_in_for: None,
        };
        let confirm = |peer: &Peer, located: &Located| {
            super::confirm(peer, &FoundTarget::Container(Box::new(located.clone())))
        };
        let peer = gateway(|_| {});
        assert!(confirm(&peer, &located("0123abcd", Some(pod("u1")))).is_ok());
        assert!(confirm(&peer, &located("0123abcd", Some(pod("u2")))).is_err());
        assert!(confirm(&peer, &located("0123abcd", None)).is_err());
        assert!(confirm(&peer, &located("0123abce", Some(pod("u1")))).is_err());
        let stopped = Some("container app is stopped".to_owned());
        let sandbox = located("0123abce", Some(pod("u1")));
        assert!(confirm(&peer, &Located { stands_in_for: stopped.clone(), ..sandbox }).is_ok());
        let others = located("0123abce", Some(pod("u2")));
        assert!(confirm(&peer, &Located { stands_in_for: stopped, ..others }).is_err());
        let unknown = gateway(|forwarded| forwarded.container_id = None);
        assert!(confirm(&unknown, &located("0123abce", Some(pod("u1")))).is_ok());
        let unbound = gateway(|forwarded| forwarded.pod_uid = None);
        assert!(confirm(&unbound, &located("0123abcd", None)).is_err());
    }
}
