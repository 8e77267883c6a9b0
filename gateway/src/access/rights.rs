//! The rights that a session takes, as pure data.
//!
//! kube-apiserver has asked for `get` before; a websocket is a GET, and a role that may read everything
//! must not give sessions. Hence `create`, again, and more.

use std::fmt;

use k8s_openapi::api::authorization::v1::ResourceAttributes;
use wire::api::{GROUP, VERSION};
use wire::host::{self, Reason};
use wire::{ApiTarget, Profile};

/// Whose namespaces are the cluster's own.
const KUBE_SYSTEM: &str = "kube-system";

/// What the operator decided about reviews.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// Ask for `kubectl exec`'s right as well.
    pub(crate) core_exec: bool,
    /// Take `netadmin` for a right to the pod alone, which it is not.
    pub(crate) netadmin_without_host_target: bool,
    /// Where the gateway itself runs.
    pub(crate) own_namespace: String,
}

/// One thing that one may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: Option<&'static str>,
    namespace: Option<String>,
    name: String,
}

/// The rights that do not depend on what the target is like.
pub(crate) fn for_session(target: &ApiTarget, profile: Profile, policy: &Policy) -> Vec<Right> {
    let (namespace, exec) = match target {
        ApiTarget::Pod { namespace, name } => {
            let namespace = namespace.to_string();
            (Some(namespace.clone()), exec(GROUP, "pods", Some(namespace), name.as_str()))
        }
        ApiTarget::Node { name } => (None, exec(GROUP, "nodes", None, name.as_str())),
    };
    let mut rights = vec![exec, using("profiles", namespace, profile.as_str())];
    if let ApiTarget::Pod { namespace, name } = target {
        if policy.core_exec {
            rights.push(exec_of_core(namespace.as_str(), name.as_str()));
        }
        if [KUBE_SYSTEM, &policy.own_namespace].contains(&namespace.as_str()) {
            // Of the whole cluster: who rules one of these namespaces must not give it to himself.
            rights.push(using("systemnamespaces", None, namespace.as_str()));
        }
    }
    rights
}

/// Why a session of `profile` is worth as much as the node whatever its target is.
pub(crate) fn worth_the_node(profile: Profile, policy: &Policy) -> Option<Reason> {
    host::by_profile(profile, policy.netadmin_without_host_target)
}

/// The right to enter what is worth as much as its node.
pub(crate) fn for_host_target(node: &str) -> Right {
    using("hosttargets", None, node)
}

fn exec(
    group: &'static str,
    resource: &'static str,
    namespace: Option<String>,
    name: &str,
) -> Right {
    let (verb, subresource) = ("create", Some("exec"));
    Right { verb, group, resource, subresource, namespace, name: name.to_owned() }
}

fn exec_of_core(namespace: &str, pod: &str) -> Right {
    exec("", "pods", Some(namespace.to_owned()), pod)
}

fn using(resource: &'static str, namespace: Option<String>, name: &str) -> Right {
    let (verb, subresource) = ("use", None);
    Right { verb, group: GROUP, resource, subresource, namespace, name: name.to_owned() }
}

impl Right {
    pub(crate) fn attributes(&self) -> ResourceAttributes {
        let Self { verb, group, resource, subresource, namespace, name } = self.clone();
        let version = if group.is_empty() { "v1" } else { VERSION };
        ResourceAttributes {
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            version: Some(version.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            namespace,
            name: Some(name),
            ..ResourceAttributes::default()
        }
    }
}

/// As kube-apiserver says it: `create resource "pods/exec" in API group "" …`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, group, resource, subresource, namespace, name } = self;
        write!(f, "{verb} resource \"{resource}")?;
        if let Some(subresource) = subresource {
            write!(f, "/{subresource}")?;
        }
        write!(f, "\" named \"{name}\" in API group \"{group}\"")?;
        match namespace {
            Some(namespace) => write!(f, " in the namespace \"{namespace}\""),
            None => f.write_str(" at the cluster scope"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(core_exec: bool) -> Policy {
        Policy {
            core_exec,
            netadmin_without_host_target: false,
            own_namespace: "nsdebug".to_owned(),
        }
    }

    fn pod(namespace: &str) -> ApiTarget {
        let namespace = namespace.parse().expect("a label");
        ApiTarget::Pod { namespace, name: "api".parse().expect("a name") }
    }

    fn said(target: &ApiTarget, core_exec: bool) -> Vec<String> {
        for_session(target, Profile::General, &policy(core_exec))
            .iter()
            .map(Right::to_string)
            .collect()
    }

    #[test]
    fn a_pod_takes_three_rights_and_one_of_the_system_s_four() {
        let rights = said(&pod("shop"), true);
        assert_eq!(
            rights,
            [
                "create resource \"pods/exec\" named \"api\" in API group \"nsdebug.dev\" in the namespace \"shop\"",
                "use resource \"profiles\" named \"general\" in API group \"nsdebug.dev\" in the namespace \"shop\"",
                "create resource \"pods/exec\" named \"api\" in API group \"\" in the namespace \"shop\"",
            ]
        );
        assert_eq!(said(&pod("shop"), false).len(), 2);
        for namespace in ["kube-system", "nsdebug"] {
            let last = said(&pod(namespace), true).pop().expect("a right");
            assert!(last.contains("\"systemnamespaces\" named") && last.ends_with("cluster scope"));
        }
    }

    #[test]
    fn a_profile_that_reaches_the_node_takes_its_right_unless_that_is_given_away() {
        let given = Policy { netadmin_without_host_target: true, ..policy(true) };
        let worth = |profile, policy: &Policy| worth_the_node(profile, policy).is_some();
        for profile in [Profile::Restricted, Profile::Baseline, Profile::General] {
            assert!(!worth(profile, &policy(true)), "{profile}");
        }
        assert!(worth(Profile::Netadmin, &policy(true)) && !worth(Profile::Netadmin, &given));
        assert!(worth(Profile::Sysadmin, &policy(true)) && worth(Profile::Sysadmin, &given));
    }

    #[test]
    fn a_node_takes_its_own_right_and_the_profile_s() {
        let node = ApiTarget::Node { name: "n1".parse().expect("a name") };
        let rights = said(&node, true);
        assert!(rights[0].starts_with("create resource \"nodes/exec\" named \"n1\""), "{rights:?}");
        assert_eq!(rights.len(), 2);
    }
}
