//! Which pod is meant by what has many: the one that kubectl would take.
//!
//! Pure; the asking is in `kubernetes::mod`. Which container is the gateway's to choose.

use std::cmp::Reverse;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use super::error::TargetError;
use crate::target::Workload;

/// The labels that `object`'s pods have, as a query says it. `what` is its name for errors.
pub(super) fn selector_of(
    kind: Workload,
    object: &Value,
    what: &str,
) -> Result<String, TargetError> {
    let selector = &object["spec"]["selector"];
    if kind == Workload::Service {
        let labels = selector.as_object().filter(|labels| !labels.is_empty());
        let name = || object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let labels = labels.ok_or_else(|| TargetError::ServiceWithoutSelector { name: name() })?;
        let equal = |(key, value): (&String, &Value)| {
            format!("{key}={}", value.as_str().unwrap_or_default())
        };
        return Ok(labels.iter().map(equal).collect::<Vec<_>>().join(","));
    }
    let none = || TargetError::NoSelector { what: what.to_owned() };
    let selector: LabelSelector = serde_json::from_value(selector.clone()).map_err(|_| none())?;
    let mut terms: Vec<String> = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    for requirement in selector.match_expressions.iter().flatten() {
        let key = &requirement.key;
        let values = || requirement.values.as_deref().unwrap_or_default().join(",");
        terms.push(match requirement.operator.as_str() {
            "In" => format!("{key} in ({})", values()),
            "NotIn" => format!("{key} notin ({})", values()),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            other => {
                let (what, operator) = (what.to_owned(), other.to_owned());
                return Err(TargetError::Selector { what, operator });
            }
        });
    }
    if terms.is_empty() { Err(none()) } else { Ok(terms.join(",")) }
}

/// Running and ready first, then what has been so for longest: the reverse of kubectl's `ActivePods`.
pub(super) fn best(pods: Vec<Pod>) -> Option<Pod> {
    // Of equals the first, which `max_by_key` would not give.
    pods.into_iter().rev().max_by_key(rank)
}

fn rank(pod: &Pod) -> impl Ord + use<> {
    let status = pod.status.as_ref();
    let assigned =
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_some_and(|n| !n.is_empty());
    let phase = match status.and_then(|status| status.phase.as_deref()) {
        Some("Running") => 2,
        Some("Unknown") => 1,
        _ => 0,
    };
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .and_then(|all| all.iter().find(|one| one.type_ == "Ready" && one.status == "True"));
    let since = ready.and_then(|ready| ready.last_transition_time.as_ref()).map(|time| time.0);
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let (restarts, sidecar_restarts) = restarts(pod);
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (
        (assigned, phase, ready.is_some()),
        (deleted.is_none(), deleted, since.map(Reverse)),
        (Reverse(restarts), Reverse(sidecar_restarts), created.map(Reverse)),
    )
}

/// The most that a container, and that a sidecar, was started again.
fn restarts(pod: &Pod) -> (i32, i32) {
    let Some(status) = &pod.status else { return (0, 0) };
    let containers = status.container_statuses.iter().flatten().map(|one| one.restart_count).max();
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars: Vec<&str> = init
        .filter(|one| one.restart_policy.as_deref() == Some("Always"))
        .map(|one| one.name.as_str())
        .collect();
    let statuses = status.init_container_statuses.iter().flatten();
    let of_sidecars = statuses.filter(|one| sidecars.contains(&one.name.as_str()));
    (containers.unwrap_or(0), of_sidecars.map(|one| one.restart_count).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n1", "containers": [{"name": "app"}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z"}],
                "containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 1}],
            },
        });
        change(&mut pod);
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn the_pod_that_kubectl_would_take_is_taken() {
        type Change = fn(&mut Value);
        // Each is worse than a usual pod.
        let worse: [(&str, Change); 8] = [
            ("unassigned", |pod| pod["spec"]["nodeName"] = json!("")),
            ("pending", |pod| pod["status"]["phase"] = json!("Pending")),
            ("over", |pod| pod["status"]["phase"] = json!("Succeeded")),
            ("unready", |pod| pod["status"]["conditions"][0]["status"] = json!("False")),
            ("leaving", |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-03T00:00:00Z")),
            ("later ready", |pod| {
                pod["status"]["conditions"][0]["lastTransitionTime"] =
                    json!("2026-01-02T01:00:00Z");
            }),
            ("restarting", |pod| pod["status"]["containerStatuses"][0]["restartCount"] = json!(2)),
            ("younger", |pod| {
                pod["metadata"]["creationTimestamp"] = json!("2026-01-01T01:00:00Z");
            }),
        ];
        for (why, change) in worse {
            for pods in [
                vec![pod("good", |_| {}), pod("bad", change)],
                vec![pod("bad", change), pod("good", |_| {})],
            ] {
                let name = best(pods).and_then(|pod| pod.metadata.name);
                assert_eq!(name.as_deref(), Some("good"), "{why}");
            }
        }
        let equals = vec![pod("first", |_| {}), pod("second", |_| {})];
        assert_eq!(best(equals).and_then(|pod| pod.metadata.name).as_deref(), Some("first"));
        assert_eq!(best(Vec::new()), None);
    }

    #[test]
    fn readiness_outweighs_everything_that_comes_after_it() {
        let old = pod("unready", |pod| {
            pod["status"]["conditions"][0]["status"] = json!("False");
            pod["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
        });
        let leaving = pod("ready", |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-03T00:00:00Z");
        });
        assert_eq!(
            best(vec![old, leaving]).and_then(|pod| pod.metadata.name).as_deref(),
            Some("ready")
        );
    }

    #[test]
    fn the_selectors_of_workloads_and_services_are_written_as_queries() {
        let workload = json!({"spec": {"selector": {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "zone", "operator": "NotIn", "values": ["c"]},
                {"key": "up", "operator": "Exists"},
                {"key": "down", "operator": "DoesNotExist"},
            ],
        }}});
        assert_eq!(
            selector_of(Workload::Deployment, &workload, "deploy/web").as_deref(),
            Ok("app=web,tier in (a,b),zone notin (c),up,!down")
        );
        let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}}});
        assert_eq!(selector_of(Workload::Service, &service, "svc/web").as_deref(), Ok("app=web"));
    }

    #[test]
    fn what_selects_nothing_has_no_pods() {
        let service = json!({"metadata": {"name": "web"}, "spec": {}});
        let error = selector_of(Workload::Service, &service, "svc/web").expect_err("no selector");
        assert!(error.to_string().contains("invalid service 'web'"), "{error}");
        for selector in [json!({}), json!(null)] {
            let workload = json!({"spec": {"selector": selector}});
            assert!(selector_of(Workload::Job, &workload, "job/x").is_err());
        }
        let odd =
            json!({"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}});
        let error = selector_of(Workload::Job, &odd, "job/x").expect_err("an odd operator");
        assert!(error.to_string().contains("`Near`"), "{error}");
    }
}
