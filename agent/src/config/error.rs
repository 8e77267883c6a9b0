//! What flags contradict each other in.

use std::num::NonZeroU16;

use crate::session::UnknownMounts;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    #[error(transparent)]
    UnknownMounts(#[from] UnknownMounts),
    #[error("--listen HOST:PORT needs --tls-cert, --tls-key and --client-ca")]
    NoCertificate,
    #[error("--tls-cert is given and no --listen HOST:PORT uses it")]
    UnusedCertificate,
    #[error(
        "one caller could use up all processes: (--max-sessions-per-caller {per_caller} + 2) x --session-pids {session} is {needed}, more than --all-sessions-pids {all}; lower one of the first two, or raise the last to {needed}"
    )]
    OneTakesAll { per_caller: NonZeroU16, session: u32, needed: u64, all: u32 },
    #[error("--gateway with --tools host would give users of the cluster the node's own tools")]
    HostToolsForGateways,
}
