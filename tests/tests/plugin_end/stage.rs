//! A gateway and an agent on the node of a real cluster, as processes, registered with its API server.
//!
//! They end with the cluster. What installing them as pods takes is not looked at here.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use harness::{
    Cluster, Finished, Running, SharedCluster, Version, may_skip, run, toolbox_tree, until,
};

const LIMIT: Duration = Duration::from_secs(60);

/// The node's address, which is also the API server's.
const ADDRESS: &str = "10.88.0.1";

const OBJECTS: &str = include_str!("objects.yaml");

/// The cluster with nsdebug in it; none where it has to be left out.
pub(crate) struct Stage {
    pub(crate) cluster: SharedCluster,
}

impl Stage {
    pub(crate) fn set() -> Option<Self> {
        if may_skip(Cluster::requirement(Version::chosen())) {
            return None;
        }
        let cluster = Cluster::shared();
        static INSTALLED: OnceLock<(Running, Running)> = OnceLock::new();
        INSTALLED.get_or_init(|| install(&cluster));
        Some(Self { cluster })
    }

    /// `kubectl nsdebug`, run by kubectl as its administrator.
    pub(crate) fn nsdebug(&self, words: &[&str]) -> Finished {
        run(self.cluster.command("kubectl").arg("nsdebug").args(words))
    }

    /// The same as somebody else, by a kubeconfig of theirs.
    pub(crate) fn nsdebug_as(&self, user: &Path, words: &[&str]) -> Finished {
        let mut kubectl = self.cluster.command("kubectl");
        run(kubectl.arg("nsdebug").arg("--kubeconfig").arg(user).args(words))
    }

    pub(crate) fn apply(&self, name: &str, objects: &str) {
        apply(&self.cluster, name, objects);
    }
}

fn apply(cluster: &Cluster, name: &str, objects: &str) {
    let path = cluster.path().join(name);
    std::fs::write(&path, objects).expect("the cluster's folder can be written to");
    cluster.kubectl(&["apply", "-f", path.to_str().expect("text")]).expect_success();
}

fn install(cluster: &Cluster) -> (Running, Running) {
    apply(cluster, "nsdebug.yaml", OBJECTS);
    let mut gateway = cluster.command("nsdebug-gateway");
    gateway.arg("serve").arg("--kubeconfig").arg(cluster.path().join("kubeconfig/admin"));
    gateway.arg(format!("--listen={ADDRESS}:8443")).arg("--dns-name=localhost");
    gateway.args(["--listen-agents=127.0.0.1:9443", "--listen-health=127.0.0.1:8480"]);
    let gateway = Running::start(&mut gateway);
    let ready = ["wait", "-n", "nsdebug", "--for=condition=Ready", "pod/agent", "--timeout=60s"];
    cluster.kubectl(&ready).expect_success();
    let service = "apiservice/v1alpha1.nsdebug.dev";
    let available = ["wait", "--for=condition=Available", service, "--timeout=60s"];
    cluster.kubectl(&available).expect_success();
    let agent = Running::start(&mut agent(cluster));
    until("a first session", LIMIT, || {
        for program in [&gateway, &agent] {
            assert!(!program.has_ended(), "it should still run: {}", program.stderr());
        }
        cluster.kubectl(&["nsdebug", "-n", "shop", "pod/api", "--", "true"]).status.success()
    });
    (gateway, agent)
}

fn agent(cluster: &Cluster) -> std::process::Command {
    let file = |name: &str, text: String| {
        let path = cluster.path().join(name);
        std::fs::write(&path, text).expect("the cluster's folder can be written to");
        path
    };
    let token = [
        "create",
        "token",
        "-n",
        "nsdebug",
        "nsdebug-agent",
        "--audience=nsdebug-gateway",
        "--bound-object-kind=Pod",
        "--bound-object-name=agent",
    ];
    let token = file("agent-token", cluster.kubectl(&token).expect_success().out());
    let authority =
        ["get", "-n", "nsdebug", "configmap/nsdebug-gateway-ca", "-o", "jsonpath={.data.ca\\.crt}"];
    let authority = file("agent-ca", cluster.kubectl(&authority).expect_success().out());
    let mut agent = cluster.command("nsdebug-agent");
    agent
        .args(["serve", "--gateway=localhost:9443", "--node-name=n1", "--gateway-ca"])
        .arg(authority);
    agent.arg("--token-file").arg(token).arg("--toolbox").arg(toolbox_tree());
    agent.arg("--containerd").arg(cluster.socket());
    agent
}
