//! What the processes of a session say to each other, and in which order it may be said.
//!
//! Errors cross as a step and an errno; prose is made of them on the agent's side.

use std::ffi::OsString;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// From the helper and the supervisor to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromSession {
    /// Users into whose processes the tool will not be able to look.
    Unseen(Vec<u32>),
    /// The tool has been executed.
    Started,
    /// The tool was not executed, and never will be.
    Failed(Failure),
    /// The tool is gone, and with it whatever it left behind.
    Ended(Exit),
    /// Of a rehearsal: the tool could be executed. Nothing follows.
    Fit,
}

/// From the agent to the helper, which until then waits. The end of the connection means that there
/// is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToHelper {
    /// You are in your control group: do what can be done before there is an order.
    Ready,
    /// Carry out the order that comes with this.
    Begin,
    /// Carry out the order that comes with this as far as that needs no tool, and say what became of it.
    Rehearse,
}

/// From the agent to the supervisor, with the tool's three streams. Sent together with
/// [`ToHelper::Begin`], and left alone by the helper: who reaps the supervisor holds no stream of the tool's,
/// and never waits for who does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToSupervisor {
    Streams,
}

/// From the agent to a relay, with its ends of the agent's sockets (or what the tool is to have instead of
/// a stream), the target and the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToRelay {
    pub(crate) streams: Relayed,
    /// Of a confined tool, which has terminals of its own: whose those are.
    pub(crate) confined: Option<u32>,
}

/// What is to be between the tool and the agent's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relayed {
    /// A pipe for each that was asked for. The tool is handed the others as they come.
    Pipes { stdin: bool, stdout: bool, stderr: bool },
    /// A terminal, written to from stdin's socket if that was asked for and read from into stdout's.
    Terminal { stdin: bool },
}

/// From the agent to the supervisor. The end of the connection means [`ToSession::End`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToSession {
    /// Give the terminal this size in character cells: for the relay, which has it.
    Resize { width: u16, height: u16 },
    /// The tool has ended: pass on what is there, and wait for no more. For the relay.
    Finish,
    /// Send this signal to the tool's process group.
    Signal(i32),
    /// End the tool: ask, wait a little, kill.
    End,
}

/// How the tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    Code(u8),
    /// Killed by the signal of this number.
    Signal(u8),
}

/// Why a tool was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub step: Step,
    /// The `errno` of that step.
    pub errno: i32,
    /// The file that step was about, where it is not the same in every session.
    pub path: Option<OsString>,
}

/// What was being done, in the order in which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    ReadOrder,
    /// Making pipes or a terminal.
    OpenStreams,
    Sanitise,
    /// Forking who makes packet rings.
    StartBroker,
    UnshareMounts,
    MakePrivate,
    /// Going into the target's mount namespace for a clone of its tree, and back.
    CloneTarget,
    /// What the target has mounted makes it a host target, which its process did not show; no errno. Why is the path.
    Exposed,
    OpenToolbox,
    MountToolbox,
    Join,
    UnsharePids,
    /// Namespaces of the session's own, of the kinds that it does not join.
    Unshare,
    ForkSupervisor,
    AdoptOrphans,
    MountProc,
    Pivot,
    Survey,
    /// A process in the target's pid namespace may trace whatever runs there; no errno.
    Traceable,
    /// A process in the target's pid namespace has the user or group that no other was to have; no errno. Which is
    /// the path.
    NotAlone,
    /// Every harmless capability is held by a process there already; no errno.
    NoCanary,
    /// The session would have had a namespace in common with its agent; mostly no errno. The kind is the path.
    Apart,
    WatchSignals,
    ForkTool,
    DropCapabilities,
    NewSession,
    ControllingTerminal,
    JoinUser,
    Confine,
    Directory,
    /// Nothing of that name in any directory of `PATH`, or no such file.
    FindTool,
    Exec,
}

impl Failure {
    pub(crate) fn new(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(0), path: None }
    }

    /// The same failure, about `path`.
    pub(crate) fn about(self, path: impl Into<OsString>) -> Self {
        Self { path: Some(path.into()), ..self }
    }

    /// What the kernel said.
    #[must_use]
    pub fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }
}

/// Attaches the step to an error on its way up.
pub(crate) trait During<T> {
    fn during(self, step: Step) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: Step) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(step, &error.into()))
    }
}

/// Completes the sentence "cannot start the session: … failed".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOrder => "reading the plan",
            Self::OpenStreams => "making the tool's pipes or terminal",
            Self::Sanitise => "closing inherited descriptors",
            Self::StartBroker => "starting the broker of packet rings",
            Self::UnshareMounts => "leaving the node's mount namespace",
            Self::MakePrivate => "making the mounts private",
            Self::CloneTarget => "cloning the target's files",
            Self::Exposed => "looking at the target's mounts",
            Self::OpenToolbox => "opening the toolbox",
            Self::MountToolbox => "mounting into the toolbox",
            Self::Join => "joining the target's namespaces",
            Self::UnsharePids => "making a pid namespace",
            Self::Unshare => "making namespaces of the session's own",
            Self::ForkSupervisor => "starting the supervisor",
            Self::AdoptOrphans => "adopting the session's orphans",
            Self::MountProc => "mounting /proc of the target",
            Self::Pivot => "leaving the node's root",
            Self::Survey => "looking at the target's processes",
            Self::Traceable => "looking for processes that may trace the tool",
            Self::NotAlone => "looking for processes of the tool's user",
            Self::NoCanary => "looking for a capability that the target does not hold",
            Self::Apart => "making sure that no namespace is the agent's",
            Self::WatchSignals => "watching for signals",
            Self::ForkTool => "starting the tool's process",
            Self::DropCapabilities => "dropping capabilities",
            Self::NewSession => "starting a session",
            Self::ControllingTerminal => "taking the terminal",
            Self::JoinUser => "joining the target's user namespace",
            Self::Confine => "giving up privileges",
            Self::Directory => "changing the directory",
            Self::FindTool => "looking for the tool",
            Self::Exec => "executing the tool",
        })
    }
}

/// What the agent waits for: anything else is out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expecting {
    Started,
    Ended,
    Nothing,
}

impl Expecting {
    /// What to expect after `message`, or `None` where it is not its turn.
    pub(crate) fn after(self, message: &FromSession) -> Option<Self> {
        match (self, message) {
            (Self::Started, FromSession::Unseen(_)) => Some(Self::Started),
            (Self::Started, FromSession::Started) => Some(Self::Ended),
            (Self::Started, FromSession::Failed(_)) | (Self::Ended, FromSession::Ended(_)) => {
                Some(Self::Nothing)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: FromSession = FromSession::Ended(Exit::Code(0));

    #[test]
    fn a_session_starts_and_ends() {
        let mut expecting = Expecting::Started;
        for message in [FromSession::Unseen(vec![0]), FromSession::Started, ENDED] {
            expecting = expecting.after(&message).expect("its turn");
        }
        assert_eq!(expecting, Expecting::Nothing);
    }

    #[test]
    fn a_tool_that_has_started_can_no_longer_fail_to() {
        let failed = FromSession::Failed(Failure { step: Step::Exec, errno: 13, path: None });
        assert_eq!(Expecting::Started.after(&failed), Some(Expecting::Nothing));
        assert_eq!(Expecting::Ended.after(&failed), None);
    }

    #[test]
    fn nothing_may_be_said_out_of_turn_or_twice() {
        assert_eq!(Expecting::Started.after(&ENDED), None);
        assert_eq!(Expecting::Ended.after(&FromSession::Started), None);
        assert_eq!(Expecting::Started.after(&FromSession::Fit), None, "it is no rehearsal");
        assert_eq!(Expecting::Nothing.after(&ENDED), None);
    }
}
