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
mod located;
mod record;
mod task;

use std::future::Future;

use wire::{ContainerPrefix, Label, ObjectName};

pub use containerd::Containerd;
pub use error::{LocateError, Shortlist, Unreachable};
pub use located::{Located, PodIdentity};
pub use task::TaskState;

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
