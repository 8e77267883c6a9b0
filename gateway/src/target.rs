//! From a pod's name to the container that is meant, the node it is on, and what entering it is worth.
//!
//! Reads what the API server says of one pod; the agent decides again from what it finds. A node needs
//! no reading: it is where its agent is.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use wire::host::{self, Reason};
use wire::{BadName, ContainerPrefix, DefaultContainer, Label, ObjectName};

use crate::waiting;

/// The kubelet's, on what it shows of a pod that it runs from a file: who the pod is on its node.
const MIRRORED: &str = "kubernetes.io/config.mirror";

/// Where a session is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) node: String,
    /// As its node knows the pod; none where the node itself is meant.
    pub(crate) pod_uid: Option<String>,
    pub(crate) container: Option<Label>,
    /// Of a container that runs; of one that does not, the agent enters the pod's sandbox.
    pub(crate) container_id: Option<ContainerPrefix>,
    /// Why it does not run, for the person.
    pub(crate) waiting: Option<String>,
    /// What makes the target worth as much as its node.
    pub(crate) host: Option<Reason>,
    /// Where nobody named a container and there was a choice: the one and all of them, for the person.
    pub(crate) defaulted: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("the pod is not on a node yet")]
    Unscheduled,
    #[error("the pod has ended ({phase}), and with it its namespaces")]
    Over { phase: String },
    #[error("the pod has no container \"{wanted}\", only {}", there.join(", "))]
    NoSuchContainer { wanted: Label, there: Vec<String> },
    #[error("the API server describes a pod without containers, or without an identity")]
    Incomplete,
    #[error("the API server returned an invalid container name")]
    Name(#[source] BadName),
}

impl Target {
    /// The node itself.
    pub(crate) fn of_node(name: &ObjectName) -> Self {
        let host = Some(Reason::Node);
        Self {
            node: name.to_string(),
            pod_uid: None,
            container: None,
            container_id: None,
            waiting: None,
            host,
            defaulted: None,
        }
    }

    /// The container `wanted` of `pod`, or the one that kubectl would choose.
    pub(crate) fn of(pod: &Pod, wanted: Option<&Label>) -> Result<Self, TargetError> {
        let spec = pod.spec.as_ref().ok_or(TargetError::Incomplete)?;
        let node = spec.node_name.clone().filter(|node| !node.is_empty());
        let node = node.ok_or(TargetError::Unscheduled)?;
        let pod_uid = uid_on_node(pod).ok_or(TargetError::Incomplete)?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
        if let Some(phase) = phase.filter(|phase| phase == "Succeeded" || phase == "Failed") {
            return Err(TargetError::Over { phase });
        }
        let listed = listed(spec);
        let default = default(pod, spec).filter(|_| wanted.is_none());
        let container = if let Some(wanted) = wanted {
            wanted.clone()
        } else {
            let name = default.ok_or(TargetError::Incomplete)?.name;
            name.parse().map_err(TargetError::Name)?
        };
        if !listed.contains(&container.as_str()) {
            let there = listed.into_iter().map(str::to_owned).collect();
            return Err(TargetError::NoSuchContainer { wanted: container, there });
        }
        let container_id = running(pod, container.as_str()).transpose()?;
        let is_missing = container_id.is_none();
        let waiting = is_missing.then(|| waiting::why(pod, container.as_str())).flatten();
        let host = host::reason(spec, container.as_str());
        let defaulted = default.and_then(|default| defaulted(default, spec));
        let (pod_uid, container) = (Some(pod_uid), Some(container));
        Ok(Self { node, pod_uid, container, container_id, waiting, host, defaulted })
    }
}

/// The names of all containers, whichever list they are in.
fn listed(spec: &PodSpec) -> Vec<&str> {
    let plain = spec.containers.iter().map(|container| &container.name);
    let init = spec.init_containers.iter().flatten().map(|container| &container.name);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.name);
    plain.chain(init).chain(ephemeral).map(String::as_str).collect()
}

/// The API server gave a static pod's mirror an identity of its own, which the runtime never heard of.
fn uid_on_node(pod: &Pod) -> Option<String> {
    let mirrored = pod.metadata.annotations.as_ref().and_then(|all| all.get(MIRRORED));
    mirrored.or(pod.metadata.uid.as_ref()).cloned()
}

fn default<'p>(pod: &Pod, spec: &'p PodSpec) -> Option<DefaultContainer<'p>> {
    let names = spec.containers.iter().map(|container| container.name.as_str());
    DefaultContainer::of(pod.metadata.annotations.as_ref(), names)
}

/// What kubectl says where it takes the first of several, in the form of the header.
fn defaulted(default: DefaultContainer<'_>, spec: &PodSpec) -> Option<String> {
    let plain = spec.containers.iter().map(|container| container.name.clone());
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let init = spec.init_containers.iter().flatten();
    let all: Vec<String> = plain
        .chain(ephemeral.map(|container| format!("{} (ephem)", container.name)))
        .chain(init.map(|container| format!("{} (init)", container.name)))
        .collect();
    let is_told = !default.is_annotated && all.len() > 1;
    is_told.then(|| format!("{}; {}", default.name, all.join(", ")))
}

/// The ID of the container of this name, if it runs.
fn running(pod: &Pod, name: &str) -> Option<Result<ContainerPrefix, TargetError>> {
    let mut all = waiting::statuses(pod);
    let status = all.find(|status| status.name == name && waiting::runs(status))?;
    let id = status.container_id.as_deref()?;
    // `containerd://…`, `docker://…`: the agent looks for the ID, whatever program made the container.
    let id = id.split_once("://").map_or(id, |(_, id)| id);
    Some(id.parse().map_err(TargetError::Name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use wire::DEFAULT_CONTAINER;

    fn pod(change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "api", "namespace": "shop", "uid": "u1", "annotations": {}},
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": "app"}, {"name": "sidecar"}],
                "initContainers": [{"name": "migrate"}],
                "ephemeralContainers": [{"name": "debugger-x"}],
            },
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "app", "containerID": "containerd://aaaa1111", "state": {"running": {}},
                     "image": "", "imageID": "", "ready": true, "restartCount": 0},
                    {"name": "sidecar", "containerID": "containerd://bbbb2222", "state": {"waiting": {}},
                     "image": "", "imageID": "", "ready": false, "restartCount": 9},
                ],
            },
        });
        change(&mut pod);
        serde_json::from_value(pod).expect("a pod")
    }

    fn container(name: &str) -> Label {
        name.parse().expect("a label")
    }

    #[test]
    fn without_a_name_it_is_the_annotated_container_or_the_first() {
        let first = Target::of(&pod(|_| {}), None).expect("a target");
        assert_eq!((first.node.as_str(), first.pod_uid.as_deref()), ("n1", Some("u1")));
        assert_eq!(first.container, Some(container("app")));
        assert_eq!(first.container_id.expect("it runs").as_str(), "aaaa1111");
        let annotated = |name: &str| {
            let pod = pod(|pod| pod["metadata"]["annotations"][DEFAULT_CONTAINER] = json!(name));
            Target::of(&pod, None).expect("a target").container
        };
        assert_eq!(annotated("sidecar"), Some(container("sidecar")));
        assert_eq!(annotated("gone"), Some(container("app")));
    }

    #[test]
    fn a_static_pod_is_who_its_node_says() {
        let pod = pod(|pod| pod["metadata"]["annotations"][MIRRORED] = json!("of-the-file"));
        let target = Target::of(&pod, None).expect("a target");
        assert_eq!(target.pod_uid.as_deref(), Some("of-the-file"));
    }

    #[test]
    fn a_choice_that_nobody_made_is_told() {
        let told = |pod: &Pod, wanted: Option<&str>| {
            let wanted = wanted.map(container);
            Target::of(pod, wanted.as_ref()).expect("a target").defaulted
        };
        let all = "app; app, sidecar, debugger-x (ephem), migrate (init)";
        assert_eq!(told(&pod(|_| {}), None).as_deref(), Some(all));
        assert_eq!(told(&pod(|_| {}), Some("app")), None);
        let annotated =
            pod(|pod| pod["metadata"]["annotations"][DEFAULT_CONTAINER] = json!("sidecar"));
        assert_eq!(told(&annotated, None), None);
        let single = pod(|pod| {
            pod["spec"] = json!({"nodeName": "n1", "containers": [{"name": "app"}]});
        });
        assert_eq!(told(&single, None), None);
    }

    #[test]
    fn containers_of_every_list_can_be_named_and_need_not_run() {
        for name in ["sidecar", "migrate", "debugger-x"] {
            let target = Target::of(&pod(|_| {}), Some(&container(name))).expect("a target");
            assert_eq!((target.container, target.container_id), (Some(container(name)), None));
        }
        let error = Target::of(&pod(|_| {}), Some(&container("db"))).expect_err("no such one");
        assert!(error.to_string().contains("\"db\", only app, sidecar, migrate"), "{error}");
    }

    #[test]
    fn a_pod_that_is_nowhere_has_no_target() {
        let unscheduled = pod(|pod| pod["spec"]["nodeName"] = json!(""));
        assert_eq!(Target::of(&unscheduled, None), Err(TargetError::Unscheduled));
        let over = pod(|pod| pod["status"]["phase"] = json!("Succeeded"));
        assert!(matches!(Target::of(&over, None), Err(TargetError::Over { .. })));
        assert_eq!(Target::of(&Pod::default(), None), Err(TargetError::Incomplete));
    }

    #[test]
    fn what_is_worth_the_node_is_seen_of_the_container_that_is_meant() {
        let powerful = pod(|pod| {
            pod["spec"]["containers"][1]["securityContext"] =
                json!({"capabilities": {"add": ["SYS_ADMIN"]}});
        });
        let host =
            |name: &str| Target::of(&powerful, Some(&container(name))).expect("a target").host;
        assert_eq!(host("app"), None);
        assert_eq!(host("sidecar"), Some(Reason::Capability("SYS_ADMIN")));
        let mounting = pod(|pod| {
            pod["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": "/etc"}}]);
            pod["spec"]["containers"][0]["volumeMounts"] =
                json!([{"name": "v", "mountPath": "/host"}]);
        });
        let target = Target::of(&mounting, None).expect("a target");
        assert_eq!(target.host, Some(Reason::Path("/etc".to_owned())));
    }
}
