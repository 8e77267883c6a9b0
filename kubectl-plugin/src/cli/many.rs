//! The flags that say how the output of many pods is shown.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use regex_lite::Regex;

use crate::many::form::Form;
use crate::many::naming::Prefix;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output of many pods")]
pub(crate) struct ManyFlags {
    /// How the answers of many pods are shown; without it, folded on a terminal if all have come within 5 s, else as
    /// text
    #[arg(short, long, env = "NSDEBUG_OUTPUT", value_name = "FORM")]
    pub(crate) output: Option<Form>,

    /// Write the output of each pod, which may be binary, to files of its own in this folder: `NAMESPACE_POD_CONTAINER.out` and `.err`
    #[arg(long, env = "NSDEBUG_OUTPUT_DIR", value_name = "DIR", conflicts_with_all = ["output", "follow"])]
    pub(crate) output_dir: Option<PathBuf>,

    /// What of a line makes no difference when answers are folded, such as a number that is always another
    #[arg(long, env = "NSDEBUG_IGNORE", value_name = "REGEX")]
    pub(crate) ignore: Option<Regex>,

    /// What stands before each line
    #[arg(long, env = "NSDEBUG_PREFIX", value_name = "KIND", default_value = "auto")]
    pub(crate) prefix: Prefix,

    /// Whether the names of pods are in colour; without it, on a terminal, unless `NO_COLOR` is set
    #[arg(long, env = "NSDEBUG_COLOR", value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,

    /// Read stdin once, at most 1 MiB, and give all of it to the tool of each pod
    #[arg(long, env = "NSDEBUG_STDIN_COPY", value_parser = FalseyValueParser::new(), conflicts_with = "stdin")]
    pub(crate) stdin_copy: bool,

    /// Also enter pods that appear, and pods again whose container restarts, until this command is ended
    #[arg(long, env = "NSDEBUG_FOLLOW", value_parser = FalseyValueParser::new())]
    pub(crate) follow: bool,

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

impl ManyFlags {
    /// The first flag that is given of those that a plain session has no use for.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--output", self.output.is_some()),
            ("--output-dir", self.output_dir.is_some()),
            ("--ignore", self.ignore.is_some()),
            ("--stdin-copy", self.stdin_copy),
            ("--follow", self.follow),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}
