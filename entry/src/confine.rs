//! From a helper that holds everything to a process that may be seen: into the session's root, to
//! what the session may hold, and no way back.
//!
//! All of it is done before a process of ours is where the target's processes can see it. What may
//! trace there would otherwise take over a process with every privilege of the node.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

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

/// How many users a session names whose processes it cannot look into: a person reads no more.
const MOST_UNSEEN: usize = 8;

/// How often, and after how long, it is looked again for who holds too much: what a runtime starts in the target, for
/// `kubectl exec` or a probe, has all power there for some milliseconds, and is no reason to refuse a session.
const LOOKS: usize = 4;
const ON_ITS_WAY: Duration = Duration::from_millis(25);

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
    let mut again = LOOKS;
    let (survey, held) = loop {
        let survey = Survey::take(&users, &sessions).during(Step::Survey)?;
        match choose_capabilities(limits, own, &survey) {
            Ok(held) => break (survey, held),
            Err(failure) if again == 0 => return Err(failure),
            Err(_) => {}
        }
        again -= 1;
        std::thread::sleep(ON_ITS_WAY);
    };
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
    let Confinement { profile, host_targets, gained, unshared, .. } = limits;
    if let Some(id) = unshared.iter().find(|id| survey.ids.contains(id)) {
        let path = Some(id.to_string().into());
        return Err(Failure { step: Step::NotAlone, errno: 0, path });
    }
    if survey.can_trace() && !host_targets {
        let path = survey.tracer.clone().map(Into::into);
        return Err(Failure { step: Step::Traceable, errno: 0, path });
    }
    let held = profile.capabilities().union(*gained).intersection(own);
    match survey.canary(own) {
        Some(canary) => Ok(held.with(canary)),
        // A process there holds everything. A caller who may enter that has been told what it means.
        None if *host_targets => Ok(held),
        None => Err(Failure { step: Step::NoCanary, errno: 0, path: None }),
    }
}

/// Users of processes that a tool cannot look into, though its profile is for that.
fn unseen(limits: &Confinement, held: Capabilities, survey: &Survey) -> Vec<u32> {
    if !limits.profile.looks_into_processes() {
        return Vec::new();
    }
    let closed = survey.lookings.iter().filter(|one| !one.is_open_to(limits.who.uid, held));
    let owners: BTreeSet<_> = closed.map(|one| one.owner).collect();
    owners.into_iter().take(MOST_UNSEEN).collect()
}
