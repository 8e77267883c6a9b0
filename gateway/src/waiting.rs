//! Why a container of a pod does not run, and which do, as the kubelet reports it.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};

/// What is reported of all containers, whichever list they are in.
pub(crate) fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let lists = pod.status.iter().flat_map(|status| {
        [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ]
    });
    lists.flatten().flatten()
}

pub(crate) fn runs(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

/// Why `container` does not run, and which containers could be entered in its place: nothing where the kubelet
/// has not said anything yet.
pub(crate) fn why(pod: &Pod, container: &str) -> Option<String> {
    let own = statuses(pod).find(|status| status.name == container);
    let state = own.and_then(|status| status.state.as_ref());
    let state = state.and_then(|state| said(container, state));
    let running: Vec<String> = statuses(pod)
        .filter(|status| runs(status))
        .map(|status| format!("-c {}", status.name))
        .collect();
    let running = (!running.is_empty()).then(|| format!("running now: {}", running.join(", ")));
    [state, running].into_iter().flatten().reduce(|state, running| format!("{state}; {running}"))
}

fn said(container: &str, state: &ContainerState) -> Option<String> {
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().filter(|reason| !reason.is_empty())?;
        return Some(format!("{container} waits: {reason}"));
    }
    let ended = state.terminated.as_ref()?;
    Some(format!("{container} has ended with exit code {}", ended.exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(name: &str, state: &Value) -> Value {
        json!({"name": name, "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0})
    }

    fn pod(plain: &Value, init: &Value) -> Pod {
        let status = json!({"containerStatuses": plain, "initContainerStatuses": init});
        serde_json::from_value(json!({"metadata": {}, "status": status})).expect("a pod")
    }

    #[test]
    fn what_a_container_waits_for_is_named_as_kubectl_names_it() {
        for reason in ["ImagePullBackOff", "CreateContainerConfigError", "CrashLoopBackOff"] {
            let main = told("main", &json!({"waiting": {"reason": reason}}));
            let said = why(&pod(&json!([main]), &json!(null)), "main");
            assert_eq!(said, Some(format!("main waits: {reason}")));
        }
    }

    #[test]
    fn what_runs_meanwhile_is_named_as_it_would_be_asked_for() {
        let main = told("main", &json!({"waiting": {"reason": "PodInitializing"}}));
        let prepare = told("prepare", &json!({"running": {}}));
        let said = why(&pod(&json!([main]), &json!([prepare])), "main");
        assert_eq!(said.as_deref(), Some("main waits: PodInitializing; running now: -c prepare"));
    }

    #[test]
    fn a_container_that_has_ended_does_not_wait() {
        let done = told("done", &json!({"terminated": {"exitCode": 3}}));
        let app = told("app", &json!({"running": {}}));
        let said = why(&pod(&json!([app]), &json!([done])), "done");
        assert_eq!(said.as_deref(), Some("done has ended with exit code 3; running now: -c app"));
    }

    #[test]
    fn nothing_is_claimed_of_what_is_not_reported() {
        assert_eq!(why(&pod(&json!(null), &json!(null)), "main"), None);
        let silent = told("main", &json!({"waiting": {}}));
        assert_eq!(why(&pod(&json!([silent]), &json!(null)), "main"), None);
    }
}
