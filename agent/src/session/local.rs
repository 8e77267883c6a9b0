//! A session of this process's own: its streams are the tool's, and it waits without a runtime.
//!
//! Without a terminal the tool gets our descriptors themselves, so that nothing is copied or lost.
//! With one it gets a pseudo-terminal, never the caller's: see [`super::relay`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use entry::pty::Pty;
use entry::{Event, Exit, HelperImage, Plan, Session, Stdio, Target};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::StartError;
use super::relay::Relay;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub exit: Exit,
    pub reason: Option<&'static str>,
}

/// Carries out `plan` and stays until nothing of it is left.
pub fn run(
    image: &HelperImage,
    target: &Target,
    plan: &Plan,
    stdin: bool,
) -> Result<Outcome, StartError> {
    let streams = |source| StartError::Streams { source };
    let signals = watch_signals().map_err(|errno| streams(errno.into()))?;
    let (stdio, relay) = wire(plan.tool().terminal, stdin).map_err(streams)?;
    let (mut session, helper) = entry::spawn(image, target, plan, stdio)?;
    let started = match session.wait_event()? {
        Event::Started => Ok(()),
        Event::Failed(failure) => Err(StartError::of(&failure, plan)),
        Event::Ended(_) | Event::Lost if target.has_exited() => Err(StartError::TargetExited),
        Event::Ended(_) | Event::Lost => Err(StartError::Lost),
    };
    let outcome = started.and_then(|()| Watch { session, target, signals }.until_end(relay));
    // Whatever happened: no process of ours is left when this returns.
    let _ = helper.wait();
    outcome
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
}

impl Watch<'_> {
    /// Passes signals and bytes on until the session has ended.
    fn until_end(mut self, mut relay: Option<Relay>) -> Result<Outcome, StartError> {
        let mut target_is_gone = false;
        loop {
            match self.session.next_event()? {
                None | Some(Event::Started) => {}
                Some(event) => {
                    if let Some(relay) = relay {
                        relay.drain();
                    }
                    return Ok(self.outcome(&event, target_is_gone));
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

    fn outcome(&self, event: &Event, target_is_gone: bool) -> Outcome {
        let killed = Exit::Signal(Signal::SIGKILL as u8);
        match event {
            Event::Ended(exit) if !target_is_gone => Outcome { exit: *exit, reason: None },
            _ if target_is_gone || self.target_goes() => {
                Outcome { exit: killed, reason: Some("the target exited") }
            }
            _ => {
                let reason = Some("the session was killed from inside the target");
                Outcome { exit: killed, reason }
            }
        }
    }

    /// A pid namespace takes our processes along a moment before its own init is gone.
    fn target_goes(&self) -> bool {
        let moment = rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 };
        let mut exit = [PollFd::from_borrowed_fd(self.target.pidfd(), PollFlags::IN)];
        poll(&mut exit, Some(&moment)).is_ok_and(|ready| ready > 0)
    }
}
