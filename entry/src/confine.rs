//! From a helper that holds everything to a process that may be seen: into the session's root, to
//! what the session may hold, and no way back.
//!
//! All of it is done before a process of ours is where the target's processes can see it. What may
//! trace there would otherwise take over a process with every privilege of the node.

use std::fs;

use crate::capability::{Capabilities, Capability};
use crate::cgroup::Neighbours;
use crate::kind::{Kind, Kinds};
use crate::message::{During, Failure, Step};
use crate::namespaces::{self, Elsewhere};
use crate::plan::{Confinement, Plan};
use crate::privilege::{become_session, own_capabilities};
use crate::root::{self, Assembled, Processes};
use crate::survey::Survey;
use crate::sys::{self, Alone};

/// How many users a session names whose processes it cannot look into: a person reads no more.
const MOST_UNSEEN: usize = 8;

/// This process is then what the tool will be, in what the tool will see. Returns whose processes the tool
/// cannot look into, though its profile is for that.
pub(crate) fn confine(
    plan: &Plan,
    root: Assembled,
    processes: Processes,
    elsewhere: &Elsewhere,
    alone: &Alone,
) -> Result<Vec<u32>, Failure> {
    let Some(limits) = &plan.confinement else { return Ok(Vec::new()) };
    // Of the node's /proc, which is about to go.
    let users = fs::read_link("/proc/self/ns/user").during(Step::Survey)?;
    let namespaces = namespaces::own().during(Step::Apart)?;
    let sessions = Neighbours::own();
    root::enter(root, processes)?;
    let own = own_capabilities().during(Step::Survey)?;
    let survey = Survey::take(&users, &sessions).during(Step::Survey)?;
    let held = choose_capabilities(limits, own, &survey)?;
    let unseen = unseen(limits, held, &survey);
    if plan.makes().contains(Kind::Cgroup) {
        // Only now: groups are told by their paths from the root of this one.
        sys::unshare_kinds(alone, Kinds::default().with(Kind::Cgroup)).during(Step::Unshare)?;
    }
    elsewhere.prove(&namespaces)?;
    become_session(&limits.who, held).during(Step::DropCapabilities)?;
    Ok(unseen)
}

/// Its profile, and something that keeps its neighbours out.
fn choose_capabilities(
    limits: &Confinement,
    own: Capabilities,
    survey: &Survey,
) -> Result<Capabilities, Failure> {
    let Confinement { profile, host_targets, may_gain, .. } = limits;
    if survey.can_trace() && !host_targets {
        return Err(Failure { step: Step::Traceable, errno: 0, path: None });
    }
    // Over files it has what they have who are there, and never more.
    let gained = if survey.reads_all() { *may_gain } else { Capabilities::NONE };
    let held = profile.capabilities().union(gained).intersection(own);
    match survey.canary(own) {
        Some(canary) => Ok(held.with(canary)),
        // Somebody there holds everything. Who may enter that has been told what it means.
        None if *host_targets => Ok(held),
        None => Err(Failure { step: Step::NoCanary, errno: 0, path: None }),
    }
}

/// Users whose processes show their open files to nobody but them and who may read every file.
fn unseen(limits: &Confinement, held: Capabilities, survey: &Survey) -> Vec<u32> {
    let reads_all = [Capability::DacReadSearch, Capability::DacOverride];
    if !held.contains(Capability::SysPtrace) || reads_all.into_iter().any(|one| held.contains(one))
    {
        return Vec::new();
    }
    let others = survey.owners.iter().filter(|owner| **owner != limits.who.uid);
    others.copied().take(MOST_UNSEEN).collect()
}
