//! Why a session ended, in words.

use entry::{Exhausted, OutOfProcesses};
use wire::TimeSpan;

use super::limits::Limit;

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The tool ended by itself.
    Tool,
    /// The target's process is gone.
    TargetExit,
    /// A process inside the target killed the supervisor.
    KilledInside,
    /// The session wanted more memory than there was for it.
    OutOfMemory(Exhausted),
    /// The tool ended by itself, after a process could not be started.
    OutOfProcesses(OutOfProcesses),
    /// This agent is being stopped.
    AgentStops,
    /// A caller with the right to said so.
    EndedBy(String),
    /// Nothing was said for this long.
    Idle(TimeSpan),
    /// It went on for this long.
    TooLong(Limit),
    /// It said that it had ended, and had not.
    Forged,
    /// A process outside of it holds its output and lets nobody read it; why it ended, where that is known.
    Held(Option<Box<Why>>),
    /// Asked to end, it did not. Nothing more can be done from here.
    Stuck,
}

impl Why {
    /// The same end, where output was not passed on to its own.
    pub(crate) fn with_output_held(self) -> Self {
        match self {
            Self::Tool => Self::Held(None),
            Self::Held(_) => self,
            why => Self::Held(Some(Box::new(why))),
        }
    }

    /// For people; nothing where the exit says all.
    pub(crate) fn reason(&self) -> Option<String> {
        Some(match self {
            Self::Tool => return None,
            Self::TargetExit => "the target exited".to_owned(),
            Self::KilledInside => "the session was killed from inside the target".to_owned(),
            Self::OutOfMemory(exhausted) => exhausted.to_string(),
            Self::OutOfProcesses(exhausted) => exhausted.to_string(),
            Self::AgentStops => "the agent is shutting down".to_owned(),
            Self::EndedBy(peer) => format!("ended by {peer}"),
            Self::Idle(limit) => format!("idle for {limit} (--idle-limit of the agent)"),
            Self::TooLong(limit) => format!("longest duration reached: {limit}"),
            Self::Forged => {
                "the session said that it had ended while its processes ran on: they were killed"
                    .to_owned()
            }
            Self::Held(None) => "the output may be incomplete: a process outside of the session \
                                 has it open and blocks readers"
                .to_owned(),
            // A websocket's last word is short.
            Self::Held(Some(why)) => {
                let why = why.reason().unwrap_or_default();
                format!("{why}; the output may be incomplete")
            }
            Self::Stuck => "the session could not be ended".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_whose_output_is_incomplete_keeps_its_reason() {
        let held = |why: Why| why.with_output_held().reason().expect("a reason");
        assert!(held(Why::Tool).starts_with("the output may be incomplete: a process outside"));
        let exhausted = Why::OutOfMemory(Exhausted::Above);
        for why in [exhausted, Why::TargetExit, Why::KilledInside] {
            let reason = why.reason().expect("a reason");
            assert_eq!(held(why.clone()), format!("{reason}; the output may be incomplete"));
            assert_eq!(
                held(why.with_output_held()),
                held(Why::TargetExit).replace("the target exited", &reason)
            );
        }
    }
}
