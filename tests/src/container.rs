//! A container as containerd runs it, without Kubernetes: made by `ctr`, ended and removed when dropped.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::containerd::Containerd;
use crate::image::{APP_IMAGE, APP_PATH};
use crate::network::{connects, raise_loopback};
use crate::process::{Process, all_pids};
use crate::wait::until;

/// A static server listens within milliseconds.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// Where the application serves unless told otherwise.
pub(crate) const PORT: u16 = 8080;

/// Which ids of the node the container's ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    pub first_on_node: u32,
    pub count: u32,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct RunSpec {
    id: String,
    namespace: String,
    arguments: Vec<String>,
    options: Vec<String>,
}

impl RunSpec {
    /// The application as a server on port 8080, in namespaces of its own.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            namespace: "default".to_owned(),
            arguments: vec!["serve".to_owned()],
            options: Vec::new(),
        }
    }

    /// Which of containerd's namespaces: `default`, `k8s.io` and `moby` have the image.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// What the application gets: see its usage in `apps/target_app.rs`.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    #[must_use]
    pub fn label(self, name: &str, value: &str) -> Self {
        self.option(&["--label", &format!("{name}={value}")])
    }

    #[must_use]
    pub fn host_network(self) -> Self {
        self.option(&["--net-host"])
    }

    #[must_use]
    pub fn host_pid(self) -> Self {
        // Opened by runc, which is in the node's; the first process may be closed even to root.
        self.option(&["--with-ns", "pid:/proc/self/ns/pid"])
    }

    #[must_use]
    pub fn privileged(self) -> Self {
        self.option(&["--privileged"])
    }

    /// In a user namespace of its own.
    #[must_use]
    pub fn user_namespace(self, map: IdMap) -> Self {
        let map = format!("0:{}:{}", map.first_on_node, map.count);
        self.option(&["--uidmap", &map, "--gidmap", &map])
    }

    /// Any option of `ctr run`.
    #[must_use]
    pub fn option(mut self, words: &[&str]) -> Self {
        self.options.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    fn port(&self) -> Option<u16> {
        let given = self.arguments.iter().find_map(|argument| argument.strip_prefix("port="));
        let serves = self.arguments.iter().any(|word| word == "serve");
        serves.then(|| given.map_or(PORT, |port| port.parse().expect("a port is a number")))
    }
}

/// See the module.
#[derive(Debug)]
#[must_use = "the container ends when this is dropped"]
pub struct Container<'c> {
    containerd: &'c Containerd,
    id: String,
    namespace: String,
    pid: u32,
}

impl<'c> Container<'c> {
    pub(crate) fn run(containerd: &'c Containerd, spec: &RunSpec) -> Self {
        let pid_file = containerd.path().join(format!("{}-{}.pid", spec.namespace, spec.id));
        let mut container = Self::named(containerd, spec);
        let cgroup = format!("{}/{}", containerd.cgroup(), spec.id);
        let pid_file_text = pid_file.to_str().expect("a plain path");
        // runc would keep its notes by name in a place that all containerds of the node share.
        let runc_root = containerd.path().join("runc");
        let runc_root = runc_root.to_str().expect("a plain path");
        let mut options = vec!["--detach", "--null-io", "--cgroup", &cgroup];
        options.extend(["--runc-root", runc_root, "--pid-file", pid_file_text]);
        container.ctr_with_image("run", &options, spec);
        let pid = std::fs::read_to_string(&pid_file).expect("ctr wrote the process number");
        container.pid = pid.trim().parse().expect("a process number");
        raise_loopback(container.pid);
        if let Some(port) = spec.port() {
            let what = format!("container {} to listen on port {port}", spec.id);
            until(&what, READY_LIMIT, || connects(container.pid, port));
        }
        container
    }

    pub(crate) fn create(containerd: &'c Containerd, spec: &RunSpec) -> Self {
        let container = Self::named(containerd, spec);
        container.ctr_with_image("containers create", &[], spec);
        container
    }

    fn named(containerd: &'c Containerd, spec: &RunSpec) -> Self {
        let RunSpec { id, namespace, .. } = spec.clone();
        Self { containerd, id, namespace, pid: 0 }
    }

    fn ctr_with_image(&self, command: &str, options: &[&str], spec: &RunSpec) {
        let mut ctr = self.containerd.ctr_command(&self.namespace);
        ctr.args(command.split(' ')).args(options).args(&spec.options);
        ctr.args([APP_IMAGE, &self.id, APP_PATH]).args(&spec.arguments);
        crate::run(&mut ctr).expect_success();
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its first process, as the node numbers it; 0 when it was never started.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The inode of one of its namespaces: `net`, `pid`, …
    pub fn namespace_of(&self, kind: &str) -> String {
        namespace_link(self.pid, kind).expect("the container runs")
    }

    /// Every process of the node that is in the container's pid namespace.
    pub fn processes(&self) -> BTreeSet<u32> {
        let ours = namespace_link(self.pid, "pid");
        let inside = |pid: &u32| ours.is_some() && namespace_link(*pid, "pid") == ours;
        all_pids().into_iter().filter(inside).collect()
    }

    /// End its first process, and so all of it; the container itself stays, stopped.
    pub fn stop(&self) {
        let Some(process) = Process::open(self.pid) else { return };
        self.containerd.ctr(&self.namespace, &["task", "kill", "--signal", "SIGKILL", &self.id]);
        assert!(process.wait(READY_LIMIT), "container {} does not die", self.id);
        until("containerd to notice", READY_LIMIT, || self.status().as_deref() == Some("STOPPED"));
    }

    /// `RUNNING`, `STOPPED`, …: what containerd says of its task.
    pub fn status(&self) -> Option<String> {
        let tasks = self.containerd.ctr(&self.namespace, &["task", "ls"]).out();
        let mut lines = tasks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|words| words.first() == Some(&self.id.as_str()))?;
        line.get(2).map(|&status| status.to_owned())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // A failure here is repeated by the scratch folder's end, which removes whatever is there.
        for command in ["task delete --force", "containers delete"] {
            let mut ctr = self.containerd.ctr_command(&self.namespace);
            crate::run(ctr.args(command.split(' ')).arg(&self.id));
        }
    }
}

pub(crate) fn namespace_link(pid: u32, kind: &str) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}
