//! The flags that say how the output of many pods is shown.

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use crate::many::naming::Prefix;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output of many pods")]
pub(crate) struct ManyFlags {
    /// What stands before each line
    #[arg(long, env = "NSDEBUG_PREFIX", value_name = "KIND", default_value = "auto")]
    pub(crate) prefix: Prefix,

    /// Whether the names of pods are in colour; without it, on a terminal, unless `NO_COLOR` is set
    #[arg(long, env = "NSDEBUG_COLOR", value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,

    /// End all sessions when the first one fails, or its tool exits with another code than 0
    #[arg(long, env = "NSDEBUG_FAIL_FAST", value_parser = FalseyValueParser::new())]
    pub(crate) fail_fast: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}
