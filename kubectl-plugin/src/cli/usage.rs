//! What is wrong with a command line that clap takes.

use std::num::NonZeroU16;

use wire::BadRequest;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("no TARGET is given")]
    NoTarget,
    #[error(
        "{found} pods are meant, and at most {most} are entered with one command: nothing was done"
    )]
    TooMany { found: usize, most: NonZeroU16 },
    #[error("{flag} has no effect with `{command}`, which is about one session")]
    OneSession { flag: &'static str, command: &'static str },
    #[error("a node is not captured: its packets include those of the capture itself")]
    CaptureOfNode,
    #[error("packets need a place: -w FILE, --split DIR or --wireshark")]
    NoPlace,
    #[error("packets are not text, and stdout is a terminal")]
    PacketsOnTerminal,
    #[error("{flag} needs -w FILE or --split DIR")]
    NoFile { flag: &'static str },
    #[error("--stdin needs one pod, and a plain session")]
    ManyReaders,
    #[error("with --agent one target is entered, and several are given")]
    ManyOfAgent,
    #[error("--all-namespaces needs --selector or --field-selector")]
    EveryPod,
    #[error("--all-namespaces and --namespace cannot be given together")]
    TwoNamespaces,
    #[error("--all-pods has no effect without a workload, such as deploy/NAME")]
    NoWorkload,
    #[error("no COMMAND is given: a shell needs one pod, and a plain session")]
    ManyShells,
    #[error("--follow needs --selector, --field-selector, or only workloads and --all-pods")]
    NothingToFollow,
    #[error("--follow has no end, which `--output {form}` waits for: use text or json")]
    EndlessForm { form: &'static str },
    #[error("--tty needs one pod, and a plain session")]
    ManyTerminals,
    #[error(
        "no COMMAND is given, and the default shell needs a terminal on stdin, stdout and stderr"
    )]
    NoTerminalForShell,
    #[error("--container needs a pod as the target")]
    ContainerOfNoPod,
    #[error("with --agent the target must be POD, pod/NAME or container/ID, not `{kind}`")]
    NotOfAgent { kind: &'static str },
    #[error("`{target}` needs --agent: a cluster does not know containers by their ID")]
    NotOfCluster { target: String },
    #[error("{flag} cannot be used with --agent, which asks one agent and no cluster")]
    TwoWays { flag: &'static str },
    #[error("--containerd-namespace needs --agent and container/ID")]
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
            Self::ManyShells | Self::ManyOfAgent => {
                Some("what stands before `--` are targets; the command goes after it")
            }
            Self::ManyReaders => Some("--stdin-copy gives each of many pods all of stdin"),
            Self::PacketsOnTerminal => {
                Some("give -w FILE or --wireshark, or pipe them: -w - | wireshark -k -i -")
            }
            Self::TooMany { .. } => Some("--max-pods COUNT allows more"),
            _ => None,
        }
    }
}
