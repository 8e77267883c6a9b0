//! What flags contradict each other in.

use std::num::NonZeroU16;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    #[error("--listen HOST:PORT needs --tls-cert, --tls-key and --client-ca")]
    NoCertificate,
    #[error("--tls-cert is given and no --listen HOST:PORT uses it")]
    UnusedCertificate,
    #[error(
        "one caller could use up the processes of all sessions: {per_caller} sessions of one (--max-sessions-per-caller), as many processes as one leaves unreaped, and one session of another, of {session} processes each (--session-pids), are {needed}, and all together may have {all}: lower one of the two, or raise --all-sessions-pids to {needed}"
    )]
    OneTakesAll { per_caller: NonZeroU16, session: u32, needed: u64, all: u32 },
    #[error("--gateway with --tools host would give users of the cluster the node's own tools")]
    HostToolsForGateways,
}
