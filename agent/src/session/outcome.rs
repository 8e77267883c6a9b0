//! How a session ended, as it is counted and written down.

use prometheus_client::encoding::EncodeLabelValue;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum SessionOutcome {
    /// The tool ended by itself, with whatever code.
    Finished,
    /// The client went away first.
    Abandoned,
    /// The target ended first.
    TargetGone,
    /// The agent was told to stop.
    Stopped,
    /// A caller ended it from outside.
    Ended,
    /// It was idle or went on for too long.
    Expired,
    /// Anything that is nsdebug's own failure.
    Failed,
}
