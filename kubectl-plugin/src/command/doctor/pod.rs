//! The pod: whether it is there to be entered, what entering it is worth, and its node's agent.

use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;
use wire::{ApiTarget, DefaultContainer, Label, host};

use super::report::Verdict;
use super::{Found, Look, is_hidden};

impl Look<'_> {
    pub(super) async fn at_target(
        &mut self,
        target: ApiTarget,
        container: Option<&Label>,
    ) -> Option<Found> {
        let (namespace, name) = match &target {
            ApiTarget::Node { name } => {
                let node = Some(name.to_string());
                return Some(Found { target, node, container_host: None });
            }
            ApiTarget::Pod { namespace, name } => (namespace.clone(), name.clone()),
        };
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        match self.cluster.get::<Pod>(&path).await {
            Ok(pod) => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
                let node = node.filter(|node| !node.is_empty());
                let (verdict, text) = state(&pod, node.as_deref());
                self.report.add(verdict, "pod", format!("{name}: {text}"));
                let container_host = host(&pod, container);
                Some(Found { target, node, container_host })
            }
            Err(error) if is_hidden(&error) => {
                self.report.add(
                    Verdict::Unknown,
                    "pod",
                    format!("forbidden: you cannot get the pod {name}"),
                );
                Some(Found { target, node: None, container_host: None })
            }
            Err(error) => {
                self.report.failed("pod", &error);
                None
            }
        }
    }

    pub(super) async fn at_agent(&mut self, node: &str, home: &str) {
        let path = format!(
            "/api/v1/namespaces/{home}/pods?fieldSelector=spec.nodeName%3D{node}&labelSelector=\
             app.kubernetes.io%2Fname%3Dnsdebug%2Capp.kubernetes.io%2Fcomponent%3Dagent"
        );
        match self.cluster.get::<List<Pod>>(&path).await {
            Ok(pods) if pods.items.iter().any(is_ready) => {
                self.report.add(Verdict::Ok, "agent", format!("one is ready on the node {node}"));
            }
            Ok(pods) => {
                let found =
                    if pods.items.is_empty() { "none is" } else { "the one there is not ready" };
                let text = format!("on the node {node}: {found} (in the namespace \"{home}\")");
                self.report.add(Verdict::No, "agent", text);
            }
            Err(error) if is_hidden(&error) => {
                let text =
                    format!("of the node {node}: forbidden: you cannot list pods in \"{home}\"");
                self.report.add(Verdict::Unknown, "agent", text);
            }
            Err(error) => self.report.failed("agent", &error),
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
}

/// What may become of a session in `pod`.
fn state(pod: &Pod, node: Option<&str>) -> (Verdict, String) {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    let Some(node) = node else {
        return (Verdict::No, format!("{phase}, and not on a node yet"));
    };
    if phase == "Succeeded" || phase == "Failed" {
        return (Verdict::No, format!("{phase}: it has ended, and with it its namespaces"));
    }
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    let is_up = statuses.is_some_and(|all| {
        all.iter().any(|one| one.state.as_ref().is_some_and(|state| state.running.is_some()))
    });
    if is_up {
        (Verdict::Ok, format!("{phase} on the node {node}"))
    } else {
        let text = "no container runs: a session joins the pod's network, ipc and host name only";
        (Verdict::Note, format!("{phase} on the node {node}; {text}"))
    }
}

/// The container that a session would enter: the named one, else what the gateway would take.
fn meant<'a>(pod: &'a Pod, wanted: Option<&'a Label>) -> Option<&'a str> {
    if let Some(wanted) = wanted {
        return Some(wanted.as_str());
    }
    let names = pod.spec.as_ref()?.containers.iter().map(|container| container.name.as_str());
    Some(DefaultContainer::of(pod.metadata.annotations.as_ref(), names)?.name)
}

/// Why it is worth as much as its node, which takes a right more.
fn host(pod: &Pod, wanted: Option<&Label>) -> Option<host::Reason> {
    host::reason(pod.spec.as_ref()?, meant(pod, wanted)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wire::DEFAULT_CONTAINER;

    use super::*;

    fn pod(change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "api"},
            "spec": {"nodeName": "n1", "containers": [{"name": "app"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                 "state": {"running": {}}},
            ]},
        });
        change(&mut pod);
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn a_pod_can_be_entered_from_its_node_to_its_end() {
        assert_eq!(state(&pod(|_| {}), Some("n1")), (Verdict::Ok, "Running on the node n1".into()));
        assert_eq!(state(&pod(|_| {}), None).0, Verdict::No);
        let over = pod(|pod| pod["status"]["phase"] = json!("Failed"));
        assert_eq!(state(&over, Some("n1")).0, Verdict::No);
        let crashing = pod(|pod| {
            pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {}});
        });
        assert_eq!(state(&crashing, Some("n1")).0, Verdict::Note);
    }

    #[test]
    fn what_is_worth_the_node_is_said_of_the_container_that_is_meant() {
        let pod = |annotations: Value| {
            pod(|pod| {
                pod["metadata"]["annotations"] = annotations;
                pod["spec"]["containers"] = json!([
                    {"name": "app"},
                    {"name": "proxy", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}},
                ]);
            })
        };
        let named = |name: &str| host(&pod(json!({})), Some(&name.parse().expect("a label")));
        assert_eq!((named("app"), host(&pod(json!({})), None)), (None, None));
        assert_eq!(named("proxy"), Some(host::Reason::Capability("SYS_ADMIN")));
        let annotated = pod(json!({DEFAULT_CONTAINER: "proxy"}));
        assert!(host(&annotated, None).is_some());
        let astray = pod(json!({DEFAULT_CONTAINER: "gone"}));
        assert_eq!(host(&astray, None), None);
    }
}
