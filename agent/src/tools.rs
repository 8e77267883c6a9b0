//! Whose tools a session runs: what the caller holds, or what a profile allows.

use clap::ValueEnum;

/// Whose tools a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tools {
    /// The node's own programs, as root with all capabilities of this process
    Host,
    /// The programs of --toolbox, with the rights of a profile
    Toolbox,
}
