//! A session of this process's own: its streams are the tool's, and it waits without a runtime.
//!
//! Without a terminal the tool gets our descriptors themselves, so that nothing is copied or lost.
//! With one it gets a pseudo-terminal, never the caller's: see [`relay`].

pub(super) mod deadline;
mod relay;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use entry::pty::{Pty, Terminals};
use entry::{
    CgroupError, Cgroups, Closed, Event, Exit, HelperImage, Plan, Session, SessionCgroup, Stdio,
    Target, Waiting,
};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use wire::{TimeSpan, chain};

use self::deadline::{Cut, Due, Patience};
use self::relay::Relay;
use crate::session::StartError;
use crate::session::policy::unseen;
use crate::session::start::prepared::{Prepared, Rest};

/// What this process is told and passes on: the tool has a session and process group of its own.
const PASSED_ON: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// How a session ended, for the caller's exit code and a word on stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalOutcome {
    pub exit: Exit,
    pub reason: Option<String>,
}

/// A helper that starts while its target is still being looked for.
#[must_use = "a helper that is neither run nor discarded becomes a zombie"]
#[derive(Debug)]
pub struct Ready(Prepared<Waiting>);

impl Ready {
    pub fn new(image: &HelperImage, cgroups: Option<&Cgroups>) -> Result<Self, StartError> {
        Ok(Self(Prepared::direct(image, cgroups)?))
    }

    /// Ends the helper, for which nothing was found to do.
    pub fn discard(self) {
        // What went wrong before is what its caller has to say.
        let _ = self.0.discard();
    }
}

/// What the caller has to say about a session beside its plan.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Whether the tool gets our stdin.
    pub stdin: bool,
    /// How long it may go on.
    pub total: Option<TimeSpan>,
    /// Says what a person should know before the tool's output.
    pub note: fn(&str),
}

/// Carries out `plan` and stays until nothing of it is left. What this process has to do besides is done
/// `meanwhile`, once the helper is on its way.
pub fn run(
    ready: Ready,
    target: &Target,
    plan: &Plan,
    manner: Manner,
    meanwhile: impl FnOnce(),
) -> Result<LocalOutcome, StartError> {
    let Manner { stdin, total, note } = manner;
    let made = watch_signals().and_then(|signals| {
        let wired = wire(plan, stdin).map_err(|source| StartError::Streams { source })?;
        Ok((signals, wired))
    });
    let (signals, Wired { stdio, relay, terminals }) = match made {
        Ok(made) => made,
        Err(error) => {
            ready.discard();
            return Err(error);
        }
    };
    let Prepared { waiting, rest } = ready.0;
    let session = waiting.begin(target, plan, &stdio, terminals.as_ref()).map_err(StartError::from);
    drop((stdio, terminals)); // now the session's alone: its output ends with it
    meanwhile();
    let ended = session.and_then(|session| {
        let patience = Patience::new(total, Instant::now());
        Watch { session, target, plan, signals, rest: &rest, patience, note }.until_end(relay)
    });
    // Whatever happened: no process of ours is left when this returns.
    let closed = rest.close();
    ended?.outcome(target, closed)
}

fn watch_signals() -> Result<SignalFd, StartError> {
    let mask: SigSet = PASSED_ON.into_iter().chain([Signal::SIGWINCH]).collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)
        .and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK))
        .map_err(|errno| StartError::Signals { source: errno.into() })
}

/// The tool's streams, and what has to be relayed to ours.
struct Wired {
    stdio: Stdio,
    relay: Option<Relay>,
    terminals: Option<Terminals>,
}

fn wire(plan: &Plan, stdin: bool) -> io::Result<Wired> {
    if plan.tool().terminal {
        let (Pty { ours, tools }, terminals) = Pty::open_for(plan)?;
        let relay = Some(Relay::new(ours, stdin)?);
        let stdio = Stdio { stdin: tools.try_clone()?, stdout: tools.try_clone()?, stderr: tools };
        return Ok(Wired { stdio, relay, terminals });
    }
    let own = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
    let input: OwnedFd =
        if stdin { own(io::stdin().as_fd())? } else { File::open("/dev/null")?.into() };
    let stdio = Stdio {
        stdin: input,
        stdout: own(io::stdout().as_fd())?,
        stderr: own(io::stderr().as_fd())?,
    };
    Ok(Wired { stdio, relay: None, terminals: None })
}

struct Watch<'a> {
    session: Session,
    target: &'a Target,
    plan: &'a Plan,
    signals: SignalFd,
    rest: &'a Rest,
    patience: Patience,
    note: fn(&str),
}

impl Watch<'_> {
    /// Passes signals and bytes on until the session has ended.
    fn until_end(mut self, mut relay: Option<Relay>) -> Result<ObservedEnd, StartError> {
        let (mut started, mut target_is_gone) = (false, false);
        loop {
            match self.session.next_event()? {
                None => {}
                Some(Event::Unseen(users)) => {
                    if let Some(note) = unseen(&users) {
                        (self.note)(&note);
                    }
                    continue;
                }
                Some(Event::Started) => {
                    started = true;
                    self.patience.started();
                }
                Some(Event::Failed(failure)) => return Err(StartError::of(&failure, self.plan)),
                Some(event) => {
                    if event == Event::Lost {
                        // A process that outlives the supervisor could write for ever.
                        let _ = self.rest.kill();
                    }
                    if let Some(relay) = relay {
                        relay.drain();
                    }
                    let cut = self.patience.verdict(&event);
                    return Ok(ObservedEnd { started, event, target_is_gone, cut });
                }
            }
            self.pass_signals_on(relay.as_ref());
            if !target_is_gone && self.target.has_exited() {
                target_is_gone = true;
                self.session.end();
                self.patience.ending(Cut::TargetExit, Instant::now());
            }
            self.do_what_is_due();
            self.wait(relay.as_ref(), target_is_gone)?;
            if let Some(relay) = &mut relay {
                relay.turn();
            }
        }
    }

    fn do_what_is_due(&mut self) {
        let runs_out = self.rest.cgroup.as_ref().is_some_and(SessionCgroup::runs_out);
        match self.patience.due(Instant::now()) {
            Some(Due::End) => self.session.end(),
            // A second attempt would fail as the first one did.
            Some(Due::Kill) => drop(self.rest.kill()),
            None if runs_out => drop(self.rest.kill()),
            None => {}
        }
    }

    /// Until something has happened.
    fn wait(&self, relay: Option<&Relay>, target_is_gone: bool) -> Result<(), StartError> {
        let mut fds = vec![
            PollFd::new(&self.session, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        if !target_is_gone {
            fds.push(PollFd::from_borrowed_fd(self.target.pidfd(), PollFlags::IN));
        }
        let memory = self.rest.cgroup.as_ref().and_then(SessionCgroup::memory_events);
        fds.extend(memory.map(|events| PollFd::from_borrowed_fd(events, PollFlags::IN)));
        if let Some(relay) = relay {
            fds.extend(relay.interests());
        }
        let until = self.patience.next().map(|next| {
            let left = next.saturating_duration_since(Instant::now());
            // Any length of time that a clock can be asked for fits.
            Timespec::try_from(left).unwrap_or_default()
        });
        match poll(&mut fds, until.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(StartError::Watch { source: errno.into() }),
        }
    }

    fn pass_signals_on(&mut self, relay: Option<&Relay>) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = info.ssi_signo.cast_signed();
            if number != Signal::SIGWINCH as i32 {
                self.session.signal(number);
                if let Some(signal) = PASSED_ON.into_iter().find(|told| *told as i32 == number) {
                    self.patience.told(signal, Instant::now());
                }
            } else if let Some(relay) = relay {
                relay.resize();
            }
        }
    }
}

/// How a session came to its end, before it is known why.
struct ObservedEnd {
    started: bool,
    event: Event,
    target_is_gone: bool,
    cut: Option<Cut>,
}

impl ObservedEnd {
    fn outcome(
        self,
        target: &Target,
        closed: Result<Closed, CgroupError>,
    ) -> Result<LocalOutcome, StartError> {
        let Self { started, event, target_is_gone, cut } = self;
        let (closed, stays) = match closed {
            Ok(closed) => (closed, None),
            Err(error) => (Closed::default(), Some(chain(&error))),
        };
        if let Some(cut) = cut {
            return Ok(LocalOutcome { exit: cut.exit(), reason: Some(cut.reason()) });
        }
        let killed = Exit::Signal(Signal::SIGKILL as u8);
        let (exit, reason) = match (event, closed.out_of_memory) {
            (Event::Ended(exit), _) if exit == Exit::Code(0) && !target_is_gone => (exit, None),
            (_, Some(limit)) if !started => return Err(StartError::OutOfMemory { limit }),
            (Event::Ended(exit), Some(limit)) => (exit, Some(limit.to_string())),
            (_, Some(limit)) => (killed, Some(limit.to_string())),
            (Event::Ended(exit), None) if !target_is_gone => {
                (exit, closed.out_of_processes.map(|limit| limit.to_string()))
            }
            _ if target_is_gone || goes(target) => {
                if !started {
                    return Err(StartError::TargetExited);
                }
                (killed, Some("the target exited".to_owned()))
            }
            _ if !started => return Err(StartError::Lost),
            _ => (killed, Some("the session was killed from inside the target".to_owned())),
        };
        Ok(LocalOutcome { exit, reason: reason.or(stays) })
    }
}

/// A pid namespace takes our processes along a moment before its own init is gone.
fn goes(target: &Target) -> bool {
    let moment = rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 };
    let mut exit = [PollFd::from_borrowed_fd(target.pidfd(), PollFlags::IN)];
    poll(&mut exit, Some(&moment)).is_ok_and(|ready| ready > 0)
}
