//! A Kubernetes of one node, with everything but the machine real: etcd, API server, controllers, scheduler,
//! kubelet, proxy, containerd and name server, in a network and a mount namespace of their own.
//!
//! No packet leaves it, and this machine's links, routes, rules and mounts stay as they are. Everything of it is in
//! one folder, one pair of namespaces and one control group, by which it is found and removed.

mod api;
mod authority;
mod daemon;
mod holder;
mod images;
mod install;
mod kubeconfig;
mod launch;
mod layout;
mod person;
mod programs;
mod reverse_proxy;
mod start;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::containerd::Version;
use crate::requirement::Requirement;
use crate::running::{Finished, Running, run};
use crate::scratch::Scratch;
use crate::wait::until;
use crate::{cgroup, node};
use holder::Holder;
use layout::Layout;

pub use daemon::Daemon;
pub use images::DISTROLESS_IMAGE;
pub use install::RELEASE;
pub use person::{Person, Right};
pub(crate) use programs::built_helm;
pub use reverse_proxy::ReverseProxy;

/// Names the folder of a cluster that runs, to be used by tests instead of one of their own.
const CLUSTER_VARIABLE: &str = "NSDEBUG_CLUSTER";

/// A cluster starts in half a minute; on a machine that does other things too, in two.
const KEEPER_LIMIT: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Debug)]
#[must_use = "the cluster ends when this is dropped, unless it is a detached one"]
pub struct Cluster {
    layout: Layout,
    version: Version,
    holder: Holder,
    /// Only of one that ends with this value.
    scratch: Option<Scratch>,
}

impl Cluster {
    /// What has to be there for a cluster on this containerd.
    pub fn requirement(version: Version) -> Requirement {
        programs::requirement(version)
    }

    /// The one that all tests of this process use, beside others who look at it. It ends with the process, however
    /// that ends; the one that `NSDEBUG_CLUSTER` names stays.
    pub fn shared() -> SharedCluster {
        let turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
        SharedCluster { cluster: of_this_process(), _turn: Turn::Beside(turn) }
    }

    /// The same, while nobody else looks at it: for a test that changes something, and changes it back.
    pub fn alone() -> SharedCluster {
        let turn = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        SharedCluster { cluster: of_this_process(), _turn: Turn::Alone(turn) }
    }

    /// One of the test's own.
    pub fn start(version: Version) -> Self {
        Self::start_in(Scratch::new(), version, &|_| {})
    }

    /// In a scratch folder of the caller's: one on a quiet node, for instance. `say` hears of each step.
    pub fn start_in(scratch: Scratch, version: Version, say: &dyn Fn(&str)) -> Self {
        let layout = Layout::of(scratch.path());
        Self::bring_up(layout, version, Some(scratch), say)
    }

    /// One that outlives this process: it ends by [`Cluster::end`].
    pub fn start_detached(folder: &Path, version: Version, say: &dyn Fn(&str)) -> Self {
        std::fs::create_dir_all(folder).expect("a folder for the cluster can be made");
        Self::bring_up(Layout::of(folder), version, None, say)
    }

    fn bring_up(
        layout: Layout,
        version: Version,
        scratch: Option<Scratch>,
        say: &dyn Fn(&str),
    ) -> Self {
        let holder = start::prepare(&layout, version);
        let cluster = Self { layout, version, holder, scratch };
        start::start(&cluster, say);
        cluster
    }

    /// The one that runs in a folder; dropping this value leaves it running.
    pub fn running(folder: &Path) -> Option<Self> {
        let holder = Holder::recorded(folder).filter(Holder::runs)?;
        let version = start::version_of(folder)?;
        Some(Self { layout: Layout::of(folder), version, holder, scratch: None })
    }

    /// End the cluster of a folder, or what is left of it, and remove the folder.
    pub fn end(folder: &Path) {
        if start::version_of(folder).is_none() {
            // Nothing of ours: what else may be in there is not for us to remove.
            return;
        }
        take_down(folder);
        // What cannot be removed is said by the test that looks for it.
        let _ = std::fs::remove_dir_all(folder);
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// The folder that everything of this cluster lies in.
    pub fn path(&self) -> &Path {
        self.layout.folder()
    }

    /// containerd's socket, by its path on this machine; in the cluster it is also where everybody expects it.
    pub fn socket(&self) -> PathBuf {
        self.layout.path("containerd/containerd.sock")
    }

    /// The control group that every pod of this cluster lies in.
    pub fn cgroup(&self) -> String {
        format!("/{}", self.layout.name())
    }

    /// A process in the namespaces of the cluster's node: for [`crate::inside`], for instance.
    pub fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// What the API server wrote down so far, a JSON object a line.
    pub fn audit_log(&self) -> String {
        std::fs::read_to_string(self.layout.path("audit.log")).unwrap_or_default()
    }

    /// A program on the cluster's node, to be given arguments. `kubectl`, `helm`, `ctr`, `nsdebug-agent` and
    /// `kubectl-nsdebug` are in its `PATH`; it is the cluster's administrator.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.layout.path("in"));
        command.arg(program);
        // The user who runs the tests may have set some of ours for their own use.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("NSDEBUG_") {
                command.env_remove(variable);
            }
        }
        command
    }

    /// Run `kubectl` to its end.
    pub fn kubectl(&self, arguments: &[&str]) -> Finished {
        run(self.command("kubectl").args(arguments))
    }

    /// A kubeconfig, for `--kubeconfig`, of a user with a certificate and no right that nobody gave them.
    pub fn user(&self, user: &str, group: &str) -> PathBuf {
        authority::make_user(&self.layout.path("certificates"), user, user, group);
        kubeconfig::write(&self.layout, user);
        self.layout.path(&format!("kubeconfig/{user}"))
    }

    /// The certificate or key of this name: `ca.pem`, `front-proxy-client.key`, …
    pub fn certificate(&self, file: &str) -> PathBuf {
        self.layout.path(&format!("certificates/{file}"))
    }

    /// Put the images of an archive where the kubelet finds them.
    pub fn load_image(&self, archive: &Path) {
        images::load(&self.layout, self.version, archive);
    }

    /// The first process of a pod's container, as the machine numbers it; the first container's without a name.
    pub fn pid_of(&self, namespace: &str, pod: &str, container: Option<&str>) -> u32 {
        let found = container.map_or_else(
            || "{.status.containerStatuses[0].containerID}".to_owned(),
            |name| format!("{{.status.containerStatuses[?(@.name==\"{name}\")].containerID}}"),
        );
        let path = format!("jsonpath={found}");
        let id = self.kubectl(&["get", "pod", "-n", namespace, pod, "-o", &path]).expect_success();
        let id = id.out().trim().trim_start_matches("containerd://").to_owned();
        let tasks = run(images::ctr(&self.layout, self.version).args(["task", "ls"]));
        let tasks = tasks.expect_success().out();
        let line = tasks.lines().find(|line| line.starts_with(&id) && !id.is_empty());
        let pid = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        pid.unwrap_or_else(|| panic!("{namespace}/{pod} does not run; what does:\n{tasks}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.scratch.is_some() {
            take_down(self.layout.folder());
        }
    }
}

/// End everything of the cluster in `folder`, if there is one.
pub(crate) fn take_down(folder: &Path) {
    let Some(holder) = Holder::recorded(folder) else { return };
    // The kubelet first: it would start again what is killed.
    if let Some(kubelet) = launch::pid(&Layout::of(folder), Daemon::Kubelet.name())
        .and_then(crate::process::Process::open)
        .filter(|process| holder.contains(process.pid()))
    {
        kubelet.signal(rustix::process::Signal::KILL);
    }
    holder.end();
    cgroup::remove(&Layout::of(folder).name());
    node::unmount_below(folder);
}

/// The cluster of this process, for the time of one test.
#[derive(Debug)]
#[must_use = "the next test has its turn when this is dropped"]
pub struct SharedCluster {
    cluster: &'static Cluster,
    _turn: Turn,
}

#[derive(Debug)]
#[expect(dead_code, reason = "the guards are held, not looked at")]
enum Turn {
    Beside(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

static TURNS: RwLock<()> = RwLock::new(());

impl Deref for SharedCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

fn of_this_process() -> &'static Cluster {
    static CLUSTER: OnceLock<(Option<Running>, Cluster)> = OnceLock::new();
    let started = || {
        let named = std::env::var_os(CLUSTER_VARIABLE).map(PathBuf::from);
        let (keeper, folder) = named.map_or_else(
            || {
                let (keeper, folder) = keep();
                (Some(keeper), folder)
            },
            |folder| (None, folder),
        );
        let cluster = Cluster::running(&folder);
        (keeper, cluster.unwrap_or_else(|| panic!("no cluster runs in {}", folder.display())))
    };
    &CLUSTER.get_or_init(started).1
}

/// Start a cluster that ends with this process: its keeper waits for the end of a pipe, which the kernel closes for
/// us however we end. A value in a `static` is never dropped.
fn keep() -> (Running, PathBuf) {
    let keeper = Running::start(crate::programs::cluster().arg("keep"));
    until("a cluster", KEEPER_LIMIT, || keeper.stdout().ends_with('\n') || keeper.has_ended());
    let folder = keeper.stdout().trim().to_owned();
    assert!(!folder.is_empty(), "no cluster: {}", keeper.stderr());
    (keeper, PathBuf::from(folder))
}
