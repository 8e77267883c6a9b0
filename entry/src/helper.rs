//! The helper: one thread, one job, no way back. It joins, forks the supervisor, and reaps it.
//!
//! It stays outside of the target's pid namespace, so that the supervisor is reaped at once whatever
//! the agent is doing: an un-reaped process of ours would keep the container's init from exiting.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{
    DumpableBehavior, PidfdFlags, getppid, pidfd_open, set_dumpable_behavior, setsid,
};
use rustix::thread::{move_into_thread_name_spaces, set_name};

use crate::confine::confine;
use crate::ipc::Connection;
use crate::message::{During, Failure, FromSession, Step, ToHelper};
use crate::plan::Plan;
use crate::root::{self, Assembled, Processes};
use crate::spawn::{CONTROL, SESSION_NAME};
use crate::supervisor;
use crate::sys::{self, Alone, Forked};

/// What the helper is to do.
pub(crate) struct Order {
    pub(crate) plan: Plan,
    pub(crate) target: OwnedFd,
}

/// Runs the helper. To be called first thing in `main` when the first argument is
/// [`crate::HELPER_ARG`]: before any thread, allocation of note, or read of the environment.
#[must_use]
pub fn helper_main() -> ExitCode {
    // Before anything else is looked at: from here on nobody without SYS_PTRACE looks in.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let Ok(agent) = sys::close_from(CONTROL + 1).and_then(|()| sys::inherited(CONTROL)) else {
        return ExitCode::FAILURE; // not started by an agent: there is nobody to tell
    };
    let agent = Connection::from(agent);
    let parent = getppid();
    match enter(&agent) {
        Ok(Some(supervisor)) => {
            // The supervisor's copy is the only one now: its death is seen at the other end.
            drop(agent);
            outlive(supervisor, parent)
        }
        // A spare one that was not needed.
        Ok(None) => ExitCode::SUCCESS,
        Err(failure) => {
            // An agent that is gone no longer wants to know.
            let _ = agent.send(&FromSession::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

/// Waits to be needed and does the irreversible half. The supervisor never returns from here.
fn enter(agent: &Connection) -> Result<Option<Pid>, Failure> {
    let alone = sanitise()?;
    let Some(order) = read_order(agent)? else { return Ok(None) };
    let mut root = join(&order, &alone)?;
    if let (Some(limits), false) = (&order.plan.confinement, order.plan.needs_own_pids()) {
        // From the fork on, others can see us.
        root.take().map(|root| confine(limits, root, Processes::Joined)).transpose()?;
    }
    match sys::fork(&alone).during(Step::ForkSupervisor)? {
        Forked::Child => supervisor::run(&order, root, agent, &alone),
        Forked::Parent { child } => Ok(Some(child)),
    }
}

fn sanitise() -> Result<Alone, Failure> {
    // Away from the caller's terminal: its Ctrl-C is passed on by the agent, to the tool.
    setsid().during(Step::Sanitise)?;
    // Executed through a descriptor, it would be called by the number of that.
    set_name(SESSION_NAME).during(Step::Sanitise)?;
    Alone::prove().during(Step::Sanitise)
}

fn read_order(agent: &Connection) -> Result<Option<Order>, Failure> {
    let Some((ToHelper::Begin, [target, order])) = agent.take().during(Step::ReadOrder)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    File::from(order).read_to_end(&mut bytes).during(Step::ReadOrder)?;
    let plan = postcard::from_bytes(&bytes).map_err(io::Error::other).during(Step::ReadOrder)?;
    Ok(Some(Order { plan, target }))
}

/// Leaves the node's mount namespace and joins the target's others. What the node has of a confined
/// session's root is mounted before.
fn join(order: &Order, alone: &Alone) -> Result<Option<Assembled>, Failure> {
    let Order { plan, target } = order;
    sys::unshare_mounts(alone).during(Step::UnshareMounts)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).during(Step::MakePrivate)?;
    let confinement = plan.confinement.as_ref();
    let root = confinement.map(|limits| root::assemble(limits, target.as_fd())).transpose()?;
    let flags = plan.joins().flags();
    if !flags.is_empty() {
        move_into_thread_name_spaces(target.as_fd(), flags).during(Step::Join)?;
    }
    if plan.needs_own_pids() {
        sys::unshare_pids(alone).during(Step::UnsharePids)?;
    }
    Ok(root)
}

/// What a supervisor may take to end its tool when nobody is there any more to kill both.
const ORPHANED: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };

/// Reaps the supervisor, and ends it if our parent ends before: its own connection tells it as a rule, but a
/// tool can hold up the relay at the other end of that, and stop the supervisor.
///
/// Nothing here waits for a tool: see [`crate::message::ToSupervisor`].
fn outlive(supervisor: Pid, parent: Option<rustix::process::Pid>) -> ExitCode {
    // After the fork: what has a descriptor of the agent could do anything with it.
    let parents = parent.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let is_orphan = getppid() != parent;
    let theirs = rustix::process::Pid::from_raw(supervisor.as_raw())
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let (Some(parents), Some(theirs)) = (parents, &theirs) {
        let ended = PollFlags::IN;
        let mut ends = [PollFd::new(theirs, ended), PollFd::new(&parents, ended)];
        while !is_orphan && poll(&mut ends, None) == Err(rustix::io::Errno::INTR) {}
        if ends[0].revents().is_empty() {
            let _ = kill(supervisor, Signal::SIGTERM);
            let mut ends = [PollFd::new(theirs, ended)];
            if !poll(&mut ends, Some(&ORPHANED)).is_ok_and(|ended| ended > 0) {
                let _ = kill(supervisor, Signal::SIGKILL);
            }
        }
    }
    reap(supervisor)
}

/// The code is for whoever looks at the process table: the agent has it by message.
fn reap(supervisor: Pid) -> ExitCode {
    loop {
        match waitpid(supervisor, None) {
            Ok(WaitStatus::Exited(_, 0)) => return ExitCode::SUCCESS,
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => return ExitCode::FAILURE,
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(_) => return ExitCode::FAILURE,
        }
    }
}
