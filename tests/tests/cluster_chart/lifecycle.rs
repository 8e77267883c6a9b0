//! Installing, upgrading and removing: what was made stays, what is gone is gone, and the cluster can always be used.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{Cluster, RELEASE, chart, run, until};
use serde_json::Value;

use crate::stage::{SOON, cluster, field, installed, output, session};

const API_SERVICE: [&str; 1] = ["apiservice/v1alpha1.nsdebug.dev"];
const GATEWAYS: [&str; 3] = ["-n", RELEASE, "deployment/nsdebug-gateway"];

/// What the gateway made, and everybody who believes it.
fn certificates(cluster: &Cluster) -> [String; 3] {
    let secret = ["-n", RELEASE, "secret/nsdebug-gateway-tls"];
    let agents = ["-n", RELEASE, "configmap/nsdebug-gateway-ca"];
    let all = [
        field(cluster, &secret, "{.data}"),
        field(cluster, &agents, "{.data}"),
        field(cluster, &API_SERVICE, "{.spec.caBundle}"),
    ];
    assert!(all.iter().all(|one| one.len() > 100), "{all:?}");
    all
}

/// The chart of the commit before the last one that changed it; none where there is no such commit.
fn previous_chart(folder: &Path) -> Option<PathBuf> {
    let repository = chart().ancestors().nth(2).expect("the repository").to_owned();
    let git = || {
        let mut git = Command::new("git");
        git.arg("-C").arg(&repository);
        git
    };
    let log = ["log", "--format=%H", "--max-count=2", "--", "charts/nsdebug"];
    let commits = run(git().args(log)).expect_success().out();
    let archive = folder.join("chart.tar");
    let previous = commits.lines().nth(1)?.to_owned();
    run(git().args(["archive", "--output"]).arg(&archive).args([&previous, "charts/nsdebug"]))
        .expect_success();
    run(Command::new("tar").arg("-C").arg(folder).arg("-xf").arg(&archive)).expect_success();
    Some(folder.join("charts/nsdebug"))
}

#[test]
fn an_upgrade_keeps_the_certificates_and_works() {
    let Some(cluster) = cluster() else { return };
    let folder = tempfile();
    let previous = previous_chart(folder.path()).unwrap_or_else(chart);
    remove(&cluster);
    cluster.load_our_images();
    cluster.install_chart(&previous, &[]).expect_success();
    output(&session(&cluster, "shop/api", &["true"]));
    let before = certificates(&cluster);
    // Gateways and agents are both replaced, whatever changed in the chart.
    cluster.install(&["gateway.graceSeconds=20", "agent.graceSeconds=20"]);
    assert_eq!(certificates(&cluster), before);
    until("a session", SOON, || session(&cluster, "shop/api", &["true"]).is_ok());
}

#[test]
fn no_session_is_refused_while_gateways_are_replaced() {
    let Some(cluster) = installed() else { return };
    output(&session(&cluster, "shop/api", &["true"]));
    let (over, cluster) = (AtomicBool::new(false), &*cluster);
    let given = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut given = 0;
            while !over.load(Ordering::Relaxed) {
                output(&session(cluster, "shop/api", &["true"]));
                given += 1;
            }
            given
        });
        cluster.kubectl(&[&["rollout", "restart"], &GATEWAYS[..]].concat()).expect_success();
        let status = ["rollout", "status", "--timeout=120s"];
        let replaced = cluster.kubectl(&[&status[..], &GATEWAYS].concat());
        over.store(true, Ordering::Relaxed);
        replaced.expect_success();
        asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert!(given > 10, "{given} sessions in all that time");
}

#[test]
fn removing_leaves_nothing_and_takes_the_api_away_first() {
    let Some(cluster) = cluster() else { return };
    remove(&cluster);
    let before = cluster.objects();
    cluster.install(&[]);
    let asked = cluster.audit_log().lines().count();
    cluster.uninstall();
    let audit = cluster.audit_log();
    let lines = audit.lines().skip(asked).map(|line| serde_json::from_str(line).expect("JSON"));
    let deleted = |line: &Value| {
        (line["verb"] == "delete").then(|| line["objectRef"]["resource"].to_string())
    };
    let deleted: Vec<String> = lines.filter_map(|line: Value| deleted(&line)).collect();
    assert_eq!(deleted.first().map(String::as_str), Some("\"apiservices\""), "{deleted:?}");
    // helm never removes the namespace, and nothing else is in it.
    cluster.kubectl(&["delete", "namespace", RELEASE, "--timeout=60s"]).expect_success();
    let left: Vec<_> = cluster.objects().difference(&before).cloned().collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn without_gateways_a_namespace_is_emptied_and_ends_once_the_api_is_taken_away() {
    let Some(cluster) = installed() else { return };
    cluster.kubectl(&["create", "namespace", "doomed"]).expect_success();
    cluster.kubectl(&["create", "configmap", "-n", "doomed", "content"]).expect_success();
    let scale = ["scale", "--replicas=0", "--timeout=60s"];
    cluster.kubectl(&[&scale[..], &GATEWAYS].concat()).expect_success();
    until("the API to be unavailable", SOON, || {
        field(&cluster, &API_SERVICE, "{.status.conditions[0].status}") == "False"
    });
    cluster.kubectl(&["delete", "namespace", "doomed", "--wait=false"]).expect_success();
    // Kubernetes' own rule, which no API server behind it can change: it must know of every API first.
    let condition = |kind: &str| {
        let path = format!("{{.status.conditions[?(@.type==\"{kind}\")].status}}");
        field(&cluster, &["namespace/doomed"], &path)
    };
    until("the namespace to be empty", SOON, || condition("NamespaceContentRemaining") == "False");
    assert_eq!(condition("NamespaceDeletionDiscoveryFailure"), "True");
    cluster.kubectl(&[&["delete"], &API_SERVICE[..]].concat()).expect_success();
    let gone = ["wait", "--for=delete", "namespace/doomed", "--timeout=60s"];
    cluster.kubectl(&gone).expect_success();
    // As the chart's README says.
    cluster.install(&[]);
    until("a session", SOON, || session(&cluster, "shop/api", &["true"]).is_ok());
}

/// Start from nothing.
fn remove(cluster: &Cluster) {
    let listed = run(cluster.command("helm").args(["list", "-q", "-n", RELEASE])).expect_success();
    if !listed.out().trim().is_empty() {
        cluster.uninstall();
    }
    let namespace = ["delete", "namespace", RELEASE, "--ignore-not-found", "--timeout=60s"];
    cluster.kubectl(&namespace).expect_success();
}

fn tempfile() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}
