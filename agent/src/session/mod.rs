//! One session: from a located container to the last byte.
//!
//! Order is safety here. The process is held first and confirmed after, so that a pid that was
//! given away in between cannot be entered; nothing is answered before the tool runs.

mod ending;
mod error;
pub mod local;
mod policy;
mod pump;
mod relay;
mod running;
mod stdio;
mod streams;
mod watched;

pub use error::StartError;
pub use policy::{Choice, Policy, PolicyError};
pub use pump::{Finished, pump};
pub use running::Running;
pub use stdio::{Ends, Wanted};

use entry::{Plan, Request, Target};

use crate::runtime::{ContainerRuntime, Located};

/// Takes hold of the container's process, and makes sure that it is the container's.
pub async fn hold<R: ContainerRuntime>(
    runtime: &R,
    located: &Located,
) -> Result<Target, StartError> {
    let target = Target::open(located.pid)?;
    target.check_container(&located.id, located.cgroup.as_deref())?;
    runtime.confirm(located).await?;
    Ok(target)
}

/// What would be done to `target` for `request`.
pub fn plan(target: &Target, request: Request) -> Result<Plan, StartError> {
    Ok(Plan::new(request, &target.facts()?)?)
}
