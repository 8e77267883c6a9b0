//! A container that was found, and the pod that it belongs to.

use std::fmt;

use entry::{Declared, Moment};

use super::error::LocateError;
use crate::tools::Tools;

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

/// The pod that a container belongs to, and its name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub container: String,
}

impl PodIdentity {
    /// The name of the container, and whose it is.
    #[must_use]
    pub fn with_container(&self) -> String {
        format!("{} of pod {self}", self.container.escape_debug())
    }
}

impl fmt::Display for PodIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace.escape_debug(), self.name.escape_debug())
    }
}
