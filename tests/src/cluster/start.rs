//! From an empty folder to a cluster whose node is ready, names resolve, and sample pods run.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::daemon::Daemon;
use super::holder::Holder;
use super::layout::{API_SERVER, Layout};
use super::programs::Built;
use super::{Cluster, authority, images, kubeconfig, launch};
use crate::cgroup;
use crate::containerd::Version;
use crate::running::run;
use crate::wait::patiently;

/// The API server takes eight seconds on two idle cores.
const API_LIMIT: Duration = Duration::from_secs(120);
/// containerd takes half a second, the node ten seconds, the pods a few more.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The same for kubectl, which waits for several of them.
const KUBECTL_LIMIT: &str = "--timeout=120s";
/// What is applied before anything can run, and what people debug.
const MANIFESTS: [(&str, &str); 4] = [
    ("dns.yaml", include_str!("../../cluster/system/dns.yaml")),
    ("shop.yaml", include_str!("../../cluster/workloads/shop.yaml")),
    ("vault.yaml", include_str!("../../cluster/workloads/vault.yaml")),
    ("odd.yaml", include_str!("../../cluster/workloads/odd.yaml")),
];

/// `say` hears of each step before it is taken.
pub(super) fn start(cluster: &Cluster, say: &dyn Fn(&str)) {
    say("containerd and etcd");
    cluster.start_daemon(Daemon::Etcd);
    cluster.start_daemon(Daemon::Containerd);
    say("the API server");
    cluster.start_daemon(Daemon::ApiServer);
    containerd_answers(cluster);
    images::load_all(&cluster.layout, |archive| cluster.load_image(archive));
    api_answers(cluster);
    say("the node");
    for daemon in [Daemon::ControllerManager, Daemon::Scheduler, Daemon::Kubelet, Daemon::Proxy] {
        cluster.start_daemon(daemon);
    }
    apply(cluster);
    wait(cluster, "--for=create", &["node/n1"]);
    wait(cluster, "--for=condition=Ready", &["node/n1"]);
    say("names and sample workloads");
    wait(cluster, "--for=condition=Available", &["-n", "kube-system", "deploy/coredns"]);
    wait(cluster, "--for=condition=Available", &["-n", "shop", "deploy/web"]);
    wait(cluster, "--for=condition=Ready", &["-n", "shop", "pod/api"]);
    wait(cluster, "--for=condition=Ready", &["-n", "vault", "pod/keeper"]);
    wait(cluster, "--for=condition=Ready", &["-n", "odd", "pod/on-node-network"]);
}

/// Make everything that is there before the first process.
pub(super) fn prepare(layout: &Layout, version: Version) -> Holder {
    // Whatever happens next, this marks the folder as a cluster's.
    layout.write("version", version.name());
    layout.make_folders();
    make_cgroups(&layout.name());
    authority::make(&layout.path("certificates"));
    for (user, ..) in authority::MEMBERS {
        kubeconfig::write(layout, user);
    }
    layout.write("node/kubelet.yaml", include_str!("../../cluster/node/kubelet.yaml"));
    layout.write("node/audit.yaml", include_str!("../../cluster/node/audit.yaml"));
    layout.write("static-pods/static.yaml", include_str!("../../cluster/node/static-pod.yaml"));
    layout.write("containerd/cni/pods.conflist", include_str!("../../cluster/node/pods.conflist"));
    let containerd = version.config(&layout.text("containerd"));
    layout.write("containerd/config.toml", &containerd);
    for (file, text) in MANIFESTS {
        layout.write(&format!("manifests/{file}"), text);
    }
    link_programs(layout, version);
    Holder::start(layout)
}

/// Below this one the kubelet makes its own.
fn make_cgroups(name: &str) {
    for hierarchy in cgroup::hierarchies() {
        let folder = hierarchy.join(name);
        std::fs::create_dir_all(&folder).expect("root can make a control group");
        // A group of v1's cpuset is of no use before it has both; it is a file of that hierarchy only.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = std::fs::read(hierarchy.join(file)) {
                std::fs::write(folder.join(file), value).expect("the parent's value is allowed");
            }
        }
    }
}

fn link_programs(layout: &Layout, version: Version) {
    let bin = layout.path("bin");
    std::fs::create_dir_all(&bin).expect("a folder in an own folder");
    let kubectl = Built::Kubernetes.folder().join("kubectl");
    let helm = Built::Helm.folder().join("helm");
    for program in [kubectl, helm] {
        let name = program.file_name().expect("a program has a name");
        std::os::unix::fs::symlink(&program, bin.join(name)).expect("a link in an own folder");
    }
    let ctr = format!(
        "#!/bin/sh\nexec {} --address @FOLDER@/containerd/containerd.sock --namespace {} \"$@\"\n",
        version.program("ctr").display(),
        images::NAMESPACE,
    );
    layout.write("bin/ctr", &ctr);
    launch::make_executable(&bin.join("ctr"));
}

fn containerd_answers(cluster: &Cluster) {
    answers(cluster, Daemon::Containerd, START_LIMIT, || {
        // Its services answer before the CRI plugin has loaded, so the plugins are asked.
        let mut plugins = images::ctr(&cluster.layout, cluster.version);
        let plugins = run(plugins.args(["plugins", "ls"]));
        let loaded = |line: &str| line.contains("cri") && line.trim_end().ends_with("ok");
        plugins.out().lines().any(loaded)
    });
}

fn api_answers(cluster: &Cluster) {
    let certificate = |file: &str| cluster.layout.path(&format!("certificates/{file}"));
    answers(cluster, Daemon::ApiServer, API_LIMIT, || {
        let mut curl = cluster.command("curl");
        curl.args(["--silent", "--fail", "--max-time", "5", "--cacert"]).arg(certificate("ca.pem"));
        curl.arg("--cert").arg(certificate("admin.pem")).arg("--key").arg(certificate("admin.key"));
        run(curl.arg(format!("{API_SERVER}/readyz"))).status.success()
    });
}

/// Wait for a server; one that has ended is not waited for.
fn answers(cluster: &Cluster, daemon: Daemon, limit: Duration, mut asked: impl FnMut() -> bool) {
    let ended = || cluster.process_of(daemon).is_none();
    let over = patiently(limit, || if asked() { Some(true) } else { ended().then_some(false) });
    assert_eq!(over, Some(true), "{} says:\n{}", daemon.name(), cluster.log(daemon));
}

/// A pod can be made only once its namespace has a service account, so this is repeated.
fn apply(cluster: &Cluster) {
    let folder = cluster.layout.text("manifests");
    let mut last = String::new();
    patiently(START_LIMIT, || {
        let applied = cluster.kubectl(&["apply", "--recursive", "-f", &folder]);
        last = applied.to_string();
        applied.status.success().then_some(())
    })
    .unwrap_or_else(|| panic!("the manifests are refused: {last}"));
}

fn wait(cluster: &Cluster, condition: &str, objects: &[&str]) {
    let mut kubectl: Command = cluster.command("kubectl");
    kubectl.args(["wait", condition, KUBECTL_LIMIT]).args(objects);
    let waited = crate::Running::start(&mut kubectl).finish_within(API_LIMIT * 2);
    assert!(waited.status.success(), "{waited}\n{}", described(cluster));
}

/// What a person would look at next.
fn described(cluster: &Cluster) -> String {
    let pods = cluster.kubectl(&["get", "pods,nodes", "-A", "-o", "wide"]);
    let events = cluster.kubectl(&["get", "events", "-A", "--sort-by=.lastTimestamp"]);
    format!("{pods}\n{events}\n{}", cluster.log(Daemon::Kubelet))
}

/// Where a folder is a cluster's: which containerd it has.
pub(super) fn version_of(folder: &Path) -> Option<Version> {
    let name = std::fs::read_to_string(folder.join("version")).ok()?;
    Version::ALL.into_iter().find(|version| version.name() == name.trim())
}
