//! One of many: a pod or a node, and what the API server says of it.

use std::fmt;

use wire::{ApiTarget, DefaultContainer, Label};

use crate::kubernetes::ListedPod;

/// The label with what a Deployment adds to the name of each of its sets.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Displayed as the person knows it in one namespace: `web-1`, `node/n1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) target: ApiTarget,
    /// The container that a session enters, as far as it is known before.
    pub(crate) container: Option<String>,
    pub(crate) node: Option<String>,
    /// What its replicas have in common, such as `ReplicaSet/web-7f9c`.
    pub(crate) workload: Option<String>,
}

impl Member {
    /// One of which nothing is known but its name.
    pub(crate) fn named(target: ApiTarget, container: Option<&Label>) -> Self {
        let node = match &target {
            ApiTarget::Node { name } => Some(name.to_string()),
            ApiTarget::Pod { .. } => None,
        };
        Self { target, container: container.map(ToString::to_string), node, workload: None }
    }

    /// `None` where the API server gives a name that is none.
    pub(crate) fn listed(pod: ListedPod, container: Option<&Label>) -> Option<Self> {
        let container =
            container.map_or_else(|| default_container(&pod), |it| Some(it.to_string()));
        let workload = workload(&pod);
        let name = pod.metadata.name.parse().ok()?;
        let namespace = pod.metadata.namespace.parse().ok()?;
        let node = Some(pod.spec.node_name).filter(|node| !node.is_empty());
        Some(Self { target: ApiTarget::Pod { namespace, name }, container, node, workload })
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        match &self.target {
            ApiTarget::Pod { namespace, .. } => Some(namespace.as_str()),
            ApiTarget::Node { .. } => None,
        }
    }

    pub(crate) fn pod(&self) -> Option<&str> {
        match &self.target {
            ApiTarget::Pod { name, .. } => Some(name.as_str()),
            ApiTarget::Node { .. } => None,
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            ApiTarget::Pod { name, .. } => write!(f, "{name}"),
            ApiTarget::Node { name } => write!(f, "node/{name}"),
        }
    }
}

fn default_container(pod: &ListedPod) -> Option<String> {
    let containers = pod.spec.containers.iter().map(|container| container.name.as_str());
    let name = DefaultContainer::of(Some(&pod.metadata.annotations), containers)?.name;
    // It becomes part of a file's name.
    name.parse::<Label>().ok().map(|name| name.to_string())
}

fn workload(pod: &ListedPod) -> Option<String> {
    let owner = pod.metadata.owner_references.first()?;
    // Pods of one Deployment belong together while it rolls, too.
    let hash = pod.metadata.labels.get(TEMPLATE_HASH);
    let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'));
    match deployment {
        Some(name) if owner.kind == "ReplicaSet" => Some(format!("Deployment/{name}")),
        _ => Some(format!("{}/{}", owner.kind, owner.name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn member(change: impl FnOnce(&mut Value)) -> Option<Member> {
        let mut pod = json!({
            "metadata": {"name": "web-7f9c-x", "namespace": "shop", "labels": {"pod-template-hash": "7f9c"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-7f9c"}]},
            "spec": {"nodeName": "n1", "containers": [{"name": "app"}, {"name": "proxy"}]},
        });
        change(&mut pod);
        Member::listed(serde_json::from_value(pod).expect("a pod"), None)
    }

    #[test]
    fn a_pod_is_known_with_its_node_container_and_workload() {
        let web = member(|_| {}).expect("a member");
        assert_eq!((web.namespace(), web.pod()), (Some("shop"), Some("web-7f9c-x")));
        assert_eq!((web.node.as_deref(), web.container.as_deref()), (Some("n1"), Some("app")));
        assert_eq!(web.workload.as_deref(), Some("Deployment/web"));
        let set = member(|pod| {
            pod["metadata"]["ownerReferences"][0] = json!({"kind": "StatefulSet", "name": "db"});
        });
        assert_eq!(set.expect("a member").workload.as_deref(), Some("StatefulSet/db"));
    }

    #[test]
    fn the_container_that_is_annotated_is_taken_if_it_is_there() {
        let annotated = |name: &str| {
            let annotations = json!({"kubectl.kubernetes.io/default-container": name});
            let pod = member(|pod| pod["metadata"]["annotations"] = annotations);
            pod.expect("a member").container
        };
        assert_eq!(annotated("proxy").as_deref(), Some("proxy"));
        assert_eq!(annotated("gone").as_deref(), Some("app"));
    }

    #[test]
    fn a_name_that_is_none_is_no_member() {
        assert_eq!(member(|pod| pod["metadata"]["name"] = json!("../x")), None);
        assert_eq!(member(|pod| pod["spec"] = json!({})).expect("a member").node, None);
    }
}
