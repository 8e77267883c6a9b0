//! Logs go to stderr, as text for people or JSON for machines. stdout belongs to a tool or the audit.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// How to log, on every subcommand.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// How log lines are written to stderr
    #[arg(long, global = true, env = "NSDEBUG_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: Format,

    // Each program puts its own words here, with one of its modules and its default.
    /// What to log: a level, or levels by module
    #[arg(long, global = true, env = "NSDEBUG_LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<Targets>,
}

/// Starts logging, from `usual` on where nothing else was asked for. Only the first call counts.
pub fn start(args: LogArgs, usual: Level) {
    let LogArgs { log_format, log_level } = args;
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let lines = match log_format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let filter = log_level.unwrap_or_else(|| Targets::new().with_default(usual));
    // An error says that a subscriber is set already, as in tests that start several programs.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}
