//! The helper: one thread, one job, no way back. It joins, forks the supervisor, and reaps it.
//!
//! It stays outside of the target's pid namespace, so that the supervisor is reaped at once whatever
//! the agent is doing: an un-reaped process of ours would keep the container's init from exiting.

use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{
    DumpableBehavior, PidfdFlags, getppid, pidfd_open, set_dumpable_behavior, setsid,
};
use rustix::system::sethostname;
use rustix::thread::move_into_thread_name_spaces;

use crate::cgroup::Memory;
use crate::confine::confine;
use crate::ipc::Connection;
use crate::kind::Kind;
use crate::message::{During, Failure, FromSession, Step, ToHelper};
use crate::name::{self, CommandLine};
use crate::namespaces::Surroundings;
use crate::order::{Order, read_order};
use crate::plan::Plan;
use crate::rehearsal;
use crate::rings::{self, Broker, IdleBroker};
use crate::root::{self, Assembled, Parts, Processes};
use crate::seccomp;
use crate::spawn::CONTROL;
use crate::supervisor;
use crate::sys::{self, Alone, Forked};

/// The host name where nobody's was asked for.
const NAMELESS: &str = "localhost";

/// What the helper has when it has done its part.
struct Begun {
    supervisor: Pid,
    broker: Option<Broker>,
    signals: SignalFd,
}

/// Runs the helper. To be called first thing in `main` when the first argument is
/// [`crate::HELPER_ARG`]: before any thread, allocation of note, or read of the environment.
#[must_use]
pub fn helper_main() -> ExitCode {
    // Before anything else is looked at: from here on nobody without SYS_PTRACE looks in.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let Ok(agent) = sys::close_from(CONTROL + 1).and_then(|()| sys::inherited(CONTROL)) else {
        return ExitCode::FAILURE; // not started by an agent, so there is none to tell
    };
    let agent = Connection::from(agent);
    let parent = getppid();
    match enter(&agent) {
        Ok(Some(Begun { supervisor, broker, signals })) => {
            // The supervisor's copy is the only one now: its death is seen at the other end.
            drop(agent);
            let code = outlive(supervisor, parent, &signals);
            if let Some(broker) = broker {
                broker.end();
            }
            code
        }
        // A spare one that was not needed, or a rehearsal that has said what it found.
        Ok(None) => ExitCode::SUCCESS,
        Err(failure) => {
            // An agent that is gone no longer wants to know.
            let _ = agent.send(&FromSession::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

/// What a helper has done before it is needed.
#[derive(Debug)]
struct Ahead {
    surroundings: Surroundings,
    rings: IdleBroker,
    parts: Parts,
}

impl Ahead {
    /// To be done while nothing has been joined, and in the session's control group.
    fn of(alone: &Alone) -> Result<Self, Failure> {
        seccomp::prepare();
        let surroundings = Surroundings::now().during(Step::Apart)?;
        let rings = rings::open(alone)?;
        // After the broker is forked, which needs none of these.
        Ok(Self { surroundings, rings, parts: Parts::new()? })
    }
}

/// Waits to be needed and does the irreversible half. The supervisor never returns from here.
fn enter(agent: &Connection) -> Result<Option<Begun>, Failure> {
    let (alone, line) = sanitise()?;
    let Some(ordered) = wait(agent, &alone)? else { return Ok(None) };
    let Ordered { mut order, rings, ahead, is_rehearsal } = ordered;
    // A session with the node's own files is kept apart from nothing.
    let confinement = order.plan.confinement.as_ref();
    let ahead = confinement.and_then(|_| ahead.or_else(|| Some(Ahead::of(&alone)))).transpose()?;
    let (opened, prepared) = ahead
        .map(|Ahead { surroundings, rings, parts }| {
            (rings, (surroundings.elsewhere(&order.plan), parts))
        })
        .unzip();
    let (elsewhere, parts) = prepared.unzip();
    if is_rehearsal {
        drop(opened); // a broker that is told nothing ends
        let root = join(&mut order, parts, &alone)?.zip(elsewhere);
        return rehearsal::run(&order.plan, root, agent, &alone).map(|()| None);
    }
    let appoint = |(limits, opened): (_, IdleBroker)| opened.appoint(limits, rings);
    let (desk, mut broker) = confinement.zip(opened).map(appoint).transpose()?.unzip();
    let desk = desk.flatten();
    let mut root = join(&mut order, parts, &alone)?.zip(elsewhere);
    if !order.plan.needs_own_pids() {
        // From the fork on, others can see us.
        let confine =
            |(root, elsewhere)| confine(&order.plan, root, Processes::Joined, &elsewhere, &alone);
        let unseen = root.take().map(confine).transpose()?.unwrap_or_default();
        if !unseen.is_empty() {
            let _ = agent.send(&FromSession::Unseen(unseen)); // an agent that is gone needs no word
        }
    }
    let signals = watch_signals().during(Step::WatchSignals)?;
    // A supervisor is seen in the target from the fork on, so it has its name by then.
    line.rename(name::SUPERVISOR).during(Step::ForkSupervisor)?;
    match sys::fork(&alone).during(Step::ForkSupervisor)? {
        Forked::Child => supervisor::run(&order, root, desk, agent, &alone),
        Forked::Parent { child } => {
            let _ = line.rename(name::HELPER);
            if let Some(needless) = broker.take_if(|_| desk.is_none()) {
                needless.leave();
            }
            Ok(Some(Begun { supervisor: child, broker, signals }))
        }
    }
}

fn sanitise() -> Result<(Alone, CommandLine), Failure> {
    // Away from the caller's terminal: its Ctrl-C is passed on by the agent, to the tool.
    setsid().during(Step::Sanitise)?;
    // Executed through a descriptor, it would be called by the number of that.
    let line = CommandLine::find().during(Step::Sanitise)?;
    line.rename(name::HELPER).during(Step::Sanitise)?;
    Ok((Alone::prove().during(Step::Sanitise)?, line))
}

/// What a helper waits for.
struct Ordered {
    order: Order,
    /// What memory packet rings may have.
    rings: Memory,
    /// Where it was told that there would be time for it.
    ahead: Option<Result<Ahead, Failure>>,
    /// No tool is started.
    is_rehearsal: bool,
}

/// Returns `None` where nothing is to be done.
fn wait(agent: &Connection, alone: &Alone) -> Result<Option<Ordered>, Failure> {
    let mut ahead = None;
    loop {
        match agent.take_some().during(Step::ReadOrder)? {
            None => return Ok(None),
            Some((ToHelper::Ready, _)) => ahead = Some(Ahead::of(alone)),
            Some((told, handed)) => {
                let (order, rings) = read_order(handed)?;
                let is_rehearsal = told == ToHelper::Rehearse;
                return Ok(Some(Ordered { order, rings, ahead, is_rehearsal }));
            }
        }
    }
}

/// Leaves the node's mount namespace and joins the target's others. What the node has of a confined
/// session's root is mounted before.
#[expect(clippy::disallowed_methods, reason = "the one join of what the plan says")]
fn join(
    order: &mut Order,
    parts: Option<Parts>,
    alone: &Alone,
) -> Result<Option<Assembled>, Failure> {
    let Order { plan, target, terminals } = order;
    sys::unshare_mounts(alone).during(Step::UnshareMounts)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).during(Step::MakePrivate)?;
    let confinement = plan.confinement.as_ref();
    let assemble = |limits| {
        let parts = parts.map_or_else(Parts::new, Ok)?;
        root::assemble(limits, target.as_fd(), parts, terminals.take())
    };
    let root = confinement.map(assemble).transpose()?;
    let flags = plan.joins().flags();
    if !flags.is_empty() {
        move_into_thread_name_spaces(target.as_fd(), flags).during(Step::Join)?;
    }
    own_namespaces(plan, alone)?;
    if plan.needs_own_pids() {
        sys::unshare_pids(alone).during(Step::UnsharePids)?;
    }
    Ok(root)
}

/// What a supervisor may take to end its tool when nobody is there any more to kill both.
const ORPHANED: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };

/// Reaps the supervisor, and has it end the tool when this process is told to, or its parent ends: the
/// supervisor's own connection says so too, but a tool can hold up the relay at the other end of that.
///
/// Nothing here waits for a tool: see [`crate::message::ToSupervisor`].
fn outlive(supervisor: Pid, parent: Option<rustix::process::Pid>, signals: &SignalFd) -> ExitCode {
    // Opened after the fork: what has a descriptor of the agent could do anything with it.
    let open = |pid: rustix::process::Pid| pidfd_open(pid, PidfdFlags::empty()).ok();
    let agent = parent.and_then(open).filter(|_| getppid() == parent);
    let theirs = rustix::process::Pid::from_raw(supervisor.as_raw()).and_then(open);
    // Without descriptors there is only the wait.
    let Some(theirs) = theirs else { return reap(supervisor) };
    let ended = |fds: &mut [PollFd<'_>], limit: Option<&Timespec>| {
        while poll(fds, limit) == Err(rustix::io::Errno::INTR) {}
        !fds[0].revents().is_empty()
    };
    if let Some(agent) = &agent {
        let told = PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN);
        let mut fds =
            [PollFd::new(&theirs, PollFlags::IN), PollFd::new(agent, PollFlags::IN), told];
        if ended(&mut fds, None) {
            return reap(supervisor);
        }
        let _ = kill(supervisor, Signal::SIGTERM);
        // As long as there is an agent, it kills what does not end.
        if fds[1].revents().is_empty() && ended(&mut fds[..2], None) {
            return reap(supervisor);
        }
    }
    let _ = kill(supervisor, Signal::SIGTERM);
    if !ended(&mut [PollFd::new(&theirs, PollFlags::IN)], Some(&ORPHANED)) {
        let _ = kill(supervisor, Signal::SIGKILL);
    }
    reap(supervisor)
}

/// SIGTERM waits to be read, from before there is a supervisor to end.
fn watch_signals() -> nix::Result<SignalFd> {
    let mask = SigSet::from(Signal::SIGTERM);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Of the kinds that a confined session does not join it gets empty ones, so that it is left in none of
/// its agent's.
fn own_namespaces(plan: &Plan, alone: &Alone) -> Result<(), Failure> {
    // By its control group, a session's neighbours are told from its target's processes: see `confine`.
    let now = plan.makes().without(Kind::Pid).without(Kind::Cgroup);
    if now.is_empty() {
        return Ok(());
    }
    sys::unshare_kinds(alone, now).during(Step::Unshare)?;
    if plan.has_no_name() {
        sethostname(NAMELESS.as_bytes()).during(Step::Unshare)?;
    }
    Ok(())
}

/// The code is for a reader of the process table: the agent has it by message.
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
