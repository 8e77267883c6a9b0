//! Which container of a pod makes it worth its node: the one that a session enters, and another only if the two
//! share their processes. Each kind of container is tried as both.

use serde_json::{Value, json};
use wire::host::{Reason, reason};

/// Where a pod's spec has a container that may hold `SYS_ADMIN`, and what it is called there.
const KINDS: [(&str, &str, &str); 4] = [
    ("a container", "containers", "worker"),
    ("a sidecar", "initContainers", "sidecar"),
    ("an init container", "initContainers", "migrate"),
    ("an ephemeral container", "ephemeralContainers", "debugger"),
];

/// A pod with a container of each kind, as the API server returns one, of which `powerful` holds `SYS_ADMIN`.
fn pod(powerful: &str, change: impl FnOnce(&mut Value)) -> Value {
    let container = |name: &str| {
        let added = if name == powerful { json!(["SYS_ADMIN"]) } else { json!(["NET_RAW"]) };
        json!({"name": name, "image": "app:1", "securityContext": {"capabilities": {"add": added}}})
    };
    let mut sidecar = container("sidecar");
    sidecar["restartPolicy"] = json!("Always");
    let mut spec = json!({
        "containers": [container("app"), container("worker")],
        "initContainers": [container("migrate"), sidecar],
        "ephemeralContainers": [container("debugger")],
    });
    change(&mut spec);
    spec
}

fn together(spec: &mut Value) {
    spec["shareProcessNamespace"] = json!(true);
}

#[test]
fn each_kind_of_container_counts_if_it_is_entered_and_else_only_if_processes_are_shared() {
    let admin = Some(Reason::Capability("SYS_ADMIN"));
    for (kind, list, name) in KINDS {
        let apart = pod(name, |_| {});
        let found = apart[list].as_array().expect("a list").iter().find(|it| it["name"] == name);
        assert!(found.is_some(), "the pod has {kind}");
        assert_eq!(reason(&apart, name), admin, "{kind}, entered");
        let shared = pod(name, together);
        for (other_kind, _, other) in KINDS.into_iter().chain([("a container", "", "app")]) {
            if other != name {
                assert_eq!(reason(&apart, other), None, "{kind} beside {other_kind}");
                assert_eq!(reason(&shared, other), admin, "{kind} together with {other_kind}");
            }
        }
    }
}

#[test]
fn a_debugger_counts_for_the_container_whose_processes_it_shares_and_the_other_way_round() {
    let admin = Some(Reason::Capability("SYS_ADMIN"));
    for (kind, _, target) in &KINDS[..3] {
        let debugging = |spec: &mut Value| {
            spec["ephemeralContainers"][0]["targetContainerName"] = json!(target);
        };
        for powerful in ["debugger", *target] {
            let spec = pod(powerful, debugging);
            assert_eq!(reason(&spec, target), admin, "{powerful} holds it, {kind} is entered");
            assert_eq!(reason(&spec, "debugger"), admin, "{powerful} holds it, of {kind}");
            assert_eq!(reason(&spec, "app"), None, "{powerful} holds it, app is entered");
        }
    }
}

#[test]
fn a_pod_whose_containers_hold_what_is_usual_is_not_worth_its_node() {
    for (kind, _, name) in KINDS {
        assert_eq!(reason(&pod("none", |_| {}), name), None, "{kind}");
        assert_eq!(reason(&pod("none", together), name), None, "{kind}, together");
    }
}
