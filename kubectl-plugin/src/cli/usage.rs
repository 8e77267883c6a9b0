//! What is wrong with a command line that clap takes.

use wire::BadRequest;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("no TARGET is given")]
    NoTarget,
    #[error("`doctor` and `version` come first; a pod of such a name is written `pod/NAME`")]
    WordAfterTarget,
    #[error("no COMMAND is given, and a shell needs a terminal on stdin, stdout and stderr")]
    NoTerminalForShell,
    #[error("--container names a container of a pod, but the target is not a pod")]
    ContainerOfNoPod,
    #[error("behind --agent there are POD, pod/NAME and container/ID, and no `{kind}`")]
    NotOfAgent { kind: &'static str },
    #[error("a cluster knows no `{target}`: containers by their ID are only behind --agent")]
    NotOfCluster { target: String },
    #[error("--agent asks one agent and no cluster: {flag} says nothing there")]
    TwoWays { flag: &'static str },
    #[error("--containerd-namespace is only for containers behind --agent")]
    ContainerdNamespace,
    #[cfg_attr(unix, expect(dead_code, reason = "arguments are bytes here"))]
    #[error("argument {index} of the command is not valid Unicode")]
    NotUnicode { index: usize },
    #[error(transparent)]
    Request(#[from] BadRequest),
    #[error(
        "an agent behind https is trusted by its certificate, and --certificate-authority is not given"
    )]
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
