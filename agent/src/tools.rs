//! Whose tools a session runs: what the caller holds, or what a profile allows.

use clap::ValueEnum;

/// Whose tools a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tools {
    /// The node's own files, with all that the caller holds.
    Host,
    /// A tree of tools, within a profile.
    Toolbox,
}
