//! The pods that are hard to debug, and the one promise about all of them: nothing of them has changed afterwards.

use std::collections::BTreeMap;

use harness::{Cluster, Daemon, Finished, until};
use serde_json::{Value, json};

use crate::stage::{SOON, assert_refused, installed};

/// Every pod's specification.
fn specs(cluster: &Cluster) -> BTreeMap<String, Value> {
    let pods = cluster.kubectl(&["get", "pods", "-A", "-o", "json"]).expect_success().out();
    let pods: Value = serde_json::from_str(&pods).expect("JSON");
    let name =
        |pod: &Value| format!("{}/{}", pod["metadata"]["namespace"], pod["metadata"]["name"]);
    let pods = pods["items"].as_array().expect("a list");
    pods.iter().map(|pod| (name(pod), pod["spec"].clone())).collect()
}

fn in_pod(cluster: &Cluster, namespace: &str, words: &[&str]) -> Finished {
    cluster.nsdebug(&[&["-n", namespace], words].concat())
}

/// Fails unless `ps` shows the container's own process, as the first there is.
#[track_caller]
fn assert_seen(ps: Finished, first: &str) {
    let ps = ps.expect_success();
    let seen = ps.out();
    let line = seen.lines().nth(1).unwrap_or_default();
    assert!(line.ends_with(first) && line.split_whitespace().nth(1) == Some("1"), "{ps}");
}

#[test]
fn every_kind_of_pod_can_be_debugged_and_stays_as_it_is() {
    let Some(cluster) = installed(&[]) else { return };
    let before = (cluster.objects(), specs(&cluster));
    let ps = ["--", "ps", "-ef"];
    let pod = |namespace: &str, words: &[&str]| in_pod(&cluster, namespace, &[words, &ps].concat());
    assert_seen(pod("shop", &["pod/api"]), "/target-app serve children=2");
    assert_seen(pod("vault", &["pod/keeper"]), "/target-app serve");
    assert_seen(pod("kube-system", &["pod/static-n1"]), "/target-app serve");
    assert_seen(pod("odd", &["pod/preparing", "-c", "prepare"]), "/target-app sleep 1000000");
    assert_seen(pod("odd", &["pod/on-node-network"]), "/target-app serve port=18080");
    let files = in_pod(&cluster, "vault", &["pod/keeper", "--", "cat", "/target/etc/os-release"]);
    assert!(files.expect_success().out().contains("distroless-like"));
    // Between two attempts there is no process, but the pod's network is there.
    let crashing = in_pod(&cluster, "odd", &["pod/crashing", "--", "ip", "-br", "address"]);
    let crashing = crashing.expect_success();
    assert!(crashing.out().contains("eth0"), "{crashing}");
    let waiting = "main waits: PodInitializing; running now: -c prepare";
    assert_stands_in(&cluster, "preparing", waiting);
    until("its image to be asked for", SOON, || waits_for(&cluster, "imageless").contains("Pull"));
    assert_stands_in_for_any(&cluster, "imageless", &["ImagePullBackOff", "ErrImagePull"]);
    let after = (cluster.objects(), specs(&cluster));
    assert_eq!(after, before);
}

/// Fails unless a session in `pod` of the namespace `odd` is in its network, and says why it is nowhere else.
#[track_caller]
fn assert_stands_in(cluster: &Cluster, pod: &str, why: &str) {
    let session = in_the_network_of(cluster, pod);
    let note = note_of(pod, why);
    assert!(session.err().contains(&note), "{note} in {session}");
}

/// The same, of a container that the kubelet says to wait for one or the other by turns.
#[track_caller]
fn assert_stands_in_for_any(cluster: &Cluster, pod: &str, reasons: &[&str]) {
    let session = in_the_network_of(cluster, pod);
    let has = |why: &&str| session.err().contains(&note_of(pod, &format!("main waits: {why}")));
    assert!(reasons.iter().any(has), "{reasons:?} in {session}");
}

fn in_the_network_of(cluster: &Cluster, pod: &str) -> Finished {
    let words = [&format!("pod/{pod}"), "-c", "main", "--", "ip", "-br", "address"];
    let session = in_pod(cluster, "odd", &words).expect_success();
    assert!(session.out().contains("eth0"), "{session}");
    session
}

fn note_of(pod: &str, why: &str) -> String {
    format!("note: container main of pod odd/{pod} does not exist ({why}): in the network")
}

/// As the kubelet reports it of the first container.
fn waits_for(cluster: &Cluster, pod: &str) -> String {
    let reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    cluster.kubectl(&["get", "pod", "-n", "odd", pod, "-o", reason]).out()
}

#[test]
fn a_pod_of_which_something_is_missing_is_entered_as_far_as_it_is_there() {
    let Some(cluster) = installed(&[]) else { return };
    cluster.apply(include_str!("../../cluster/workloads/missing.yaml"));
    let config_error = "CreateContainerConfigError";
    until(config_error, SOON, || waits_for(&cluster, "configless") == config_error);
    assert_stands_in(&cluster, "configless", "main waits: CreateContainerConfigError");
    let session = |name: &str| in_pod(&cluster, "odd", &[name, "--", "ip", "address"]);
    // Its volume comes first, and then its sandbox.
    until("the kubelet to try", SOON, || session("volumeless").err().contains("FailedMount"));
    let said = "pod odd/volumeless cannot be entered yet: its node has not created its sandbox";
    let event = "the last event of the pod: FailedMount: ";
    for words in [said, event] {
        assert_refused(&session("volumeless"), words);
    }
    let nowhere = session("nodeless");
    assert_refused(&nowhere, "the pod is not on a node yet");
    assert_refused(&nowhere, "the last event of the pod: FailedScheduling: ");
    let pods = ["configless", "volumeless", "nodeless"];
    let delete = [&["delete", "pod", "-n", "odd"], &pods[..]].concat();
    cluster.kubectl(&delete).expect_success();
}

#[test]
fn a_container_of_kubectl_debug_is_named_for_as_long_as_it_runs() {
    let Some(cluster) = installed(&[]) else { return };
    let image = "localhost/nsdebug/target-app:1";
    let container = json!({"name": "app", "image": image, "imagePullPolicy": "Never",
        "command": ["/target-app"], "args": ["serve"]});
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "debugged", "namespace": "odd"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}));
    let session = || in_pod(&cluster, "odd", &["debugged", "-c", "app", "--", "true"]);
    until("the pod to run", SOON, || session().status.success());
    let image = format!("--image={image}");
    let debug =
        ["debug", "-n", "odd", "debugged", "--target=app", "--profile=general", "-c", "dbg"];
    let more = [&image, "--image-pull-policy=Never", "--", "/target-app", "sleep", "1000000"];
    cluster.kubectl(&[&debug[..], &more].concat()).expect_success();
    let named = "container dbg of pod odd/debugged in the target's pid namespace has";
    until("the debugger to run", SOON, || session().err().contains(named));
    assert_refused(&session(), "a container of `kubectl debug` ends with its shell");
    cluster.kubectl(&["delete", "pod", "-n", "odd", "debugged"]).expect_success();
}

#[test]
fn a_node_without_its_kubelet_can_be_debugged() {
    let Some(cluster) = installed(&[]) else { return };
    cluster.stop_daemon(Daemon::Kubelet);
    let ps = in_pod(&cluster, "shop", &["pod/api", "--", "ps", "-ef"]);
    // Which is what one would do without us.
    let exec = cluster.kubectl(&["exec", "-n", "shop", "api", "--", "/target-app", "exit", "0"]);
    cluster.start_daemon(Daemon::Kubelet);
    assert_seen(ps, "/target-app serve children=2");
    assert!(!exec.status.success(), "the kubelet did run: {exec}");
}
