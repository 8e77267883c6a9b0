//! Logs go to stderr, as text for people or JSON for machines. stdout belongs to the tool.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// How to log, on every subcommand.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// How log lines are written to stderr
    #[arg(long, global = true, env = "NSDEBUG_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: Format,

    /// What to log: a level, or levels by module such as `warn,agent=debug` [default: info for
    /// `serve`, else warn]
    #[arg(long, global = true, env = "NSDEBUG_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<Targets>,
}

/// Starts logging; `quiet` is the filter where none was asked for. Only the first call counts.
pub fn start(args: LogArgs, quiet: Targets) {
    let LogArgs { log_format, log_level } = args;
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let lines = match log_format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let filtered = lines.with_filter(log_level.unwrap_or(quiet));
    // An error says that a subscriber is set already, as in tests that start several agents.
    let _ = tracing_subscriber::registry().with(filtered).try_init();
}
