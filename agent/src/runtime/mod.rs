//! From what a person calls a container to the process that is its init.
//!
//! The seam between sessions and whatever runs the containers: sessions know [`ContainerRuntime`],
//! tests decorate it, and [`Containerd`] is the one that exists. Nothing here opens a process: the
//! pid is a number until `entry` holds it, which is why [`ContainerRuntime::confirm`] exists.

mod choose;
mod containerd;
mod declared;
mod error;
mod filter;
mod record;

use std::future::Future;

use entry::{Declared, Moment};
use wire::{ContainerPrefix, Label, ObjectName};

use crate::tools::Tools;

pub use containerd::Containerd;
pub use error::{LocateError, Shortlist, Unreachable};
pub use record::{PodIdentity, TaskState};

/// Which container is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// By a unique beginning of its ID, in one containerd namespace or in all of them.
    Container { prefix: ContainerPrefix, namespace: Option<String> },
    /// By its pod; without a name, the pod's first running container.
    Pod {
        namespace: Label,
        name: ObjectName,
        container: Option<Label>,
        containerd_namespace: Option<String>,
        /// The API server has said that this pod is on this node, and has a container of this name.
        declared: bool,
    },
}

/// A running container, as its runtime describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub id: String,
    /// containerd's namespace, not a Kubernetes one.
    pub namespace: String,
    /// Its init, in the pid namespace of the runtime. Only a number: confirm it once it is held.
    pub pid: u32,
    /// Before the runtime was asked for that.
    pub asked: Moment,
    /// `linux.cgroupsPath` of the OCI spec.
    pub cgroup: Option<String>,
    /// What else of the OCI spec may make it worth its node; none where that cannot be read.
    pub declared: Option<Declared>,
    /// The shim that runs it, such as `io.containerd.runc.v2`.
    pub runtime: String,
    /// The program that the shim was told to use, where that is not `runc`.
    pub program: Option<String>,
    pub pod: Option<PodIdentity>,
    /// This is the sandbox of a pod, and stands in for what does not run: in words.
    pub stands_in_for: Option<String>,
}

/// Shims whose task is the container's own process, on the node's own kernel.
const PLAIN: [&str; 3] =
    ["io.containerd.runc.v2", "io.containerd.runc.v1", "io.containerd.runtime.v1.linux"];

/// Programs that such a shim can be given and that put a kernel of their own between.
const SANDBOXING: [&str; 2] = ["runsc", "kata"];

impl Located {
    /// Checks that the process is the container's, and not of a virtual machine or user-space kernel
    /// that only has the container inside: entering that would show the node.
    pub fn check_runtime(&self) -> Result<(), LocateError> {
        let program = self.program.as_deref().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or(program);
        let sandboxing = SANDBOXING.iter().any(|known| name.starts_with(known));
        if PLAIN.contains(&self.runtime.as_str()) && !sandboxing {
            return Ok(());
        }
        let runtime = if sandboxing { name } else { &self.runtime };
        Err(LocateError::OtherRuntime {
            container: format!("{}/{}", self.namespace, self.id),
            runtime: runtime.escape_debug().to_string(),
        })
    }

    /// What a person should know before the output of a tool with such `tools`, or nothing. `waiting` says
    /// why the container does not run, where that is known.
    #[must_use]
    pub fn note(&self, tools: Tools, waiting: Option<&str>) -> Option<String> {
        let what = self.stands_in_for.as_ref()?;
        let waiting = waiting.map_or_else(String::new, |why| format!(" ({})", why.escape_debug()));
        let otherwise = match tools {
            Tools::Host => "; processes and files are the node's",
            Tools::Toolbox => ", without its processes and files",
        };
        Some(format!(
            "{what}{waiting}: in the network, ipc and uts namespaces of its pod{otherwise}"
        ))
    }
}

/// What sessions need of the program that runs the containers.
pub trait ContainerRuntime: Send + Sync + 'static {
    /// Finds the one running container that `query` means.
    fn locate(&self, query: &Query) -> impl Future<Output = Result<Located, LocateError>> + Send;

    /// Asks again whether `located` still runs as the same process.
    ///
    /// To be called once a process is held that may be younger than [`Located::asked`]: a pid that was
    /// reused in between is caught here.
    fn confirm(&self, located: &Located) -> impl Future<Output = Result<(), LocateError>> + Send;

    /// The runtime's name and version, which proves that it answers.
    fn probe(&self) -> impl Future<Output = Result<String, LocateError>> + Send;
}
