//! What is wrong with a command line that clap takes.

use wire::BadRequest;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("no TARGET is given")]
    NoTarget,
    #[error("`doctor` and `version` come first; a pod of such a name is written `pod/NAME`")]
    WordAfterTarget,
    #[error(
        "no COMMAND is given, and the default shell needs a terminal on stdin, stdout and stderr"
    )]
    NoTerminalForShell,
    #[error("--container has no effect: the target is not a pod")]
    ContainerOfNoPod,
    #[error("with --agent the target must be POD, pod/NAME or container/ID, not `{kind}`")]
    NotOfAgent { kind: &'static str },
    #[error("`{target}` needs --agent: a cluster does not know containers by their ID")]
    NotOfCluster { target: String },
    #[error("{flag} has no effect with --agent, which talks to one agent and not to a cluster")]
    TwoWays { flag: &'static str },
    #[error("--containerd-namespace has no effect without --agent and container/ID")]
    ContainerdNamespace,
    #[cfg_attr(unix, expect(dead_code, reason = "arguments are bytes here"))]
    #[error("argument {index} of the command is not valid Unicode")]
    NotUnicode { index: usize },
    #[error(transparent)]
    Request(#[from] BadRequest),
    #[error("an https agent needs --certificate-authority, which verifies its certificate")]
    NoAuthority,
}

impl UsageError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoTerminalForShell => {
                Some("give a command after `--`, or -i to feed a shell from stdin")
            }
            _ => None,
        }
    }
}
