//! The servers of a cluster: how each is started, stopped and started again on the same state.

use std::process::Command;
use std::time::Duration;

use super::Cluster;
use super::layout::{Layout, NODE_ADDRESS, NODE_NAME, POD_ADDRESSES, SERVICE_ADDRESSES};
use super::{launch, programs::Built};
use crate::containerd::{Version, path_with};
use crate::process::Process;

/// As long as the slowest of them, the API server, gives its clients.
const END_LIMIT: Duration = Duration::from_secs(10);
const ETCD: &str = "http://127.0.0.1:2379";

/// One server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    Containerd,
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Kubelet,
    Proxy,
}

impl Daemon {
    /// As its program is called, and its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
        }
    }

    fn command(self, layout: &Layout, version: Version) -> Command {
        if self == Self::Containerd {
            let program = version.program("containerd");
            let mut command = Command::new(&program);
            command.arg("--config").arg(layout.path("containerd/config.toml"));
            // The shim of the same version lies beside it.
            command.env("PATH", path_with(program.parent().expect("a program lies in a folder")));
            return command;
        }
        let mut command = Command::new(Built::Kubernetes.folder().join(self.name()));
        command.args(self.flags(layout)).env("PATH", path_with(&layout.path("bin")));
        command
    }

    fn flags(self, layout: &Layout) -> Vec<String> {
        match self {
            Self::Containerd => Vec::new(),
            Self::Etcd => etcd(layout),
            Self::ApiServer => api_server(layout),
            Self::ControllerManager => controller_manager(layout),
            Self::Scheduler => scheduler(layout),
            Self::Kubelet => kubelet(layout),
            Self::Proxy => proxy(layout),
        }
    }
}

impl Cluster {
    /// Start a server on the state that is there.
    pub fn start_daemon(&self, daemon: Daemon) {
        let command = self.holder.enter(&daemon.command(&self.layout, self.version));
        launch::start(&self.layout, daemon.name(), &command);
    }

    /// Ask a server to end, and insist.
    pub fn stop_daemon(&self, daemon: Daemon) {
        if let Some(process) = self.process_of(daemon) {
            process.end(END_LIMIT);
        }
    }

    pub fn restart_daemon(&self, daemon: Daemon) {
        self.stop_daemon(daemon);
        self.start_daemon(daemon);
    }

    /// The process of a server that runs.
    pub fn process_of(&self, daemon: Daemon) -> Option<Process> {
        let process = Process::open(launch::pid(&self.layout, daemon.name())?)?;
        // The number may be another's by now.
        (self.holder.contains(process.pid()) && !process.wait(Duration::ZERO)).then_some(process)
    }

    /// The end of what a server wrote.
    pub fn log(&self, daemon: Daemon) -> String {
        launch::log(&self.layout, daemon.name())
    }
}

/// Flags from lines of `name=value`, with `@/` for the cluster's folder.
fn flags(layout: &Layout, lines: &[&str]) -> Vec<String> {
    let folder = layout.text("");
    lines.iter().map(|line| format!("--{}", line.replace("@/", &folder))).collect()
}

fn etcd(layout: &Layout) -> Vec<String> {
    let mut all = flags(layout, &["data-dir=@/etcd", "unsafe-no-fsync", "log-level=warn"]);
    for name in ["listen-client-urls", "advertise-client-urls"] {
        all.push(format!("--{name}={ETCD}"));
    }
    all.push("--listen-peer-urls=http://127.0.0.1:2380".to_owned());
    all
}

fn api_server(layout: &Layout) -> Vec<String> {
    let mut all = flags(
        layout,
        &[
            "client-ca-file=@/certificates/ca.pem",
            "tls-cert-file=@/certificates/apiserver.pem",
            "tls-private-key-file=@/certificates/apiserver.key",
            "kubelet-certificate-authority=@/certificates/ca.pem",
            "kubelet-client-certificate=@/certificates/apiserver-kubelet-client.pem",
            "kubelet-client-key=@/certificates/apiserver-kubelet-client.key",
            "kubelet-preferred-address-types=InternalIP",
            "service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "service-account-key-file=@/certificates/service-accounts.pem",
            "service-account-signing-key-file=@/certificates/service-accounts.key",
            "authorization-mode=Node,RBAC",
            "enable-admission-plugins=NodeRestriction",
            "allow-privileged=true",
            "requestheader-client-ca-file=@/certificates/front-proxy-ca.pem",
            "requestheader-allowed-names=front-proxy-client",
            "requestheader-username-headers=X-Remote-User",
            "requestheader-uid-headers=X-Remote-Uid",
            "requestheader-group-headers=X-Remote-Group",
            "requestheader-extra-headers-prefix=X-Remote-Extra-",
            "proxy-client-cert-file=@/certificates/front-proxy-client.pem",
            "proxy-client-key-file=@/certificates/front-proxy-client.key",
            // To the pods of an aggregated API one by one, as Services may have no rules here yet.
            "enable-aggregator-routing=true",
            "audit-policy-file=@/node/audit.yaml",
            "audit-log-path=@/audit.log",
            // A line is there before its answer is.
            "audit-log-mode=blocking",
            "profiling=false",
        ],
    );
    all.push(format!("--etcd-servers={ETCD}"));
    all.push(format!("--advertise-address={NODE_ADDRESS}"));
    all.push(format!("--service-cluster-ip-range={SERVICE_ADDRESSES}"));
    all
}

fn controller_manager(layout: &Layout) -> Vec<String> {
    let mut all = flags(
        layout,
        &[
            "kubeconfig=@/kubeconfig/controller-manager",
            "authentication-kubeconfig=@/kubeconfig/controller-manager",
            "authorization-kubeconfig=@/kubeconfig/controller-manager",
            "root-ca-file=@/certificates/ca.pem",
            "cluster-signing-cert-file=@/certificates/ca.pem",
            "cluster-signing-key-file=@/certificates/ca.key",
            "service-account-private-key-file=@/certificates/service-accounts.key",
            "use-service-account-credentials=true",
            "allocate-node-cidrs=true",
            "leader-elect=false",
        ],
    );
    all.push(format!("--cluster-cidr={POD_ADDRESSES}"));
    all
}

fn scheduler(layout: &Layout) -> Vec<String> {
    let lines = [
        "kubeconfig=@/kubeconfig/scheduler",
        "authentication-kubeconfig=@/kubeconfig/scheduler",
        "authorization-kubeconfig=@/kubeconfig/scheduler",
        "leader-elect=false",
    ];
    flags(layout, &lines)
}

fn kubelet(layout: &Layout) -> Vec<String> {
    let lines =
        ["config=@/node/kubelet.yaml", "kubeconfig=@/kubeconfig/kubelet", "root-dir=@/kubelet"];
    let mut all = flags(layout, &lines);
    all.push(format!("--hostname-override={NODE_NAME}"));
    all.push(format!("--node-ip={NODE_ADDRESS}"));
    all
}

fn proxy(layout: &Layout) -> Vec<String> {
    let lines = [
        "kubeconfig=@/kubeconfig/proxy",
        "proxy-mode=nftables",
        // These are the machine's, not a network namespace's.
        "conntrack-max-per-core=0",
        "conntrack-tcp-timeout-established=0",
        "conntrack-tcp-timeout-close-wait=0",
    ];
    let mut all = flags(layout, &lines);
    all.push(format!("--cluster-cidr={POD_ADDRESSES}"));
    all.push(format!("--hostname-override={NODE_NAME}"));
    all
}
