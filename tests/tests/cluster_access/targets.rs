//! The pods that are hard to debug, and the one promise about all of them: nothing of them has changed afterwards.

use std::collections::BTreeMap;

use harness::{Cluster, Daemon, Finished, run};
use serde_json::Value;

use crate::stage::{assert_refused, installed};

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
    for (name, there) in [("preparing", "prepare"), ("imageless", "none")] {
        let said = format!("pod odd/{name} has no container `main`, it has: {there}");
        assert_refused(&pod("odd", &[&format!("pod/{name}")]), &said);
    }
    let after = (cluster.objects(), specs(&cluster));
    assert_eq!(after, before);
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
