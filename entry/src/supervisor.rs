//! The supervisor: a subreaper inside the target's pid namespace.
//!
//! It forks the tool, drops what it held, and then only waits: for the tool, for
//! orphans of the tool, for the agent's word. When the tool ends, everything it left behind ends.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, mount};
use rustix::process::{
    Signal as DeathSignal, set_child_subreaper, set_parent_process_death_signal,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::confine::confine;
use crate::descendants;
use crate::ipc::{Connection, Received};
use crate::message::{During, Exit, Failure, FromSession, Step, ToSession};
use crate::namespaces::Elsewhere;
use crate::order::{Order, release_stdio, take_stdio};
use crate::privilege::hold_nothing;
use crate::profile::Profile;
use crate::rings::Desk;
use crate::root::{Assembled, Processes};
use crate::sys::{self, Alone, Forked};
use crate::tool;

/// What a tool may take to end by itself: as long as a person waits before the second Ctrl-C.
const GRACE: Duration = Duration::from_secs(1);

/// How often what outlives its SIGKILL is looked for again: a process forked meanwhile.
const KILL_AGAIN: Duration = Duration::from_millis(10);

/// Carries the session through. Never returns: this process is not the helper's caller.
///
/// A confined session that has a pid namespace of its own still has its `root` to enter.
pub(crate) fn run(
    order: &Order,
    root: Option<(Assembled, Elsewhere)>,
    rings: Option<Desk>,
    agent: &Connection,
    alone: &Alone,
) -> ! {
    let code = match start(order, root, rings, agent, alone) {
        Ok((tool, signals)) => {
            let _ = agent.send(&FromSession::Started);
            let exit = Supervision { agent, signals: &signals, tool }.until_all_ended();
            let _ = agent.send(&FromSession::Ended(exit));
            0
        }
        Err(failure) => {
            let _ = agent.send(&FromSession::Failed(failure));
            1
        }
    };
    #[expect(clippy::exit, reason = "a forked process has no caller to return to")]
    std::process::exit(code)
}

/// Everything until the tool has been executed.
fn start(
    order: &Order,
    root: Option<(Assembled, Elsewhere)>,
    rings: Option<Desk>,
    agent: &Connection,
    alone: &Alone,
) -> Result<(Pid, SignalFd), Failure> {
    take_stdio(agent).during(Step::ReadOrder)?;
    set_child_subreaper(Some(rustix::process::getpid())).during(Step::AdoptOrphans)?;
    match (root, &order.plan.confinement) {
        // Nobody else is in this pid namespace.
        (Some((root, elsewhere)), _) => {
            confine(&order.plan, root, Processes::Own, &elsewhere, alone)?;
        }
        (None, None) if order.plan.mounts_proc() => {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("proc", "/proc", "proc", flags, None).during(Step::MountProc)?;
        }
        _ => {}
    }
    // If the helper dies, this is the end of the session: the agent has lost it. After the change of
    // user, which clears it.
    set_parent_process_death_signal(Some(DeathSignal::TERM)).during(Step::AdoptOrphans)?;
    let signals = watch_signals().during(Step::WatchSignals)?;
    let (mut report, gate) = (tool::Report::new()?, tool::Gate::new()?);
    let supervisor = nix::unistd::getpid();
    let tool = match sys::fork(alone).during(Step::ForkTool)? {
        Forked::Child => tool::run(order, alone, supervisor, gate, rings, &mut report),
        Forked::Parent { child } => child,
    };
    release_stdio();
    drop(rings); // the tool's alone: a tool that takes this process over finds no way to the broker
    match &order.plan.confinement {
        Some(limits) if limits.profile != Profile::Sysadmin => {
            hold_nothing().during(Step::DropCapabilities)?;
        }
        _ => keep_kill().during(Step::DropCapabilities)?,
    }
    // Only now: from its first instruction, a tool finds nothing here that it could use.
    gate.open();
    match report.failure() {
        Some(failure) => {
            let _ = waitpid(tool, None);
            Err(failure)
        }
        None => Ok((tool, signals)),
    }
}

/// All signals become readable here and none of them acts.
fn watch_signals() -> nix::Result<SignalFd> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.add(Signal::SIGTERM);
    SignalFd::with_flags(&mask, flags)
}

/// A tool that may become another user must still be ended.
fn keep_kill() -> rustix::io::Result<()> {
    let kept = CapabilitySet::KILL;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })
}

struct Supervision<'a> {
    agent: &'a Connection,
    signals: &'a SignalFd,
    tool: Pid,
}

/// How far the end has come.
enum Ending {
    No,
    /// Asked to end; killed from this moment on.
    Asked(Instant),
    Killing,
}

impl Supervision<'_> {
    /// Returns when this process has no child left.
    fn until_all_ended(&self) -> Exit {
        let mut exit = None;
        let mut ending = Ending::No;
        loop {
            // Before reaping: a child that ends later leaves its signal for the next wait.
            let terminated = self.take_signals();
            if self.reap(&mut exit) == Left::Nobody {
                // A tool whose end was not seen cannot be: it is a child until it is reaped.
                return exit.unwrap_or(Exit::Signal(Signal::SIGKILL as u8));
            }
            if exit.is_some() {
                ending = Ending::Killing;
            }
            match ending {
                Ending::No if terminated || self.hear_agent() == Wanted::End => ending = self.ask(),
                Ending::Asked(until) if Instant::now() >= until => ending = Ending::Killing,
                _ => {}
            }
            if matches!(ending, Ending::Killing) {
                descendants::kill_all();
            }
            self.wait(&ending);
        }
    }

    fn reap(&self, exit: &mut Option<Exit>) -> Left {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
                Ok(WaitStatus::StillAlive) => return Left::Processes,
                Ok(status) if status.pid() == Some(self.tool) => {
                    *exit = Some(exit_of(status)).flatten().or(*exit);
                }
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(_) => return Left::Nobody,
            }
        }
    }

    /// Empties the queue of signals; whether one of them asked this process to end.
    fn take_signals(&self) -> bool {
        let mut terminated = false;
        while let Ok(Some(info)) = self.signals.read_signal() {
            terminated |= info.ssi_signo == Signal::SIGTERM as u32;
        }
        terminated
    }

    /// Hears the agent out, passing signals on.
    fn hear_agent(&self) -> Wanted {
        loop {
            match self.agent.receive() {
                Ok(Received::Message(ToSession::Signal(number))) => self.signal(number),
                // A relay's, which is not in front of every session.
                Ok(Received::Message(ToSession::Resize { .. } | ToSession::Finish)) => {}
                Ok(Received::NothingYet) => return Wanted::Nothing,
                Ok(Received::Message(ToSession::End) | Received::Ended) | Err(_) => {
                    return Wanted::End;
                }
            }
        }
    }

    fn signal(&self, number: i32) {
        if let Ok(signal) = Signal::try_from(number) {
            // The tool is not reaped yet, so its number is its own; gone is as good as signalled.
            let _ = killpg(self.tool, signal);
        }
    }

    fn ask(&self) -> Ending {
        for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGCONT] {
            let _ = killpg(self.tool, signal).or_else(|_| kill(self.tool, signal));
        }
        Ending::Asked(Instant::now() + GRACE)
    }

    /// Until something may have changed.
    fn wait(&self, ending: &Ending) {
        let limit = match ending {
            Ending::No => None,
            Ending::Asked(until) => Some(until.saturating_duration_since(Instant::now())),
            Ending::Killing => Some(KILL_AGAIN),
        };
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let signals = PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN);
        let agent = PollFd::from_borrowed_fd(self.agent.as_fd(), PollFlags::IN);
        // The agent has nothing more to say once the end has begun, and its hang-up stays readable.
        match ending {
            Ending::No => drop(poll(&mut [signals, agent], limit.as_ref())),
            _ => drop(poll(&mut [signals], limit.as_ref())),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Wanted {
    Nothing,
    End,
}

#[derive(PartialEq, Eq)]
enum Left {
    Processes,
    Nobody,
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    match status {
        WaitStatus::Exited(_, code) => Some(Exit::Code(u8::try_from(code).unwrap_or(u8::MAX))),
        WaitStatus::Signaled(_, signal, _) => Some(Exit::Signal(signal as u8)),
        _ => None,
    }
}
