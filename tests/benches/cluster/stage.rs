//! The cluster with nsdebug in it, a pod to debug, and the faster of two kubectls.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Cluster, Requirement, SharedCluster, Version, inside, plugin, skip};

use crate::table::timed;

/// Before they are compared for good.
const TRIALS: usize = 5;

/// As many sessions as one user has at a gateway by the chart's own values.
pub(crate) const SESSIONS: &str = "256";

const POD: &str = "apiVersion: v1
kind: Pod
metadata: { name: bench, namespace: shop }
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: app
      image: localhost/nsdebug/target-app:1
      imagePullPolicy: Never
      command: [/target-app]
      args: [serve]
";

pub(crate) struct Stage {
    pub(crate) cluster: SharedCluster,
    kubectl: PathBuf,
}

impl Stage {
    /// None where it has to be left out.
    pub(crate) fn set() -> Option<Self> {
        let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kubectl");
        let needed = [
            Cluster::requirement(Version::chosen()),
            Cluster::installation_requirement(),
            Requirement::program(released.to_str().expect("a plain path")),
        ];
        if skip(needed) {
            return None;
        }
        let cluster = Cluster::alone();
        let limits = ["agent.maxSessions", "agent.maxSessionsPerUser"];
        let [node, user] = limits.map(|limit| format!("{limit}={SESSIONS}"));
        let processes = "allSessions.pids=66048".to_owned();
        cluster.install(&[&node, &user, &processes]);
        let manifest = cluster.path().join("bench.yaml");
        std::fs::write(&manifest, POD).expect("a file in the cluster's folder");
        cluster.kubectl(&["apply", "-f", manifest.to_str().expect("text")]).expect_success();
        let ready = ["wait", "-n", "shop", "--for=condition=Ready", "pod/bench", "--timeout=60s"];
        cluster.kubectl(&ready).expect_success();
        let together = cluster.path().join("bin/kubectl");
        let mut stage = Self { cluster, kubectl: together.clone() };
        stage.kubectl = inside(stage.cluster.pid(), || stage.faster([released, together]));
        println!("kubectl is {}", stage.kubectl.display());
        Some(stage)
    }

    /// Which of them has the shorter best time.
    fn faster(&self, kubectls: [PathBuf; 2]) -> PathBuf {
        let best = |kubectl: &PathBuf| -> Duration {
            let mut exec = || succeed(self.exec_by(kubectl, &[], &["exit", "0"]));
            (0..TRIALS).map(|_| timed(&mut exec)).min().expect("some trials")
        };
        kubectls.into_iter().min_by_key(best).expect("two of them")
    }

    /// `kubectl`, as the cluster's administrator; only on the cluster's node.
    pub(crate) fn kubectl(&self) -> Command {
        self.administrator(Command::new(&self.kubectl))
    }

    /// `kubectl exec` of the pod's own program.
    pub(crate) fn exec(&self, flags: &[&str], words: &[&str]) -> Command {
        self.exec_by(&self.kubectl, flags, words)
    }

    /// The plugin, running `command` in the pod.
    pub(crate) fn nsdebug(&self, flags: &[&str], command: &[&str]) -> Command {
        let mut plugin = self.administrator(plugin());
        plugin.args(flags).args(["-n", "shop", "pod/bench", "--"]).args(command);
        plugin
    }

    fn exec_by(&self, kubectl: &Path, flags: &[&str], words: &[&str]) -> Command {
        let mut exec = self.administrator(Command::new(kubectl));
        exec.arg("exec").args(flags).args(["-n", "shop", "bench", "--", "/target-app"]).args(words);
        exec
    }

    fn administrator(&self, mut command: Command) -> Command {
        command.env("KUBECONFIG", self.cluster.path().join("kubeconfig/admin"));
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The cluster may be one that stays.
        self.cluster.kubectl(&["delete", "pod", "-n", "shop", "bench", "--wait=false"]);
    }
}

/// Run to a good end, with nothing on the streams.
pub(crate) fn succeed(mut command: Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("the program starts");
    assert!(status.success(), "{status}: {command:?}");
}
