//! The rights that a session takes, as data: the gateway has each reviewed, and `doctor` asks for the same.
//!
//! kube-apiserver asks for `get` before; a websocket is a GET, and a role that may read everything must not
//! give sessions. Hence `create`, again, and more.

use std::fmt;

use crate::api::{ApiTarget, GROUP};
use crate::host::{self, Reason};
use crate::profile::Profile;

/// Whose namespaces are the cluster's own.
const KUBE_SYSTEM: &str = "kube-system";

/// What an operator decides about reviews.
#[derive(Clone, Debug)]
pub struct ReviewPolicy {
    /// Ask for `kubectl exec`'s right as well.
    pub core_exec: bool,
    /// Take `netadmin` for a right to the pod alone, which it is not.
    pub netadmin_without_host_target: bool,
    /// Where the gateway itself runs.
    pub own_namespace: String,
}

/// What a session is to enter, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub enum ReviewedTarget<'a> {
    Pod {
        namespace: &'a str,
        /// Without one, any pod of the namespace.
        name: Option<&'a str>,
    },
    Node {
        name: &'a str,
    },
}

/// One thing that one may do; without a name, to all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
    pub subresource: Option<&'static str>,
    pub namespace: Option<String>,
    pub name: Option<String>,
}

impl<'a> From<&'a ApiTarget> for ReviewedTarget<'a> {
    fn from(target: &'a ApiTarget) -> Self {
        match target {
            ApiTarget::Pod { namespace, name } => {
                Self::Pod { namespace: namespace.as_str(), name: Some(name.as_str()) }
            }
            ApiTarget::Node { name } => Self::Node { name: name.as_str() },
        }
    }
}

impl ReviewedTarget<'_> {
    /// What kube-apiserver asks by itself, before the gateway hears of the request.
    #[must_use]
    pub fn for_api_server(self) -> Right {
        Right { verb: "get", ..self.exec() }
    }

    /// The right to sessions in what is entered.
    #[must_use]
    pub fn exec(self) -> Right {
        let (resource, namespace, name) = match self {
            Self::Pod { namespace, name } => ("pods", Some(namespace.to_owned()), name),
            Self::Node { name } => ("nodes", None, Some(name)),
        };
        let (verb, subresource, name) = ("create", Some("exec"), name.map(str::to_owned));
        Right { verb, group: GROUP, resource, subresource, namespace, name }
    }

    /// The right to a profile there.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Right {
        let namespace = match self {
            Self::Pod { namespace, .. } => Some(namespace.to_owned()),
            Self::Node { .. } => None,
        };
        Right { namespace, ..using("profiles", Some(profile.as_str())) }
    }

    /// `kubectl exec`'s right, which a gateway may have been told not to ask for.
    #[must_use]
    pub fn core_exec(self, policy: &ReviewPolicy) -> Option<Right> {
        let asked = policy.core_exec && matches!(self, Self::Pod { .. });
        asked.then(|| Right { group: "", ..self.exec() })
    }

    /// The right to a namespace of the cluster's own. It is of the whole cluster: who rules one of these namespaces
    /// must not give it to himself.
    #[must_use]
    pub fn system_namespace(self, policy: &ReviewPolicy) -> Option<Right> {
        let Self::Pod { namespace, .. } = self else { return None };
        let is_system = [KUBE_SYSTEM, &policy.own_namespace].contains(&namespace);
        is_system.then(|| using("systemnamespaces", Some(namespace)))
    }

    /// The rights that do not depend on what the target is like.
    #[must_use]
    pub fn rights(self, profile: Profile, policy: &ReviewPolicy) -> Vec<Right> {
        let always = [self.exec(), self.profile(profile)];
        let more = [self.core_exec(policy), self.system_namespace(policy)];
        always.into_iter().chain(more.into_iter().flatten()).collect()
    }

    /// The right to enter what is worth as much as its `node`, where something is for the reason `why`. Without a
    /// node, as long as it is not known, to all of them. Who may enter a node itself may do that.
    #[must_use]
    pub fn host_target(self, node: Option<&str>, why: Option<&Reason>) -> Option<Right> {
        let takes_it = why.is_some() && matches!(self, Self::Pod { .. });
        takes_it.then(|| using("hosttargets", node))
    }
}

impl ReviewPolicy {
    /// Why a session of `profile` is worth as much as the node whatever its target is.
    #[must_use]
    pub fn worth_the_node(&self, profile: Profile) -> Option<Reason> {
        host::by_profile(profile, self.netadmin_without_host_target)
    }
}

impl Right {
    /// As a role is written from it: `create pods.nsdebug.dev/exec "api" in the namespace "shop"`.
    #[must_use]
    pub fn in_a_role(&self) -> String {
        let Self { verb, group, resource, subresource, namespace, name } = self;
        let mut said = format!("{verb} {resource}");
        if !group.is_empty() {
            said = format!("{said}.{group}");
        }
        if let Some(subresource) = subresource {
            said = format!("{said}/{subresource}");
        }
        if let Some(name) = name {
            said = format!("{said} \"{name}\"");
        }
        if let Some(namespace) = namespace {
            said = format!("{said} in the namespace \"{namespace}\"");
        }
        said
    }
}

fn using(resource: &'static str, name: Option<&str>) -> Right {
    let name = name.map(str::to_owned);
    Right { verb: "use", group: GROUP, resource, subresource: None, namespace: None, name }
}

/// As kube-apiserver says it: `create resource "pods/exec" in API group "" …`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, group, resource, subresource, namespace, name } = self;
        write!(f, "{verb} resource \"{resource}")?;
        if let Some(subresource) = subresource {
            write!(f, "/{subresource}")?;
        }
        f.write_str("\"")?;
        if let Some(name) = name {
            write!(f, " named \"{name}\"")?;
        }
        write!(f, " in API group \"{group}\"")?;
        match namespace {
            Some(namespace) => write!(f, " in the namespace \"{namespace}\""),
            None => f.write_str(" at the cluster scope"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(core_exec: bool) -> ReviewPolicy {
        let own_namespace = "nsdebug".to_owned();
        ReviewPolicy { core_exec, netadmin_without_host_target: false, own_namespace }
    }

    fn pod(namespace: &str) -> ReviewedTarget<'_> {
        ReviewedTarget::Pod { namespace, name: Some("api") }
    }

    fn said(entered: ReviewedTarget<'_>, core_exec: bool) -> Vec<String> {
        let rights = entered.rights(Profile::General, &policy(core_exec));
        rights.iter().map(Right::to_string).collect()
    }

    #[test]
    fn a_right_is_said_so_that_a_role_can_be_written_from_it() {
        let right = |name| ReviewedTarget::Pod { namespace: "shop", name }.exec();
        let exec = right(Some("api")).in_a_role();
        assert_eq!(exec, "create pods.nsdebug.dev/exec \"api\" in the namespace \"shop\"");
        let core = Right { group: "", ..right(None) };
        assert_eq!(core.in_a_role(), "create pods/exec in the namespace \"shop\"");
        let host = pod("shop").host_target(Some("n1"), Some(&Reason::Network)).expect("a right");
        assert_eq!(host.in_a_role(), "use hosttargets.nsdebug.dev \"n1\"");
    }

    #[test]
    fn a_pod_takes_three_rights_and_one_of_the_system_s_four() {
        let rights = said(pod("shop"), true);
        assert_eq!(
            rights,
            [
                "create resource \"pods/exec\" named \"api\" in API group \"nsdebug.dev\" in the namespace \"shop\"",
                "use resource \"profiles\" named \"general\" in API group \"nsdebug.dev\" in the namespace \"shop\"",
                "create resource \"pods/exec\" named \"api\" in API group \"\" in the namespace \"shop\"",
            ]
        );
        assert_eq!(said(pod("shop"), false).len(), 2);
        for namespace in ["kube-system", "nsdebug"] {
            let last = said(pod(namespace), true).pop().expect("a right");
            assert!(last.contains("\"systemnamespaces\" named") && last.ends_with("cluster scope"));
        }
    }

    #[test]
    fn a_profile_that_reaches_the_node_takes_its_right_unless_that_is_given_away() {
        let given = ReviewPolicy { netadmin_without_host_target: true, ..policy(true) };
        let worth = |profile, policy: &ReviewPolicy| policy.worth_the_node(profile).is_some();
        for profile in [Profile::Restricted, Profile::Baseline, Profile::General] {
            assert!(!worth(profile, &policy(true)), "{profile}");
        }
        assert!(worth(Profile::Netadmin, &policy(true)) && !worth(Profile::Netadmin, &given));
        assert!(worth(Profile::Sysadmin, &policy(true)) && worth(Profile::Sysadmin, &given));
    }

    #[test]
    fn what_is_worth_the_node_takes_the_right_to_it_but_the_node_itself() {
        let said = |entered: ReviewedTarget<'_>, why| {
            entered.host_target(Some("n1"), why).map(|right| right.to_string())
        };
        assert_eq!(said(pod("shop"), None), None);
        assert_eq!(said(ReviewedTarget::Node { name: "n1" }, Some(&Reason::Node)), None);
        let right = said(pod("shop"), Some(&Reason::Network)).expect("a right");
        assert!(right.starts_with("use resource \"hosttargets\" named \"n1\""), "{right}");
    }

    #[test]
    fn a_node_takes_its_own_right_and_the_profile_s() {
        let rights = said(ReviewedTarget::Node { name: "n1" }, true);
        assert!(rights[0].starts_with("create resource \"nodes/exec\" named \"n1\""), "{rights:?}");
        assert_eq!(rights.len(), 2);
    }

    #[test]
    fn a_right_without_a_name_is_to_all_of_them() {
        let any = ReviewedTarget::Pod { namespace: "shop", name: None }.for_api_server();
        assert_eq!(
            any.to_string(),
            "get resource \"pods/exec\" in API group \"nsdebug.dev\" in the namespace \"shop\""
        );
    }
}
