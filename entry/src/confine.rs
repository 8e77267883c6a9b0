//! From a helper that holds everything to a process that may be seen: into the session's root, to
//! what the session may hold, and no way back.
//!
//! All of it is done before a process of ours is where the target's processes can see it. What may
//! trace there would otherwise take over a process with every privilege of the node.

use std::fs;

use crate::capability::Capabilities;
use crate::cgroup::Neighbours;
use crate::kind::{Kind, Kinds};
use crate::message::{During, Failure, Step};
use crate::namespaces::{self, Elsewhere};
use crate::plan::{Confinement, Plan};
use crate::privilege::{become_session, own_capabilities};
use crate::root::{self, Assembled, Processes};
use crate::survey::Survey;
use crate::sys::{self, Alone};

/// This process is then what the tool will be, in what the tool will see.
pub(crate) fn confine(
    plan: &Plan,
    root: Assembled,
    processes: Processes,
    elsewhere: &Elsewhere,
    alone: &Alone,
) -> Result<(), Failure> {
    let Some(limits) = &plan.confinement else { return Ok(()) };
    // Of the node's /proc, which is about to go.
    let users = fs::read_link("/proc/self/ns/user").during(Step::Survey)?;
    let namespaces = namespaces::own().during(Step::Apart)?;
    let sessions = Neighbours::own();
    root::enter(root, processes)?;
    let own = own_capabilities().during(Step::Survey)?;
    let survey = Survey::take(&users, &sessions).during(Step::Survey)?;
    let held = choose_capabilities(limits, own, survey)?;
    if plan.makes().contains(Kind::Cgroup) {
        // Only now: groups are told by their paths from the root of this one.
        sys::unshare_kinds(alone, Kinds::default().with(Kind::Cgroup)).during(Step::Unshare)?;
    }
    elsewhere.prove(&namespaces)?;
    become_session(limits.who, held).during(Step::DropCapabilities)
}

/// Its profile, and something that keeps its neighbours out.
fn choose_capabilities(
    limits: &Confinement,
    own: Capabilities,
    survey: Survey,
) -> Result<Capabilities, Failure> {
    let Confinement { profile, host_targets, .. } = limits;
    if survey.can_trace() && !host_targets {
        return Err(Failure { step: Step::Traceable, errno: 0, path: None });
    }
    let held = profile.capabilities().intersection(own);
    match survey.canary(own) {
        Some(canary) => Ok(held.with(canary)),
        // Somebody there holds everything. Who may enter that has been told what it means.
        None if *host_targets => Ok(held),
        None => Err(Failure { step: Step::NoCanary, errno: 0, path: None }),
    }
}
