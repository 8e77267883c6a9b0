//! A session of this process's own: its streams are the tool's, and it waits without a runtime.
//!
//! Without a terminal the tool gets our descriptors themselves, so that nothing is copied or lost.
//! With one it gets a pseudo-terminal, never the caller's: see [`super::relay`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use entry::pty::Pty;
use entry::{
    CgroupError, Cgroups, Closed, Event, Exit, HelperImage, Plan, Session, SessionCgroup, Stdio,
    Target,
};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::StartError;
use super::ending::out_of_memory;
use super::prepared::Prepared;
use super::relay::Relay;
use crate::chain::chain;

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
pub struct Outcome {
    pub exit: Exit,
    pub reason: Option<String>,
}

/// A helper that starts while its target is still being looked for.
#[must_use = "a helper that is neither run nor discarded becomes a zombie"]
#[derive(Debug)]
pub struct Ready(Prepared);

impl Ready {
    pub fn new(image: &HelperImage, cgroups: Option<&Cgroups>) -> Result<Self, StartError> {
        Ok(Self(Prepared::new(image, cgroups)?))
    }

    /// Ends the helper, for which nothing was found to do.
    pub fn discard(self) {
        // What went wrong before is what its caller has to say.
        let _ = self.0.discard();
    }
}

/// Carries out `plan` and stays until nothing of it is left.
pub fn run(ready: Ready, target: &Target, plan: &Plan, stdin: bool) -> Result<Outcome, StartError> {
    let streams = |source| StartError::Streams { source };
    let made = watch_signals()
        .map_err(io::Error::from)
        .and_then(|signals| Ok((signals, wire(plan.tool().terminal, stdin)?)));
    let (signals, (stdio, relay)) = match made {
        Ok(made) => made,
        Err(source) => {
            ready.discard();
            return Err(streams(source));
        }
    };
    let Prepared { waiting, rest } = ready.0;
    let session = waiting.begin(target, plan, &stdio).map_err(StartError::from);
    drop(stdio); // now the session's alone: its output ends with it
    let ended = session.and_then(|session| {
        let session = started(session, plan)?;
        session.map_or(Ok(Ended::BEFORE_START), |session| {
            Watch { session, target, signals, cgroup: rest.cgroup.as_ref() }.until_end(relay)
        })
    });
    // Whatever happened: no process of ours is left when this returns.
    let closed = rest.close();
    ended?.outcome(target, closed)
}

/// Waits until the tool runs; `None` where the session is gone instead.
fn started(mut session: Session, plan: &Plan) -> Result<Option<Session>, StartError> {
    match session.wait_event()? {
        Event::Started => Ok(Some(session)),
        Event::Failed(failure) => Err(StartError::of(&failure, plan)),
        Event::Ended(_) | Event::Lost => Ok(None),
    }
}

fn watch_signals() -> nix::Result<SignalFd> {
    let mask: SigSet = PASSED_ON.into_iter().chain([Signal::SIGWINCH]).collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// The tool's streams, and what has to be relayed to ours.
fn wire(terminal: bool, stdin: bool) -> io::Result<(Stdio, Option<Relay>)> {
    if terminal {
        let Pty { ours, tools } = Pty::open()?;
        let relay = Relay::new(ours, stdin)?;
        let stdio = Stdio { stdin: tools.try_clone()?, stdout: tools.try_clone()?, stderr: tools };
        return Ok((stdio, Some(relay)));
    }
    let own = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
    let input: OwnedFd =
        if stdin { own(io::stdin().as_fd())? } else { File::open("/dev/null")?.into() };
    let stdio = Stdio {
        stdin: input,
        stdout: own(io::stdout().as_fd())?,
        stderr: own(io::stderr().as_fd())?,
    };
    Ok((stdio, None))
}

struct Watch<'a> {
    session: Session,
    target: &'a Target,
    signals: SignalFd,
    cgroup: Option<&'a SessionCgroup>,
}

impl Watch<'_> {
    /// Passes signals and bytes on until the session has ended.
    fn until_end(mut self, mut relay: Option<Relay>) -> Result<Ended, StartError> {
        let mut target_is_gone = false;
        loop {
            match self.session.next_event()? {
                None | Some(Event::Started) => {}
                Some(event) => {
                    if let (Event::Lost, Some(cgroup)) = (&event, self.cgroup) {
                        // Whoever outlives the supervisor could write for ever.
                        let _ = cgroup.kill();
                    }
                    if let Some(relay) = relay {
                        relay.drain();
                    }
                    return Ok(Ended { started: true, event, target_is_gone });
                }
            }
            self.pass_signals_on(relay.as_ref());
            if !target_is_gone && self.target.has_exited() {
                target_is_gone = true;
                self.session.end();
            }
            let mut fds = vec![
                PollFd::new(&self.session, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            if !target_is_gone {
                fds.push(PollFd::from_borrowed_fd(self.target.pidfd(), PollFlags::IN));
            }
            if let Some(relay) = &relay {
                fds.extend(relay.interests());
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(StartError::Streams { source: errno.into() }),
            }
            drop(fds);
            if let Some(relay) = &mut relay {
                relay.turn();
            }
        }
    }

    fn pass_signals_on(&mut self, relay: Option<&Relay>) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = info.ssi_signo.cast_signed();
            if number != Signal::SIGWINCH as i32 {
                self.session.signal(number);
            } else if let Some(relay) = relay {
                relay.resize();
            }
        }
    }
}

/// How a session came to its end, before it is known why.
struct Ended {
    started: bool,
    event: Event,
    target_is_gone: bool,
}

impl Ended {
    const BEFORE_START: Self = Self { started: false, event: Event::Lost, target_is_gone: false };

    fn outcome(
        self,
        target: &Target,
        closed: Result<Closed, CgroupError>,
    ) -> Result<Outcome, StartError> {
        let Self { started, event, target_is_gone } = self;
        let (closed, stays) = match closed {
            Ok(closed) => (closed, None),
            Err(error) => (Closed::default(), Some(chain(&error))),
        };
        let killed = Exit::Signal(Signal::SIGKILL as u8);
        let (exit, reason) = match (event, closed.out_of_memory) {
            (Event::Ended(exit), _) if exit == Exit::Code(0) && !target_is_gone => (exit, None),
            (_, Some(limit)) if !started => return Err(StartError::OutOfMemory { limit }),
            (Event::Ended(exit), Some(limit)) => (exit, Some(out_of_memory(limit))),
            (_, Some(limit)) => (killed, Some(out_of_memory(limit))),
            (Event::Ended(exit), None) if !target_is_gone => (exit, None),
            _ if target_is_gone || goes(target) => {
                if !started {
                    return Err(StartError::TargetExited);
                }
                (killed, Some("the target exited".to_owned()))
            }
            _ if !started => return Err(StartError::Lost),
            _ => (killed, Some("the session was killed from inside the target".to_owned())),
        };
        Ok(Outcome { exit, reason: reason.or(stays) })
    }
}

/// A pid namespace takes our processes along a moment before its own init is gone.
fn goes(target: &Target) -> bool {
    let moment = rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 };
    let mut exit = [PollFd::from_borrowed_fd(target.pidfd(), PollFlags::IN)];
    poll(&mut exit, Some(&moment)).is_ok_and(|ready| ready > 0)
}
